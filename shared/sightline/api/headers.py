"""Names of the headers that go over the wire."""

REQUEST_ID = "X-Request-Id"
MODEL = "X-Sightline-Model"
INPUT_SHA256 = "X-Sightline-Input-Sha256"
SYNTHESISED_SHARE = "X-Sightline-Synthesised-Share"
DECISION = "X-Sightline-Decision"  # a class or abstain, with a heat map
CATEGORY = "X-Sightline-Category"  # the class that a heat map is of
DEADLINE_MS = "X-Sightline-Deadline-Ms"  # milliseconds left when the request was sent on
NOTES = "X-Sightline-Notes"  # comma-separated remarks, such as first-frame-only
BODY_SHA256 = "X-Sightline-Body-Sha256"  # of the request body as the gateway saw it go by
JOB = "X-Sightline-Job"  # the id of the job that a reply came from
CACHE = "X-Sightline-Cache"  # "hit" on a result that an identical earlier job had given
CALLER = "X-Sightline-Caller"  # whose share of a service a request takes; said by the gateway alone
PRIORITY = "X-Sightline-Priority"  # interactive or bulk
WEBHOOK = "X-Sightline-Webhook"  # where to report the end of a job
WEBHOOK_SECRET = "X-Sightline-Webhook-Secret"  # noqa: S105 - the name of the header that brings a whsec_...
FLEET_CREDENTIAL = "X-Sightline-Fleet-Credential"  # from the gateway to a service; never from or to a client
IDEMPOTENCY_KEY = "Idempotency-Key"
PREFER = "Prefer"
PREFERENCE_APPLIED = "Preference-Applied"

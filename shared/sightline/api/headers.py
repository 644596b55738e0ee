"""Names of HTTP headers."""

REQUEST_ID = "X-Request-Id"
MODEL = "X-Sightline-Model"
DETECTOR = "X-Sightline-Detector"  # the detector that ran in place of the model's own
INPUT_SHA256 = "X-Sightline-Input-Sha256"
SYNTHESISED_SHARE = "X-Sightline-Synthesised-Share"
DECISION = "X-Sightline-Decision"  # a class or abstain, with a heat map
CATEGORY = "X-Sightline-Category"  # the class that a heat map is of
DEADLINE_MS = "X-Sightline-Deadline-Ms"  # milliseconds left when the request was forwarded
NOTES = "X-Sightline-Notes"  # comma-separated remarks, such as first-frame-only
EVIDENCE = "X-Sightline-Evidence"  # the evidence record, in the form of sightline.evidence.canonical_json
BODY_SHA256 = "X-Sightline-Body-Sha256"  # of the request body, computed by the gateway
JOB = "X-Sightline-Job"  # id of the job that produced a reply
CACHE = "X-Sightline-Cache"  # "hit" for the result of an identical earlier job
CALLER = "X-Sightline-Caller"  # the caller whose share of a service a request uses; set by the gateway only
PRIORITY = "X-Sightline-Priority"  # interactive or bulk
WEBHOOK = "X-Sightline-Webhook"  # address to which the end of a job is reported
WEBHOOK_SECRET = "X-Sightline-Webhook-Secret"  # noqa: S105 - name of the header with the whsec_... secret
FLEET_CREDENTIAL = "X-Sightline-Fleet-Credential"  # from the gateway to a service; never from or to a client
IDEMPOTENCY_KEY = "Idempotency-Key"
PREFER = "Prefer"
PREFERENCE_APPLIED = "Preference-Applied"

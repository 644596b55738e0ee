"""Names of the headers that go over the wire."""

REQUEST_ID = "X-Request-Id"
MODEL = "X-Sightline-Model"
INPUT_SHA256 = "X-Sightline-Input-Sha256"
SYNTHESISED_SHARE = "X-Sightline-Synthesised-Share"
DEADLINE_MS = "X-Sightline-Deadline-Ms"  # milliseconds left when the request was sent on
NOTES = "X-Sightline-Notes"  # comma-separated remarks, such as first-frame-only
BODY_SHA256 = "X-Sightline-Body-Sha256"  # of the request body as the gateway saw it go by

from yarl import URL

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Webhook
from sightline.jobs.webhooks.guard import Guard, Refused
from sightline.jobs.webhooks.signing import key_of

MAX_URL_CHARACTERS = 2048


def checked_webhook(url: str, secret: str, guard: Guard) -> Webhook:
    """Raises Problem INVALID_REQUEST for an address that will never be called, and for a secret that signs nothing."""
    if len(url) > MAX_URL_CHARACTERS:
        raise Problem(Code.INVALID_REQUEST, f"A webhook's address has at most {MAX_URL_CHARACTERS} characters.")
    try:
        guard.check(URL(url))
    except Refused as error:
        raise Problem(Code.INVALID_REQUEST, str(error)) from error
    except ValueError as error:
        raise Problem(Code.INVALID_REQUEST, "The webhook's address is not a URL.") from error
    key_of(secret)
    return Webhook(url, secret)


def receiver_of(webhook: Webhook) -> str:
    """Scheme, host and port: what is up or down as one."""
    return str(URL(webhook.url).origin())


def lane_of(caller: str, webhook: Webhook) -> str:
    """The lane in which deliveries of one caller to one receiver wait."""
    return f"{caller} {receiver_of(webhook)}"


def caller_of(lane: str) -> str:
    """Empty for the lanes of a version that had one for all callers."""
    return lane.partition(" ")[0] if " " in lane else ""

"""Who is asked about the pictures: a model in this process, or a server."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import httpx2
from pydantic import ValidationError

from sightline.api.problems import Problem
from sightline.api.routes import route_of
from sightline.cli.faults import Fault
from sightline.cli.screening.finding import Answer, Reply, Trouble

MODEL = "hra_screening"
JSON = "application/json"
CPU = "CPUExecutionProvider"
TIMEOUT_S = 300.0
PATIENCE_S = 300.0
"""How long a server may be away or overloaded before the run ends."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
BUSY = frozenset((HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY))


class Asker(Protocol):
    """Answers in the order of the pictures; a picture at fault has its problem in its place."""

    @property
    def model(self) -> str: ...
    def ask(self, pictures: Sequence[bytes]) -> Reply: ...


class Here:
    """The model in this process, on the calling thread."""

    def __init__(self, threshold: float | None) -> None:
        # The inference runtime takes a second to import, which a request to a server does not need.
        from sightline.cli.local import LocalModel
        from sightline.serving.predictor import Upload
        from sightline.serving.settings import ServiceSettings

        settings = ServiceSettings(intra_op_threads=1)
        self._local, self._upload = LocalModel(MODEL, settings), Upload
        self._options = self._local.predictor.options.model_validate({"threshold": threshold})

    def ask(self, pictures: Sequence[bytes]) -> Reply:
        try:
            body = self._local.answer(self._upload({"image": pictures}, self._options), JSON).body
        except Problem as problem:
            if len(pictures) > 1:
                raise
            return self._refused(problem)
        return parse(body)

    @property
    def model(self) -> str:
        return str(self._local.predictor.weights.identity(MODEL))

    @property
    def on_cpu(self) -> bool:
        return self._local.provider == CPU

    def _refused(self, problem: Problem) -> Reply:
        trouble = Trouble(code=problem.code, detail=problem.detail)
        return Reply(results=[Answer(problem=trouble)], model=self.model)


class There:
    """A gateway or service at an address, over HTTP."""

    def __init__(self, url: str, threshold: float | None, api_key: str | None, sleep: Callable[[float], None]) -> None:
        self._address = url.rstrip("/") + route_of(MODEL)
        self._card = f"{url.rstrip('/')}/v1/models/{MODEL}/card"
        headers = {"Accept": JSON} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        # May be used by several threads at once.
        self._client = httpx2.Client(headers=headers, timeout=TIMEOUT_S)
        self._options = {} if threshold is None else {"threshold": repr(threshold)}
        self._sleep = sleep

    def close(self) -> None:
        self._client.close()

    @property
    def model(self) -> str:
        """Fault where there is no screening at the address."""
        reply = self._patiently(lambda: self._client.get(self._card))
        if not reply.is_success:
            raise Fault(f"there is no screening at {self._card} ({reply.status_code}): {trouble_in(reply).detail}")
        try:
            return named(reply.json()["weights"])
        except (ValueError, KeyError, TypeError) as error:
            raise Fault(f"what came from {self._card} is no model card: {error}") from error

    def ask(self, pictures: Sequence[bytes]) -> Reply:
        """A batch that is refused as a whole is asked about picture by picture."""
        reply = self._post(pictures)
        if reply.is_success:
            return parse(reply.content)
        if reply.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
            raise Fault(f"the server refused ({reply.status_code}): {trouble_in(reply).detail}")
        if len(pictures) > 1:
            return joined([self.ask([picture]) for picture in pictures])
        return Reply(results=[Answer(problem=trouble_in(reply))], model="")

    def _post(self, pictures: Sequence[bytes]) -> httpx2.Response:
        files = [("image", picture) for picture in pictures]
        reply = self._patiently(lambda: self._client.post(self._address, files=files, data=self._options))
        if reply.status_code == HTTPStatus.ACCEPTED:
            return self._result_of(str(httpx2.URL(self._address).join(reply.headers["location"])))
        return reply

    def _result_of(self, job: str) -> httpx2.Response:
        """Large pictures are answered as jobs."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            reply = self._patiently(lambda: self._client.get(f"{job}/result"))
            if reply.status_code != HTTPStatus.CONFLICT or time.monotonic() > give_up_at:
                return reply
            self._sleep(pause_s(reply, FIRST_PAUSE_S))

    def _patiently(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        """Tries again while the server is away or busy; Fault when it stays so."""
        give_up_at, wait_s = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        while True:
            try:
                reply = send()
                if reply.status_code not in BUSY:
                    return reply
                why, pause = f"it answers {reply.status_code}", pause_s(reply, wait_s)
            except httpx2.TransportError as error:
                why, pause = str(error) or type(error).__name__, wait_s
            if time.monotonic() + pause > give_up_at:
                raise Fault(f"{self._address} is not to be had ({why}); run the same command again to go on")
            self._sleep(pause)
            wait_s = min(2 * wait_s, LONGEST_PAUSE_S)


def pause_s(reply: httpx2.Response, otherwise: float) -> float:
    told = reply.headers.get("retry-after", "")
    return min(float(told), LONGEST_PAUSE_S) if told.isdigit() else otherwise


def parse(body: bytes) -> Reply:
    """Fault where it is no record of screening, as when the address is of something else."""
    try:
        record = json.loads(body)
        return Reply.model_validate({"results": record["results"], "model": named(record["evidence"]["model"])})
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise Fault(f"what came back is no record of screening: {error}") from error


def named(identity: Mapping[str, str]) -> str:
    """As `X-Sightline-Model` names it."""
    return f"{identity['name']}@{identity['version']}+{identity['weights_sha256'][:12]}"


def joined(replies: Sequence[Reply]) -> Reply:
    model = next((reply.model for reply in replies if reply.model), "")
    return Reply(results=[each for reply in replies for each in reply.results], model=model)


def trouble_in(reply: httpx2.Response) -> Trouble:
    """What problem details say, or what else came."""
    try:
        told: Mapping[str, Any] = reply.json()
        return Trouble(code=str(told["code"]), detail=str(told["detail"]))
    except (ValueError, KeyError, TypeError):
        return Trouble(code=f"http_{reply.status_code}", detail=reply.text[:300])

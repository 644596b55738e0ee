"""The Python client as the command line uses it: with sentences about outages, and waits that a stop request ends."""

import time
from collections.abc import Callable, Mapping

from sightline.cli.exit_codes import ExitCode, exit_code_of
from sightline.cli.output import CommandError
from sightline.client import Client, NotFound, SightlineError, operations, requests
from sightline.client.operations import Progress
from sightline.client.requests import Prediction
from sightline.client.results import HttpReply

MAX_OUTAGE_S = 300.0
"""Time for which a server may be unavailable or overloaded before the command gives up."""

Pause = Callable[[float], None]
Notify = Callable[[str], None]


class ServerClient(Client):
    """Client of a gateway or model service. Threads may share it. Raises CommandError for an invalid address or key."""

    def __init__(
        self, url: str, api_key: str | None = None, *, pause: Pause = time.sleep, notify: Notify | None = None
    ) -> None:
        self._wait, self._notify, self._is_away = pause, notify, False
        try:
            super().__init__(url, api_key=api_key, retry_s=MAX_OUTAGE_S, on_retry=self._report)
        except ValueError as error:
            raise CommandError(str(error), ExitCode.USAGE) from None

    def model_identity(self, model: str) -> str:
        """Returns name, version and digest of a model's weights.

        Raises CommandError if the address does not serve the model.
        """
        try:
            return model_name(self.model_card(model)["weights"])
        except SightlineError as error:
            raise CommandError(str(error), exit_code_of(error)) from error
        except (ValueError, KeyError, TypeError):
            raise CommandError(
                f"What answers at {self.address} is not Sightline: its reply is not a model card"
            ) from None

    def lacks_model(self, model: str) -> bool:
        """Returns whether the server reports that it has no such model; False for any other reply."""
        try:
            self.model_card(model)
        except SightlineError as error:
            return isinstance(error, NotFound) and error.code is not None
        return False

    def model_names(self) -> list[str] | None:
        """Returns the names of the server's models; None if the address has no Sightline server, as for a wrong path.

        Any other error gives no names.
        """
        try:
            return [str(model["name"]) for model in self.models()]
        except NotFound:
            return None
        except (SightlineError, KeyError, TypeError):
            return []

    def reply_of(
        self,
        model: str,
        pictures: Mapping[str, bytes],
        options: Mapping[str, str],
        *,
        accept: str,
        progress: Progress | None = None,
    ) -> HttpReply:
        """Like `predict`, but returns the reply with its headers."""
        request = requests.predict(model, list(pictures.items()), options, accept)
        whole = Prediction(request.model, request.pictures, request.options, request.accept, lambda reply: reply)
        return self._run(operations.predict(whole, self._policy, progress))

    def _pause(self, seconds: float) -> None:
        self._wait(seconds)

    def _report(self, error: SightlineError | None) -> None:
        """Reports each outage once, and its end."""
        if self._notify and (error is None or not self._is_away):
            sentence = "The server answers again."
            if error is not None:
                sentence = f"{error.detail.rstrip('.')}. Trying again ..."
            self._notify(sentence)
        self._is_away = error is not None


def model_name(identity: Mapping[str, str]) -> str:
    """Returns the identity in the format of the header `X-Sightline-Model`."""
    return f"{identity['name']}@{identity['version']}+{identity['weights_sha256'][:12]}"

"""A page in Chromium that tests click and read, by the Chrome DevTools Protocol over a pipe.

No driver is among the dependencies, and the protocol is one JSON document after another.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import IO, Any

from tests.chromium import CHROMIUM

PATIENCE_S = 90.0
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1600", "--remote-debugging-pipe")


class Page:
    """troubles: exceptions and errors that the page met, among them what its Content-Security-Policy forbade."""

    def __init__(self, commands: IO[bytes], replies: IO[bytes]) -> None:
        self._commands, self._replies, self._last = commands, replies, 0
        self._session: str | None = None
        self.troubles: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """The value of an expression."""
        result = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.evaluate(condition):
            assert time.monotonic() < give_up_at, f"{condition} did not come true: {self.text('body')}"
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def choose(self, selector: str, file: Path) -> None:
        """Put a file into an input of a form."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, without moving it."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"{element}.getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, **at)

    def _call(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        self._commands.write(json.dumps(message | self._of_session()).encode() + b"\0")
        self._commands.flush()
        while (reply := self._next()).get("id") != self._last:
            self._heed(reply)
        assert "error" not in reply, reply["error"]
        result: Mapping[str, Any] = reply["result"]
        return result

    def _of_session(self) -> dict[str, str]:
        return {"sessionId": self._session} if self._session else {}

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._replies.read(1)) != b"\0":
            assert byte, "Chromium ended"
            data += byte
        message: dict[str, Any] = json.loads(data)
        return message

    def _heed(self, event: Mapping[str, Any]) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            details = event["params"]["exceptionDetails"]
            self.troubles.append(details.get("exception", {}).get("description", details["text"]))
        if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.troubles.append(event["params"]["entry"]["text"])


@contextmanager
def open_page(profile: Path) -> Iterator[Page]:
    """An empty page; `profile` is a folder for the browser."""
    (read_commands, write_commands), (read_replies, write_replies) = os.pipe(), os.pipe()
    # The browser reads commands from descriptor 3 and writes replies to 4.
    shell = f'exec "$@" 3<&{read_commands} 4>&{write_replies}'
    command = ("bash", "-c", shell, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank")
    with Popen(command, pass_fds=(read_commands, write_replies), stdout=DEVNULL, stderr=DEVNULL) as browser:
        os.close(read_commands)
        os.close(write_replies)
        with os.fdopen(write_commands, "wb") as commands, os.fdopen(read_replies, "rb") as replies:
            try:
                yield Page(commands, replies)
            finally:
                browser.terminate()

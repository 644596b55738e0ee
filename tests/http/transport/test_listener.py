import os
import socket

import pytest

from sightline.http.transport.listener import LISTEN_FD, STOPPING_FD, inherited_listener, signal_stopping


def test_listener_of_the_supervisor_accepts_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as original:
        monkeypatch.setenv(LISTEN_FD, str(os.dup(original.fileno())))
        listener = inherited_listener()
        assert listener is not None
        with listener, socket.create_connection(original.getsockname()), listener.accept()[0]:
            assert listener.getsockname() == original.getsockname()


def test_process_without_a_supervisor_has_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LISTEN_FD, raising=False)
    assert inherited_listener() is None


def test_supervisor_sees_the_pipe_close_when_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv(STOPPING_FD, str(writer))
    signal_stopping()
    assert os.read(reader, 1) == b""
    signal_stopping()  # a second signal finds it closed
    os.close(reader)

"""Finds the replicas behind a name: each of its addresses is one.

So they are found where containers are scaled under one name: `docker compose up --scale`, or a headless Service.
"""

import asyncio
import socket
from collections.abc import Sequence

from yarl import URL

PREFIX = "dns+"  # as in `dns+http://inpaint:8000`


async def addresses(url: str) -> Sequence[str] | None:
    """Base URLs of the replicas behind a `dns+` URL, none where the name stands for nothing; None while DNS is away."""
    base = URL(url.removeprefix(PREFIX))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(base.host, base.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return None if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL) else ()
    except (OSError, UnicodeError):
        return None
    return sorted({str(base.with_host(str(address[0]))).rstrip("/") for *_, address in found})

"""`python -m sightline.http module:factory` serves an application that runs no model, such as the gateway."""

import sys

from sightline.http.server import serve
from sightline.http.settings import ServerSettings

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sightline.http module:factory")
    serve(sys.argv[1], ServerSettings())

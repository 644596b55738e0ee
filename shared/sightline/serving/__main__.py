"""`python -m sightline.serving module:factory` serves the application of one model."""

import sys

from sightline.http.server import serve
from sightline.inference.contract import ContractError
from sightline.runtime.errors import KeyFileError
from sightline.serving.settings import ServiceSettings

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sightline.serving module:factory")
    try:
        serve(sys.argv[1], ServiceSettings())
    except ContractError as error:
        sys.exit(f"The weights are refused: {error}")
    except KeyFileError as error:
        sys.exit(str(error))

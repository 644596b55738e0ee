"""The command `sightline`. Its code is in the distribution `sightline-serve`, which the client does not need."""

import sys
from importlib.util import find_spec

from sightline import __version__


def main() -> None:
    """Runs the command line, or says how to install it."""
    if find_spec("sightline.cli") is None:
        sys.exit(
            "This installation has the Python client only (`from sightline import Client`). "
            "The command line and the fleet come with the extra `serve`: "
            f"pip install --find-links WHEELS 'sightline[serve]=={__version__}'"
        )
    from sightline.cli.main import main as run

    run()


if __name__ == "__main__":
    main()

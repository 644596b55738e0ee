"""The folder of the services: the root of a checkout or of a container, or a private folder of the installed wheel."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from sightline import __version__

PACKAGE = Path(__file__).parents[1]
INSTALLED = PACKAGE / "_fleet"
"""Where the wheel puts what stands beside `shared` in a checkout: `services`, `samples` and `deploy/redis`.

A package called `services` in site-packages would hide, or be hidden by, that of another project.
"""
ROOT = INSTALLED if INSTALLED.is_dir() else PACKAGE.parents[1]
SERVICES = ROOT / "services"
SAMPLES = ROOT / "samples"
REDIS_CONF = ROOT / "deploy" / "redis" / "redis.conf"


def install_command(extra: str) -> str:
    """Returns the command that installs an extra from the wheels of this version.

    Without the version, pip would install a project of the same name from the public index.
    """
    return f"pip install --find-links WHEELS 'sightline[{extra}]=={__version__}'"


def make_services_importable() -> None:
    """Puts ROOT on the module path of this process; in a checkout and in containers it is there already."""
    if ROOT == INSTALLED and str(ROOT) not in sys.path:
        # First, so that `services` is ours even where another project has installed a package of that name.
        sys.path.insert(0, str(ROOT))


def import_service(module: str) -> ModuleType:
    """Imports a module of a service by name, such as `hoi.predictor`, because the library must not import services."""
    make_services_importable()
    return importlib.import_module(f"services.{module}")

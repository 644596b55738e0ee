import subprocess
import sys
from pathlib import Path

from sightline.runtime.deployables import REDIS_CONF, ROOT, SAMPLES, SERVICES, import_service

CHECKOUT = Path(__file__).parents[2]


def test_root_of_checkout_has_services_samples_and_redis_conf() -> None:
    assert ROOT == CHECKOUT
    assert (SERVICES / "gateway" / "app.py").is_file()
    assert (SAMPLES / "photo.jpg").is_file()
    assert REDIS_CONF.is_file()


def test_service_module_is_imported_by_name() -> None:
    assert import_service("hoi.schemas").DECLARATION.name == "hoi"


def test_installed_services_win_over_another_package_of_that_name(tmp_path: Path) -> None:
    package = tmp_path / "site" / "sightline"
    (package / "runtime").mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '1'")
    (package / "runtime" / "__init__.py").touch()
    source = CHECKOUT / "shared" / "sightline" / "runtime" / "deployables.py"
    (package / "runtime" / "deployables.py").write_text(source.read_text())
    for folder, origin in ((package / "_fleet" / "services", "ours"), (tmp_path / "site" / "services", "theirs")):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "hoi.py").write_text(f"ORIGIN = {origin!r}")
    code = "from sightline.runtime.deployables import import_service; print(import_service('hoi').ORIGIN)"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ours\n", "")

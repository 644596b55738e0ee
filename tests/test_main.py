import shutil
import subprocess
import sys
from pathlib import Path

import sightline

PACKAGE = Path(sightline.__file__).parent


def test_client_alone_says_how_to_install_command_line(tmp_path: Path) -> None:
    (tmp_path / "sightline").mkdir()
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(PACKAGE / name, tmp_path / "sightline" / name)
    command = [sys.executable, "-S", "-m", "sightline", "--version"]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "'sightline[serve]==" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_module_runs_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "sightline", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"sightline {sightline.__version__}\n")

"""The page of the command line lists every command and the table of exit codes."""

import re
from pathlib import Path
from typing import Any

import typer

from sightline.cli.app import build_app
from sightline.cli.exit_codes import MEANINGS

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


def commands(group: Any, prefix: str = "") -> set[str]:
    """Returns the visible commands, as `jobs list`; groups that PyTorch fills are themselves."""
    found: set[str] = set()
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= commands(command, f"{name} ") if inner else {f"{prefix}{name}"}
    return found


def test_page_lists_every_command() -> None:
    listed = set()
    section = PAGE.read_text("utf-8").partition("## All commands")[2].partition("\n## ")[0]
    for cell in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE):
        names = re.findall(r"`([a-z-]+(?: [a-z-]+)?)", cell)
        group = names[0].partition(" ")[0] if " " in names[0] else ""
        listed |= {name if " " in name or not group else f"{group} {name}" for name in names}
    assert listed == commands(typer.main.get_command(build_app()))


def test_page_has_the_table_of_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [(str(int(code)), meaning) for code, meaning in MEANINGS.items()]

from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.cli.output import CommandError
from sightline.cli.screening.journal import NAME, FileError, FileResult, Journal, JournalHeader

MakeFinding = Callable[..., FileResult]

HEADING = JournalHeader(model="m@1+abc", threshold=None)


def test_journal_restores_its_results(tmp_path: Path, make_file_result: MakeFinding) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(HEADING)
        journal.add([make_file_result("a.png"), make_file_result("b.png")])
    with Journal(tmp_path) as again:
        again.begin(HEADING)
        assert again.results == {"a.png": make_file_result("a.png"), "b.png": make_file_result("b.png")}
        assert again.has_current("a.png", 10, 1)
        assert not again.has_current("a.png", 10, 2)
        assert not again.has_current("a.png", 11, 1)
        assert not again.has_current("c.png", 10, 1)


def test_a_torn_line_is_cut_off_and_the_rest_kept(tmp_path: Path, make_file_result: MakeFinding) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(HEADING)
        journal.add([make_file_result("a.png"), make_file_result("b.png")])
    whole = (tmp_path / NAME).read_bytes()
    for kept in (len(whole) - 1, len(whole) - 30):
        (tmp_path / NAME).write_bytes(whole[:kept])
        with Journal(tmp_path) as again:
            again.begin(HEADING)
            assert list(again.results) == ["a.png"]
            again.add([make_file_result("b.png")])
        assert (tmp_path / NAME).read_bytes() == whole


def test_a_heading_that_was_torn_is_written_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"model":"m@1')
    with Journal(tmp_path) as journal:
        journal.begin(HEADING)
    with Journal(tmp_path) as again:
        assert again.heading == HEADING


@pytest.mark.parametrize(
    "other", [JournalHeader(model="m@2+abc", threshold=None), JournalHeader(model="m@1+abc", threshold=0.5)]
)
def test_results_of_other_weights_are_not_mixed(tmp_path: Path, other: JournalHeader) -> None:
    with Journal(tmp_path) as journal:
        journal.begin(HEADING)
    with Journal(tmp_path) as again, pytest.raises(CommandError, match="--anew"):
        again.begin(other)


def test_two_runs_do_not_write_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(CommandError, match="another run"):
        Journal(tmp_path)
    with Journal(tmp_path) as journal:
        journal.begin(HEADING)


def test_file_that_is_not_a_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("a shopping list\nmilk\n")
    with pytest.raises(CommandError, match="not a journal"):
        Journal(tmp_path)


@pytest.mark.parametrize(("code", "final"), [("unreadable_image", True), ("overloaded", False), ("internal", False)])
def test_only_errors_of_the_file_itself_are_final(tmp_path: Path, code: str, final: bool) -> None:
    failed = FileResult(file="a.png", size_bytes=1, modified_ns=1, error=FileError(code=code, detail=""))
    with Journal(tmp_path) as journal:
        journal.begin(HEADING)
        journal.add([failed])
        assert journal.has_current("a.png", 1, 1) is final

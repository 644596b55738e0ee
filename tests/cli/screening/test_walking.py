import os
from pathlib import Path

import pytest

from sightline.cli.screening.walking import walk


def names(folder: Path, *, every_file: bool = False) -> list[str]:
    return [file.name for file in walk(folder, leaving_out=folder / "out", every_file=every_file)]


def test_pictures_of_all_folders_in_an_order_that_stays(pictures: Path) -> None:
    found = names(pictures)
    assert found == names(pictures)
    assert set(found) == {
        "a.png",
        "b.jpg",
        "broken.jpg",
        "deep/c.png",
        "deep/er/d.webp",
        "e.png",
        "empty.png",
        "z copy.png",
    }
    assert "notes.txt" in names(pictures, every_file=True)


def test_its_own_output_is_left_out(pictures: Path) -> None:
    (pictures / "out").mkdir()
    (pictures / "out" / "x.png").write_bytes(b"x")
    assert "out/x.png" not in names(pictures)


def test_a_ring_of_links_is_not_followed(pictures: Path) -> None:
    (pictures / "deep" / "up").symlink_to(pictures)
    assert len(names(pictures)) == 8


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are of POSIX")
def test_a_name_that_is_no_text_can_be_written_down(pictures: Path) -> None:
    Path(os.fsdecode(os.fsencode(pictures) + b"/\xff.png")).write_bytes(b"x")
    assert "\\xff.png" in names(pictures)
    assert "".join(names(pictures)).encode()

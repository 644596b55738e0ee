import os
from pathlib import Path
from subprocess import run

import pytest

from sightline.cli.screening.files import NO_SUFFIX, Listing, list_files


def listed(folder: Path, *, every_file: bool = False, follow_links: bool = False) -> Listing:
    return list_files(folder, leaving_out=folder / "out", every_file=every_file, follow_links=follow_links)


def names(folder: Path, *, every_file: bool = False, follow_links: bool = False) -> list[str]:
    return [file.name for file in listed(folder, every_file=every_file, follow_links=follow_links).files]


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


def test_output_folder_is_not_screened(pictures: Path) -> None:
    (pictures / "out").mkdir()
    (pictures / "out" / "x.png").write_bytes(b"x")
    assert "out/x.png" not in names(pictures)


def test_a_ring_of_links_is_not_followed(pictures: Path) -> None:
    (pictures / "deep" / "up").symlink_to(pictures)
    assert len(names(pictures)) == 8


def test_every_suffix_of_a_readable_format_counts_in_any_case(tmp_path: Path) -> None:
    readable = ["a.JFIF", "b.hif", "c.Mpo", "d.jpe", "e.HEICS", "f.avifs", "g.TIF", "h.apng", "i.PJPEG", "j.webp"]
    for name in (*readable, "notes.txt", "b.TXT", "film.mp4", "Makefile", ".jpg"):
        (tmp_path / name).write_bytes(b"x")
    listing = listed(tmp_path)
    assert [file.name for file in listing.files] == sorted(readable)
    assert listing.left_out == {".txt": 2, ".mp4": 1, NO_SUFFIX: 2}
    assert len(listed(tmp_path, every_file=True).files) == 15


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Its path is longer than the system takes, which holds for every user."""
    deepest = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=deepest)
        outer, deepest = deepest, os.open("d" * 250, os.O_RDONLY, dir_fd=deepest)
        os.close(outer)
    os.close(deepest)
    (tmp_path / "a.png").write_bytes(b"x")
    listing = listed(tmp_path)
    assert [file.name for file in listing.files] == ["a.png"]
    (folder,) = listing.unreadable_folders
    assert folder.name.endswith("d/")
    assert folder.reason == "File name too long"


def test_a_deep_folder_is_read_to_its_end(tmp_path: Path) -> None:
    """Deeper than Python may call, in less than the longest path."""
    deepest = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=deepest)
        outer, deepest = deepest, os.open("d", os.O_RDONLY, dir_fd=deepest)
        os.close(outer)
    os.close(os.open("a.png", os.O_CREAT, 0o600, dir_fd=deepest))
    os.close(deepest)
    found = names(tmp_path)
    run(["rm", "-r", str(tmp_path / "d")], check=True)  # pytest's own cleaning calls itself for each level
    assert len(found) == 1


def test_links_out_of_the_folder_are_followed_when_asked(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "outside"
    for path in (folder / "real" / "a.png", outside / "b.png", outside / "deep" / "c.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (folder / "file.png").symlink_to(outside / "b.png")
    (folder / "copy.png").symlink_to(folder / "real" / "a.png")
    (folder / "folder").symlink_to(outside)
    (folder / "same folder").symlink_to(outside)
    (folder / "inside").symlink_to("real")
    (outside / "back").symlink_to(folder)
    (outside / "deep" / "loop").symlink_to("..")
    (folder / "self.png").symlink_to("self.png")
    inside = ["copy.png", "self.png", "real/a.png"]
    assert sorted(names(folder)) == sorted(inside)
    assert listed(folder).links_not_followed == 3
    followed = ["file.png", "folder/b.png", "folder/deep/c.png"]
    assert sorted(names(folder, follow_links=True)) == sorted([*inside, *followed])
    assert listed(folder, follow_links=True).links_not_followed == 0


def test_every_file_has_a_name_of_its_own(tmp_path: Path) -> None:
    raw = [
        *(b"a\\xff.png", b"a\xff.png", b"a\\\\xff.png", b"a\x85.png", "a\x85.png".encode(), b"a\\x85.png"),
        *(b"two\nlines.png", b"two\\nlines.png", b"\x1b[31mred.png", "\u202egnp.exe.png".encode(), b"\t.png"),
        *("e\u0301.png".encode(), "\u00e9.png".encode(), b"\xed\xa0\x80.png", b" .png", "10\u202fPM.png".encode()),
    ]
    for name in raw:
        os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT, 0o600))
    found = names(tmp_path)
    assert len(set(found)) == len(raw)
    assert not any(character in "".join(found) for character in "\n\t\x1b\x85\u202e")
    assert "10\u202fPM.png" in found
    assert "".join(found).encode()


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are of POSIX")
def test_a_name_that_is_no_text_can_be_written_down(pictures: Path) -> None:
    Path(os.fsdecode(os.fsencode(pictures) + b"/\xff.png")).write_bytes(b"x")
    assert "\\xff.png" in names(pictures)
    assert "".join(names(pictures)).encode()

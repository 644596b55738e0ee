from pathlib import Path

import pytest

from sightline.cli.output import CommandError, did_you_mean, printable, printable_path, require_writable, write_whole


def test_printable_escapes_control_and_direction_characters() -> None:
    assert printable("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"
    assert printable("Zoë 写真") == "Zoë 写真"


def test_printable_path_tells_a_byte_from_a_character() -> None:
    paths = [Path("\udc85"), Path("\u0085"), Path("\\x85")]
    assert [printable_path(path) for path in paths] == ["\\x85", "\\u0085", "\\\\x85"]


def test_file_is_replaced_as_a_whole_and_a_link_keeps_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert (target.read_bytes(), link.is_symlink()) == (b"new", True)
    assert set(tmp_path.iterdir()) == {target, link}


def test_file_that_cannot_be_written_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CommandError, match="cannot be written"):
        write_whole(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_output_must_not_replace_an_input(tmp_path: Path) -> None:
    photo, link = tmp_path / "photo.jpg", tmp_path / "link.jpg"
    photo.write_bytes(b"pixels")
    link.hardlink_to(photo)
    with pytest.raises(CommandError, match="is the input"):
        require_writable(link, inputs=[photo])
    require_writable(tmp_path / "out.jpg", inputs=[photo])


def test_similar_word_is_suggested_in_either_spelling_else_all_are_listed() -> None:
    models = ["hdr_correct", "hoi"]
    assert did_you_mean("HDR-corect", models) == "did you mean hdr_correct?"
    assert did_you_mean("zebra", models) == "there are: hdr_correct, hoi"

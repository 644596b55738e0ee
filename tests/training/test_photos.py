from pathlib import Path

import numpy as np
import pytest

from sightline.training.photos import PhotoStore, after_jpeg, list_photos, pack_photos, read_rgb


def test_packed_photos_come_back_pixel_by_pixel(photo_folder: Path, tmp_path: Path) -> None:
    paths = list_photos(photo_folder)

    count = pack_photos(paths, tmp_path / "store", short_side_px=1000)

    store = PhotoStore(tmp_path / "store")
    assert count == len(store) == len(paths) == 12
    assert all(np.array_equal(store[at], read_rgb(path)) for at, path in enumerate(paths))


def test_large_photos_are_shrunk_to_the_short_side(photo_folder: Path, tmp_path: Path) -> None:
    pack_photos(list_photos(photo_folder), tmp_path / "store", short_side_px=40)

    assert PhotoStore(tmp_path / "store")[3].shape == (40, 48, 3)


def test_unreadable_picture_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")

    with pytest.raises(ValueError, match=r"broken\.jpg"):
        read_rgb(tmp_path / "broken.jpg")


def test_jpeg_of_high_quality_changes_little(photo_folder: Path) -> None:
    pixels = read_rgb(list_photos(photo_folder)[0])

    assert after_jpeg(pixels, None) is pixels
    assert 0 < np.abs(after_jpeg(pixels, 90).astype(int) - pixels).mean() < 8

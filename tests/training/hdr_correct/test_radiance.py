from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from sightline.training.hdr_correct.radiance import list_radiance, read_radiance

SCENE = np.random.default_rng(0).uniform(0, 3000, (8, 12, 3)).astype(np.float32)


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    with OpenEXR.File({"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}, channels) as file:
        file.write(str(path))


def test_openexr_comes_back_without_negatives(tmp_path: Path) -> None:
    scene = SCENE.copy()
    scene[0, 0] = -0.01
    write_exr(tmp_path / "scene.exr", {"RGB": scene})

    values = read_radiance(tmp_path / "scene.exr")

    np.testing.assert_allclose(values, np.maximum(scene, 0))
    assert values.dtype == np.float32


def test_radiance_comes_back_in_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "scene.hdr"), SCENE[..., ::-1])

    values = read_radiance(tmp_path / "scene.hdr")

    np.testing.assert_allclose(values, SCENE, atol=SCENE.max() / 128)


def test_what_holds_no_colours_is_refused(tmp_path: Path) -> None:
    write_exr(tmp_path / "depth.exr", {"Z": SCENE[..., 0].copy()})
    (tmp_path / "broken.hdr").write_bytes(b"#?RADIANCE\n")

    assert [path.name for path in list_radiance(tmp_path)] == ["broken.hdr", "depth.exr"]
    for path in list_radiance(tmp_path):
        with pytest.raises(ValueError, match=r"colour|readable"):
            read_radiance(path)

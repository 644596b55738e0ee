import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from services.svbrdf.material_files import glb_file, materialx_document
from services.svbrdf.textures import png


def parts(file: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, total = struct.unpack("<4sII", file[:12])
    assert (magic, version, total) == (b"glTF", 2, len(file))
    size, kind = struct.unpack("<I4s", file[12:20])
    assert kind == b"JSON"
    data_size, data_kind = struct.unpack("<I4s", file[20 + size : 28 + size])
    assert data_kind == b"BIN\0"
    assert len(file) == 28 + size + data_size
    document: dict[str, Any] = json.loads(file[20 : 20 + size])
    return document, file[28 + size :]


@pytest.fixture(scope="module")
def glb() -> bytes:
    names = ("basecolor", "normal", "metallic_roughness")
    textures = {name: png(np.full((3, 5, 3), 50 * at, np.uint8)) for at, name in enumerate(names)}
    return glb_file(textures, width=500, height=300, note="a note")


def test_glb_buffer_views_hold_the_textures(glb: bytes) -> None:
    document, data = parts(glb)

    for at, image in enumerate(document["images"]):
        view = document["bufferViews"][image["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        with Image.open(io.BytesIO(data[view["byteOffset"] :][: view["byteLength"]])) as picture:
            assert np.asarray(picture).max() == 50 * at
    assert document["buffers"] == [{"byteLength": len(data)}]
    material = document["materials"][0]
    used = {name: part["index"] for name, part in material["pbrMetallicRoughness"].items() if "Texture" in name}
    assert used == {"baseColorTexture": 0, "metallicRoughnessTexture": 2}
    assert material["normalTexture"] == {"index": 1}
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 1


def test_glb_plane_has_the_proportions_of_the_photo(glb: bytes) -> None:
    document, data = parts(glb)

    positions = np.frombuffer(data[: document["bufferViews"][0]["byteLength"]], "<f4").reshape(4, 3)
    np.testing.assert_allclose(np.ptp(positions, axis=0), [1, 0.6, 0], atol=1e-6)
    assert document["accessors"][0]["max"] == pytest.approx([0.5, 0.3, 0])


def test_glb_passes_the_khronos_validator(glb: bytes, tmp_path: Path) -> None:
    """Runs where Node and the npm package gltf-validator are installed."""
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", "require('gltf-validator')"], capture_output=True).returncode:
        pytest.skip("Node with gltf-validator is not installed here")
    (tmp_path / "surface.glb").write_bytes(glb)
    script = (
        "const {validateBytes} = require('gltf-validator');"
        "validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report)));"
    )
    done = subprocess.run(
        [node, "-e", script, str(tmp_path / "surface.glb")], capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0), report["issues"]["messages"]
    assert report["info"]["totalTriangleCount"] == 2


def test_materialx_document_names_existing_nodes_only() -> None:
    document = materialx_document(basecolor="b.png", normal="n.png", roughness="r.png", metallic="m.png")

    root = ElementTree.fromstring(document)
    names = {element.get("name") for element in root.iter()}
    for element in root.iter():
        for reference in ("nodename", "nodegraph", "output"):
            assert element.get(reference) is None or element.get(reference) in names
    files = {
        element.get("value"): element.get("colorspace") for element in root.iter() if element.get("type") == "filename"
    }
    assert files == {"b.png": "srgb_texture", "m.png": None, "n.png": None, "r.png": None}
    metalness = root.find("standard_surface/input[@name='metalness']")
    assert metalness is not None
    assert metalness.get("output") == "metallic_out"

"""Material files: glTF and MaterialX."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FLOAT, UNSIGNED_SHORT, TRIANGLES = 5126, 5123, 4
LINEAR, LINEAR_MIPMAP_LINEAR, REPEAT = 9729, 9987, 10497
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
IOR = 1.576
"""Index of refraction with which dielectrics reflect 5 % head-on, like those of the network."""

MATERIALX = """\
<?xml version="1.0"?>
<materialx version="1.38" colorspace="lin_rec709">
  <nodegraph name="maps">
    <tiledimage name="basecolor" type="color3">
      <input name="file" type="filename" value="{basecolor}" colorspace="srgb_texture" />
    </tiledimage>
    <tiledimage name="roughness" type="float">
      <input name="file" type="filename" value="{roughness}" />
    </tiledimage>
    <tiledimage name="metallic" type="float">
      <input name="file" type="filename" value="{metallic}" />
    </tiledimage>
    <tiledimage name="normal" type="vector3">
      <input name="file" type="filename" value="{normal}" />
    </tiledimage>
    <normalmap name="bent" type="vector3">
      <input name="in" type="vector3" nodename="normal" />
    </normalmap>
    <output name="basecolor_out" type="color3" nodename="basecolor" />
    <output name="metallic_out" type="float" nodename="metallic" />
    <output name="roughness_out" type="float" nodename="roughness" />
    <output name="normal_out" type="vector3" nodename="bent" />
  </nodegraph>
  <standard_surface name="shader" type="surfaceshader">
    <input name="base" type="float" value="1.0" />
    <input name="base_color" type="color3" nodegraph="maps" output="basecolor_out" />
    <input name="metalness" type="float" nodegraph="maps" output="metallic_out" />
    <input name="specular_IOR" type="float" value="1.576" />
    <input name="specular_roughness" type="float" nodegraph="maps" output="roughness_out" />
    <input name="normal" type="vector3" nodegraph="maps" output="normal_out" />
  </standard_surface>
  <surfacematerial name="surface" type="material">
    <input name="surfaceshader" type="surfaceshader" nodename="shader" />
  </surfacematerial>
</materialx>
"""


def glb_file(textures: Mapping[str, bytes], *, width: int, height: int, note: str) -> bytes:
    """A material on a plane as glTF 2.0 in one binary file.

    textures: PNG files by name: `basecolor`, `normal`, and `metallic_roughness` with roughness in green and
    metallicness in blue.
    """
    quad = _quad(width, height)
    chunks = [*quad.values(), *textures.values()]
    views = _views([len(chunk) for chunk in chunks])
    for view, target in zip(views, (ARRAY_BUFFER,) * 4 + (ELEMENT_ARRAY_BUFFER,), strict=False):
        view["target"] = target
    document = {
        "asset": {"version": "2.0", "generator": "Sightline", "extras": {"note": note}},
        "extensionsUsed": ["KHR_materials_ior"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "surface"}],
        "meshes": [{"primitives": [_primitive()]}],
        "materials": [_material(list(textures))],
        "textures": [{"sampler": 0, "source": at} for at in range(len(textures))],
        "images": [
            {"name": name, "mimeType": "image/png", "bufferView": len(quad) + at} for at, name in enumerate(textures)
        ],
        "samplers": [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": REPEAT, "wrapT": REPEAT}],
        "accessors": _accessors(quad["positions"]),
        "bufferViews": views,
        "buffers": [{"byteLength": sum(_padded(len(chunk)) for chunk in chunks)}],
    }
    return _container(document, chunks)


def _material(textures: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "surface",
        "doubleSided": True,
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": textures.index("basecolor")},
            "metallicRoughnessTexture": {"index": textures.index("metallic_roughness")},
            "metallicFactor": 1.0,
            "roughnessFactor": 1.0,
        },
        "normalTexture": {"index": textures.index("normal")},
        "extensions": {"KHR_materials_ior": {"ior": IOR}},
    }


def _quad(width: int, height: int) -> dict[str, bytes]:
    """The buffers of an upright plane that faces +z; longer side 1, texture coordinates from the top left."""
    x, y = width / max(width, height) / 2, height / max(width, height) / 2
    arrays = {
        "positions": np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]], "<f4"),
        "normals": np.array([[0, 0, 1]] * 4, "<f4"),
        "tangents": np.array([[1, 0, 0, 1]] * 4, "<f4"),
        "uv": np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "<f4"),
        "indices": np.array([0, 1, 2, 0, 2, 3], "<u2"),
    }
    return {name: array.tobytes() for name, array in arrays.items()}


def _primitive() -> dict[str, Any]:
    attributes = {"POSITION": 0, "NORMAL": 1, "TANGENT": 2, "TEXCOORD_0": 3}
    return {"attributes": attributes, "indices": 4, "material": 0, "mode": TRIANGLES}


def _accessors(positions: bytes) -> list[dict[str, Any]]:
    corners = np.frombuffer(positions, "<f4").reshape(-1, 3)
    bounds = {"min": corners.min(axis=0).tolist(), "max": corners.max(axis=0).tolist()}
    return [
        {"bufferView": 0, "componentType": FLOAT, "count": 4, "type": "VEC3", **bounds},
        {"bufferView": 1, "componentType": FLOAT, "count": 4, "type": "VEC3"},
        {"bufferView": 2, "componentType": FLOAT, "count": 4, "type": "VEC4"},
        {"bufferView": 3, "componentType": FLOAT, "count": 4, "type": "VEC2"},
        {"bufferView": 4, "componentType": UNSIGNED_SHORT, "count": 6, "type": "SCALAR"},
    ]


def _views(sizes: Sequence[int]) -> list[dict[str, Any]]:
    views, offset = [], 0
    for size in sizes:
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": size})
        offset += _padded(size)
    return views


def _container(document: Mapping[str, Any], chunks: Sequence[bytes]) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text = text.ljust(_padded(len(text)), b" ")
    data = b"".join(chunk.ljust(_padded(len(chunk)), b"\0") for chunk in chunks)
    total = 12 + 8 + len(text) + 8 + len(data)
    header = struct.pack("<4sII", b"glTF", 2, total)
    return header + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4


def materialx_document(*, basecolor: str, normal: str, roughness: str, metallic: str) -> bytes:
    """A MaterialX document that names the files of the maps."""
    return MATERIALX.format(basecolor=basecolor, normal=normal, roughness=roughness, metallic=metallic).encode()

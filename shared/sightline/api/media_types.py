"""Media types of replies, with the suffixes and signatures of their files."""

from collections.abc import Mapping

PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
APNG, GIF = "image/apng", "image/gif"
RADIANCE, OPENEXR = "image/vnd.radiance", "image/x-exr"
JSON, JSON_LD, GRAPHML = "application/json", "application/ld+json", "application/graphml+xml"
ZIP, GLB = "application/zip", "model/gltf-binary"

BY_SUFFIX: Mapping[str, str] = {
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": WEBP,
    ".json": JSON,
    ".jsonld": JSON_LD,
    ".graphml": GRAPHML,
    ".zip": ZIP,
    ".glb": GLB,
    ".hdr": RADIANCE,
    ".exr": OPENEXR,
    ".gif": GIF,
    ".apng": APNG,
}

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIGNATURES: Mapping[str, bytes] = {
    PNG: _PNG_SIGNATURE,
    APNG: _PNG_SIGNATURE,
    JPEG: b"\xff\xd8\xff",
    WEBP: b"RIFF",
    GIF: b"GIF8",
    ZIP: b"PK",
    GLB: b"glTF",
    RADIANCE: b"#?",
    OPENEXR: b"\x76\x2f\x31\x01",
}

"""Names of unsupported file types, by the signatures (magic numbers) at their start."""

import re
from collections.abc import Mapping

_SIGNATURES: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip-compressed data",
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "a ZIP archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"BZh": "bzip2-compressed data",
    b"\xfd7zXZ\0": "xz-compressed data",
    b"\x28\xb5\x2f\xfd": "Zstandard-compressed data",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"{\\rtf": "an RTF document",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an older Microsoft Office document",
    b"BM": "a BMP picture",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"II\xbc\x01": "a JPEG XR picture",
    b"8BPS": "a Photoshop file",
    b"gimp xcf": "a GIMP file",
    b"\x76\x2f\x31\x01": "an OpenEXR picture",
    b"#?RADIANCE": "a Radiance HDR picture",
    b"#?RGBE": "a Radiance HDR picture",
    b"qoif": "a QOI picture",
    b"BPG\xfb": "a BPG picture",
    b"DDS ": "a DDS texture",
    b"\0\0\1\0": "an icon file",
    b"\xd7\xcd\xc6\x9a": "a Windows metafile",
    b"FUJIFILMCCD-": "a camera raw file (Fujifilm RAF)",
    b"IIRO": "a camera raw file (Olympus ORF)",
    b"IIRS": "a camera raw file (Olympus ORF)",
    b"MMOR": "a camera raw file (Olympus ORF)",
    b"IIU\0": "a camera raw file (Panasonic RW2)",
    b"FOVb": "a camera raw file (Sigma X3F)",
    b"\0MRM": "a camera raw file (Minolta MRW)",
    b"II\x1a\0\0\0HEAP": "a camera raw file (Canon CRW)",
    b"\x1aE\xdf\xa3": "a WebM or Matroska video",
    b"\0\0\1\xba": "an MPEG video",
    b"\0\0\1\xb3": "an MPEG video",
    b"FLV\1": "a Flash video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a Windows Media file",
    b"OggS": "an Ogg file",
    b"ID3": "an MP3 recording",
    b"fLaC": "a FLAC recording",
    b"#!AMR": "an AMR recording",
    b"/9j/": "a JPEG picture as Base64 text",
    b"iVBORw0KGgo": "a PNG picture as Base64 text",
    b"data:image/": "a picture as a data: URL",
    b"http://": "a web address",
    b"https://": "a web address",
}
_RIFF: Mapping[bytes, str] = {b"AVI ": "an AVI video", b"WAVE": "a WAVE recording"}
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_ISO_BRANDS: Mapping[bytes, str] = {
    b"qt  ": "a QuickTime (MOV) video",
    b"crx ": "a camera raw file (Canon CR3)",
    b"M4A ": "an M4A recording",
    b"M4B ": "an M4A recording",
}
_MP4_BRAND = re.compile(rb"iso[a-cm2-9]|mp4[12v]|[ahv]vc1|M4V|M4P|MSNV|3g[a-z0-9]{2}|f4v|dash|cmf[cs2]|XAVC|kddi")
_XML_MARKS: Mapping[bytes, str] = {
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"<head": "an HTML page",
    b"<svg": "an SVG drawing",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def describe_file_type(start: bytes) -> str | None:
    """Returns the type with its article, such as `a PDF document`, or None; 12 bytes suffice for most types."""
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return name
    if start[:4] == b"RIFF":
        return _RIFF.get(start[8:12])
    if start[4:8] in _QUICKTIME_BOXES:
        return _ISO_BRANDS[b"qt  "]
    return _describe_text(start.removeprefix(_BYTE_ORDER_MARK).lstrip().lower())


def describe_iso_media(major_brand: bytes) -> str | None:
    """Returns the type of a file with an `ftyp` box: videos and recordings share the structure of HEIC and AVIF."""
    if major_brand in _ISO_BRANDS:
        return _ISO_BRANDS[major_brand]
    return "an MP4 video" if _MP4_BRAND.match(major_brand) else None


def _describe_text(text: bytes) -> str | None:
    if text.startswith(b"<"):
        return next((name for mark, name in _XML_MARKS.items() if mark in text), "an XML document")
    return "a JSON document" if text[:1] in (b"{", b"[") else None

"""The results as one HTML file that needs nothing else: sortable, filtered by class and threshold, offline."""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import simplejpeg

from sightline.api.problems import Problem
from sightline.api.screening import CATEGORIES
from sightline.cli.interruption import StopRequest, unless_stopped
from sightline.cli.screening.finding import Finding
from sightline.cli.screening.tables import write_aside
from sightline.cli.text import printable
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits

PAPER_THRESHOLD = 0.85
THUMBNAIL_PX = 96
THUMBNAIL_QUALITY = 70
LIMITS = PixelLimits(256 << 20, 120_000_000)


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says beside its rows."""

    folder: Path
    model: str
    finished_at: str
    thumbnails: bool = False
    remarks: tuple[str, ...] = ()


def write_report(
    out: Path, findings: Sequence[Finding], paths: Mapping[str, Path], report: Report, stop: StopRequest
) -> None:
    """`paths` are those of the files, by their names in the findings; a stop leaves out thumbnails still to be made."""
    rows = [_row(finding, paths[finding.file], out) for finding in findings]
    thresholds = [finding.threshold for finding in findings if finding.threshold is not None]
    data = {
        "categories": CATEGORIES,
        "threshold": thresholds[0] if thresholds else PAPER_THRESHOLD,
        "facts": f"{len(findings)} files of {printable(report.folder.name)}, {report.model}, {report.finished_at}",
        "remarks": " ".join(report.remarks),
        "rows": rows,
        "thumbnails": _thumbnails(findings, paths, stop) if report.thumbnails else {},
    }
    template = resources.files("sightline.cli.screening").joinpath("report.html").read_text("utf-8")
    # Where a file is called `</script>`, its name must not end the script.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    write_aside(out / "report.html", template.replace("DATA", text, 1))


def _row(finding: Finding, path: Path, out: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"file": finding.file, "sha": finding.sha256, "link": _link(path, out)}
    if finding.probabilities:
        row["chances"] = [round(finding.probabilities[category], 4) for category in CATEGORIES]
    optional = {
        "copy": finding.copy_of,
        "near": finding.near_duplicates,
        "notes": ", ".join(finding.notes),
        "error": finding.error and f"{finding.error.detail} ({finding.error.code})",
    }
    return row | {name: value for name, value in optional.items() if value}


def _link(path: Path, out: Path) -> str:
    """From the report to the file, so that both can be moved together."""
    return quote(os.fsencode(os.path.relpath(path, out)))


def _thumbnails(findings: Sequence[Finding], paths: Mapping[str, Path], stop: StopRequest) -> dict[str, str]:
    """By the SHA-256 of the files, once for all copies."""
    screened = {each.sha256: paths[each.file] for each in findings if each.sha256 and not each.error}
    made = ((sha256, unless_stopped(partial(_thumbnail, path), stop)) for sha256, path in screened.items())
    return {sha256: thumbnail for sha256, thumbnail in made if thumbnail}


def _thumbnail(path: Path) -> str | None:
    try:
        picture = decode(path.read_bytes(), LIMITS, min_short_side_px=THUMBNAIL_PX)
    except (OSError, Problem):
        return None
    scale = min(1.0, THUMBNAIL_PX / max(picture.width, picture.height))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = cv2.resize(to_srgb(picture), size, interpolation=cv2.INTER_AREA)
    data = simplejpeg.encode_jpeg(small, THUMBNAIL_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"

"""Results of a screening run: CSV, JSON lines, and a report in one HTML file that works offline."""

import base64
import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import simplejpeg

from sightline.api.problems import Problem
from sightline.api.screening import CATEGORIES
from sightline.cli.interruption import StopRequest, run_unless_stopped
from sightline.cli.output import printable
from sightline.cli.screening.files import ScreenedFile
from sightline.cli.screening.journal import FileResult
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits

COLUMNS = (
    "file",
    "sha256",
    "size_bytes",
    "width",
    "height",
    "decision",
    "needs_review",
    "most_likely",
    "violation_probability",
    *CATEGORIES,
    "threshold",
    "threshold_version",
    "copy_of",
    "near_duplicates",
    "perceptual_hash",
    "notes",
    "error_code",
    "error",
)
# Characters that begin a formula, and their variants in other scripts that spreadsheets accept.
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212\u207a\u207b\u207c\u208a\u208b\u208c"
_EQUALS = "=\uff1d\ufe66"
_SKIPPED = r"""[\s"'`\x00-\x1f\x7f-\xa0\u00ad\u200b-\u200f\u2060\ufeff]*"""  # what programs drop at the start of a cell
_AT_START = re.compile(f"(?:{_SKIPPED})(?:[{_SIGNS}]|\\t|\\r|\\n)")
# A spreadsheet splits cells at spaces only on request; after one, only signs that names rarely contain are escaped.
_AFTER_SEPARATOR = re.compile(f"([,;|\\t\\r\\n]{_SKIPPED}|[\\s]{_SKIPPED}(?=[{_EQUALS}]))([{_SIGNS}]+)")
PAPER_THRESHOLD = 0.85
THUMBNAIL_PX = 96
THUMBNAIL_QUALITY = 70
LIMITS = PixelLimits(256 << 20, 120_000_000)


def write_tables(folder: Path, results: Sequence[FileResult]) -> None:
    lines = (result.model_dump_json(exclude_none=True, exclude={"modified_ns"}) for result in results)
    write_aside(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    write_aside(folder / "results.csv", results_csv(results))


def results_csv(results: Sequence[FileResult]) -> str:
    file = StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(table_row(result) for result in results)
    return file.getvalue()


def table_row(result: FileResult) -> Mapping[str, object]:
    row = result.model_dump(mode="json", exclude={"probabilities", "notes", "error", "modified_ns"})
    row |= {name: f"{chance:.6f}" for name, chance in (result.probabilities or {}).items()}
    if result.error:
        row |= {"error_code": result.error.code, "error": result.error.detail}
    row["notes"] = " ".join(result.notes)
    return {name: escape_formulas(value) if isinstance(value, str) else value for name, value in row.items()}


def escape_formulas(text: str) -> str:
    """Returns the text such that no spreadsheet reads it, or a part of it, as a formula.

    A text that begins like a formula is prefixed with `./`, which names the same file. After a character at which a
    spreadsheet may split cells, the sign is escaped.
    """
    text = _AFTER_SEPARATOR.sub(lambda match: match[1] + "".join(map(_escape, match[2])), text)
    return f"./{text}" if _AT_START.match(text) else text


def _escape(sign: str) -> str:
    return f"\\x{ord(sign):02x}" if ord(sign) < 0x80 else f"\\u{ord(sign):04x}"


def write_aside(path: Path, text: str) -> None:
    """Writes to a temporary file and renames it, so that readers never see a partial file."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)


@dataclass(frozen=True, slots=True)
class ReportInfo:
    """Facts of a run that the report shows beside its rows."""

    title: str
    model: str
    finished_at: str
    thumbnails: bool = False
    remarks: tuple[str, ...] = ()


def write_report(
    out: Path, results: Sequence[FileResult], files: Mapping[str, ScreenedFile], report: ReportInfo, stop: StopRequest
) -> None:
    """Writes the HTML report.

    files: by name, without unreadable folders. After a stop the remaining thumbnails are omitted.
    """
    rows = [_row(result, files.get(result.file), out) for result in results]
    thresholds = [result.threshold for result in results if result.threshold is not None]
    data = {
        "categories": CATEGORIES,
        "threshold": thresholds[0] if thresholds else PAPER_THRESHOLD,
        "facts": f"{len(results)} files of {printable(report.title)}, {report.model}, {report.finished_at}",
        "remarks": " ".join(report.remarks),
        "rows": rows,
        "thumbnails": _thumbnails(results, files, stop) if report.thumbnails else {},
    }
    template = resources.files("sightline.cli.screening").joinpath("report.html").read_text("utf-8")
    # A file may be called `</script>`, which must not end the script.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    write_aside(out / "report.html", template.replace("DATA", text, 1))


def _row(result: FileResult, file: ScreenedFile | None, out: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"file": result.file, "sha": result.sha256, "link": file and file.link(out)}
    if result.probabilities:
        row["chances"] = [round(result.probabilities[category], 4) for category in CATEGORIES]
    optional = {
        "copy": result.copy_of,
        "near": result.near_duplicates,
        "notes": ", ".join(result.notes),
        "error": result.error and f"{result.error.detail} ({result.error.code})",
    }
    return row | {name: value for name, value in optional.items() if value}


def _thumbnails(results: Sequence[FileResult], files: Mapping[str, ScreenedFile], stop: StopRequest) -> dict[str, str]:
    """Returns JPEG thumbnails as data URLs by SHA-256, one for all copies of a file."""
    screened = {each.sha256: files[each.file] for each in results if each.sha256 and not each.error}
    made = ((sha256, run_unless_stopped(partial(_thumbnail, file), stop)) for sha256, file in screened.items())
    return {sha256: thumbnail for sha256, thumbnail in made if thumbnail}


def _thumbnail(file: ScreenedFile) -> str | None:
    try:
        picture = decode(file.read_bytes(), LIMITS, min_short_side_px=THUMBNAIL_PX)
    except (OSError, Problem):
        return None
    scale = min(1.0, THUMBNAIL_PX / max(picture.width, picture.height))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = cv2.resize(to_srgb(picture), size, interpolation=cv2.INTER_AREA)
    data = simplejpeg.encode_jpeg(small, THUMBNAIL_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"

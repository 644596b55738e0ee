"""The results as CSV and as JSON lines."""

import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from sightline.api.screening import CATEGORIES
from sightline.cli.screening.finding import Finding

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
# The signs that formulas begin with, and what programs of other scripts take for them.
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212\u207a\u207b\u207c\u208a\u208b\u208c"
_EQUALS = "=\uff1d\ufe66"
_SKIPPED = r"""[\s"'`\x00-\x1f\x7f-\xa0\u00ad\u200b-\u200f\u2060\ufeff]*"""  # what programs drop at the start of a cell
_AT_START = re.compile(f"(?:{_SKIPPED})(?:[{_SIGNS}]|\\t|\\r|\\n)")
# A space cuts cells where somebody chooses so; behind it only signs that names rarely hold are escaped.
_AFTER_SEPARATOR = re.compile(f"([,;|\\t\\r\\n]{_SKIPPED}|[\\s]{_SKIPPED}(?=[{_EQUALS}]))([{_SIGNS}]+)")


def write_tables(folder: Path, findings: Sequence[Finding]) -> None:
    lines = (finding.model_dump_json(exclude_none=True, exclude={"modified_ns"}) for finding in findings)
    write_aside(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    write_aside(folder / "results.csv", csv_of(findings))


def csv_of(findings: Sequence[Finding]) -> str:
    file = StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(row_of(finding) for finding in findings)
    return file.getvalue()


def row_of(finding: Finding) -> Mapping[str, object]:
    row = finding.model_dump(mode="json", exclude={"probabilities", "notes", "error", "modified_ns"})
    row |= {name: f"{chance:.6f}" for name, chance in (finding.probabilities or {}).items()}
    if finding.error:
        row |= {"error_code": finding.error.code, "error": finding.error.detail}
    row["notes"] = " ".join(finding.notes)
    return {name: harmless(value) if isinstance(value, str) else value for name, value in row.items()}


def harmless(text: str) -> str:
    """The text such that no spreadsheet takes it, or a part of it, for a formula.

    A text that begins like a formula gets `./` before it: the path with `./` is the same file. Behind a character
    at which a spreadsheet may cut the line into cells, the sign is written as its escape.
    """
    text = _AFTER_SEPARATOR.sub(lambda match: match[1] + "".join(map(_escape, match[2])), text)
    return f"./{text}" if _AT_START.match(text) else text


def _escape(sign: str) -> str:
    return f"\\x{ord(sign):02x}" if ord(sign) < 0x80 else f"\\u{ord(sign):04x}"


def write_aside(path: Path, text: str) -> None:
    """Written aside and renamed, so that a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)

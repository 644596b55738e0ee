"""The results as CSV and as JSON lines."""

import csv
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
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_tables(folder: Path, findings: Sequence[Finding]) -> None:
    lines = (finding.model_dump_json(exclude_none=True, exclude={"modified_ns"}) for finding in findings)
    write_aside(folder / "results.jsonl", "".join(f"{line}\n" for line in lines))
    write_aside(folder / "results.csv", csv_of(findings))


def csv_of(findings: Sequence[Finding]) -> str:
    file = StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row_of(finding) for finding in findings)
    return file.getvalue()


def row_of(finding: Finding) -> Mapping[str, object]:
    row = finding.model_dump(mode="json", exclude={"probabilities", "notes", "error", "modified_ns"})
    row |= {name: f"{chance:.6f}" for name, chance in (finding.probabilities or {}).items()}
    if finding.error:
        row |= {"error_code": finding.error.code, "error": finding.error.detail}
    row["notes"] = " ".join(finding.notes)
    return row | {name: harmless(str(row[name])) for name in ("file", "copy_of") if row[name] is not None}


def harmless(name: str) -> str:
    """A file name that a spreadsheet would take for a formula; the path with `./` before it is the same file."""
    return f"./{name}" if name.startswith(FORMULA_STARTS) else name


def write_aside(path: Path, text: str) -> None:
    """Written aside and renamed, so that a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)

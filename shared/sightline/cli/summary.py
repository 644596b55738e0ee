"""Summaries of predictions for people: what was found, with the sentence on what it does not show."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline.api import headers
from sightline.api.screening import ABSTAIN
from sightline.cli.output import printable
from sightline.cli.prediction import PredictionResult

Record = Mapping[str, Any]
BAR_CELLS = 24
MAX_ROWS_ON_TERMINAL = 20
DECIMALS = 3


def print_summary(result: PredictionResult, console: Console) -> None:
    """Prints the summary of a result; that of an unknown model has its notes alone."""
    describe = _BY_MODEL.get(result.model)
    for part in describe(result, console.is_terminal) if describe else ():
        if isinstance(part, str):
            console.print(Text(printable(part)))
        else:
            console.print(part)
    for note in result.notes:
        console.print(Text(f"Note: {printable(note)}"))


def _interactions(result: PredictionResult, is_terminal: bool) -> "Iterator[str | Table]":
    if result.record is None:
        yield "People, objects and interactions are drawn over the photo; -o result.json gives their scores."
    else:
        yield from _interaction_table(result.record, MAX_ROWS_ON_TERMINAL if is_terminal else None)
    yield "A score is a hint about where to look, never evidence of what someone did."


def _interaction_table(record: Record, max_rows: int | None) -> "Iterator[str | Table]":
    detections = {each["id"]: each for each in record["detections"]}
    people = sum(each["label"] == "person" for each in detections.values())
    found = record["interactions"]
    yield (
        f"{_count(people, 'person', 'people')}, {_count(len(detections) - people, 'object')}, "
        f"{_count(len(found), 'interaction')}."
    )
    if found:
        rows = [
            (f"person {each['person']}", each["action"], _object(each, detections), _number(each["score"]))
            for each in found[:max_rows]
        ]
        yield _table(("person", "verb", "object", "score"), rows)
    if rest := len(found) - len(found[:max_rows]):
        yield f"and {rest} more; -o result.json writes all of them."


def _object(interaction: Record, detections: Mapping[int, Record]) -> str:
    if interaction["object"] is not None:
        label = f"{detections[interaction['object']]['label']} {interaction['object']}"
        doubt = " (uncertain)" if interaction["object_status"] == "uncertain" else ""
        return label + doubt
    return "not found" if interaction["object_status"] == "not_found" else "-"


def _screening(result: PredictionResult, is_terminal: bool) -> "Iterator[str | Table]":
    if result.record is None:
        yield (
            f"The picture shows where {result.header(headers.CATEGORY)} comes from; the decision is "
            f"{result.header(headers.DECISION)}. -o result.json gives all probabilities."
        )
        yield "A score is a hint about where to look first, never evidence of an abuse."
        return
    for each in result.record["results"]:
        yield _decision(each)
        yield _probability_table(each, with_bars=is_terminal)
        yield "A score is a hint about where to look first, never evidence of an abuse." + (
            " A person needs to look at this photo." if each["needs_review"] else ""
        )


def _decision(screened: Record) -> str:
    likely, threshold = screened["most_likely"], _number(screened["threshold"])
    highest = screened["probabilities"][likely]
    if screened["decision"] != ABSTAIN:
        return f"Decision: {screened['decision']}, as its probability {_number(highest)} reaches {threshold}."
    if highest < screened["threshold"]:
        return f"Decision: none (abstain), as the most likely class, {likely}, is below the threshold of {threshold}."
    return f"Decision: none (abstain), as the weights did not learn the most likely class, {likely}."


def _probability_table(screened: Record, *, with_bars: bool) -> Table:
    ordered = sorted(screened["probabilities"].items(), key=lambda item: -item[1])
    rows = [(name, _number(chance), *([_bar(chance)] if with_bars else [])) for name, chance in ordered]
    return _table(("class", "probability", *([""] if with_bars else [])), rows)


def _bar(share: float) -> str:
    return "█" * round(share * BAR_CELLS)


def _inpainting(result: PredictionResult, _: bool) -> "Iterator[str | Table]":
    share = result.header(headers.SYNTHESISED_SHARE)
    if result.record is not None:
        record = result.record
        yield (
            f"{_percent(record['synthesised_share'])} of the photo is synthesised: "
            f"{_count(record['synthesised_pixels'], 'pixel')} in {_count(record['region_count'], 'region')}."
        )
    elif share is not None:
        yield f"{_percent(float(share))} of the photo is synthesised."
    yield "Synthesised pixels show nothing of what was there; they are no evidence."


def _material(result: PredictionResult, _: bool) -> "Iterator[str | Table]":
    if result.record is None:
        yield "-o material.zip gives the maps, with the material type and its probability."
        return
    record = result.record
    ordered = sorted(record["material"]["probabilities"].items(), key=lambda item: -item[1])
    likely = ", ".join(f"{name} {_number(chance)}" for name, chance in ordered[:3])
    yield f"Material: {record['material']['type']} (probabilities: {likely})."
    yield (
        f"Mean roughness {_number(record['mean_roughness'])}, metallic {_number(record['metallic'])}; a render of the "
        f"maps differs from the photo by {_number(record['rerender_rmse'])} (RMSE, 0 to 1)."
    )
    if maps := [name for name in result.files if not name.endswith(".json")]:
        yield f"Files: {', '.join(maps)}."
    if record["exposure_source"] == "assumed":
        yield (
            "One photo does not tell a dark surface from a weak flash: the brightness of the base colour is assumed. "
            "--option exposure=... or flash_distance_m=... fixes it."
        )


def _exposure(result: PredictionResult, _: bool) -> "Iterator[str | Table]":
    if result.record is not None:
        before, after = result.record["exposure"]["before"], result.record["exposure"]["after"]
        rows = [
            ("mean luminance", _number(before["mean_luminance"]), _number(after["mean_luminance"])),
            ("crushed pixels", _percent(before["crushed_share"]), _percent(after["crushed_share"])),
            ("clipped pixels", _percent(before["clipped_share"]), _percent(after["clipped_share"])),
            ("exposure error", _stops(before["ev_error"]), _stops(after["ev_error"])),
        ]
        yield _table(("exposure", "before", "after"), rows)
        yield f"{_percent(result.record['applied_share'])} of the correction was applied."
    yield "Clipped and crushed pixels hold no information: there, the result is a guess from the surroundings."


def _stops(ev_error: float | None) -> str:
    return "unknown" if ev_error is None else f"{ev_error:+.2f} stops"


def _number(value: float) -> str:
    return f"{value:.{DECIMALS}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in headings:
        is_number = heading in ("score", "probability", "before", "after")
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(each)) for each in row))
    return table


Describe = Callable[[PredictionResult, bool], "Iterator[str | Table]"]
_BY_MODEL: Mapping[str, Describe] = {
    "hoi": _interactions,
    "hra_screening": _screening,
    "inpaint": _inpainting,
    "svbrdf": _material,
    "hdr_correct": _exposure,
}

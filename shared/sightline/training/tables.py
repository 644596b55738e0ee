"""Markdown tables that compare methods on the same cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sightline.training.photos import Picture

CaseT = TypeVar("CaseT")

Measure = Callable[[Picture, Picture], float]
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """Mean figures of one method over the cases of one group."""

    group: str
    cases: int
    method: str
    figures: Figures


def make_rows(
    cases: Sequence[CaseT], group_of: Callable[[CaseT], str], figures: Mapping[str, Sequence[Figures]]
) -> list[Row]:
    """One row for each group and method, from each method's figures of every case; groups in order of appearance."""
    groups = [group_of(case) for case in cases]
    members = {group: [at for at, each in enumerate(groups) if each == group] for group in dict.fromkeys(groups)}
    return [
        Row(group, len(chosen), method, _mean([rows[at] for at in chosen]))
        for group, chosen in members.items()
        for method, rows in figures.items()
    ]


def _mean(figures: Sequence[Figures]) -> Figures:
    return {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}


def markdown_table(rows: Sequence[Row], heading: str) -> str:
    """The rows as a Markdown table, with two digits for decibels and three for other figures."""
    names = list(rows[0].figures)
    lines = [f"| {heading} | method | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        figures = " | ".join(f"{row.figures[name]:.{2 if name.endswith('_db') else 3}f}" for name in names)
        lines.append(f"| {row.group} ({row.cases}) | {row.method} | {figures} |")
    return "\n".join(lines)

"""Summaries of real results, as `sightline predict` prints them."""

import json
from pathlib import Path

import pytest

from sightline.cli.output import console
from sightline.cli.prediction import PredictionResult
from sightline.cli.summary import print_summary
from tests.cli.conftest import MASK, PHOTO, SAMPLES, predict


def test_interactions_are_a_table_of_person_verb_object_and_score(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    shown = predict("hoi", SAMPLES / "astronaut.jpg", "-o", out)
    best = json.loads(out.read_bytes())["interactions"][0]
    row = next(line for line in shown.splitlines() if line.startswith("person 0"))
    assert row.split() == ["person", str(best["person"]), best["action"], "-", f"{best['score']:.3f}"]
    assert "never evidence of what someone did" in shown


@pytest.mark.parametrize(
    ("threshold", "decision"), [(0.5, "Decision: environment"), (0.9, "is below the threshold of 0.900")]
)
def test_screening_writes_out_decision_or_abstention(threshold: float, decision: str) -> None:
    shown = predict("hra-screening", PHOTO, "--option", f"threshold={threshold}")
    assert decision in shown
    assert shown.count("\n") == 12  # decision, heading, nine classes, warning
    assert "never evidence of an abuse" in shown


def test_class_that_was_not_learned_is_the_reason_of_an_abstention(capsys: pytest.CaptureFixture[str]) -> None:
    screened = {
        "most_likely": "arms",
        "threshold": 0.5,
        "decision": "abstain",
        "needs_review": True,
        "probabilities": {"arms": 0.9, "environment": 0.1},
    }
    print_summary(PredictionResult("hra_screening", b"", "application/json", {}, {"results": [screened]}), console())
    assert "the weights did not learn the most likely class, arms" in capsys.readouterr().out


def test_inpainting_names_the_share_of_synthesised_pixels(tmp_path: Path) -> None:
    shown = predict("inpaint", PHOTO, "--mask", MASK, "-o", tmp_path / "out.png")
    assert "% of the photo is synthesised" in shown
    assert "show nothing of what was there" in shown
    assert f"Wrote {tmp_path / 'out.png'}" in shown


def test_material_names_type_and_files(tmp_path: Path) -> None:
    shown = predict("svbrdf", SAMPLES / "surface.jpg", "-o", tmp_path / "m.zip")
    for part in ("Material: ", "basecolor.png", "the brightness of the base colour is assumed"):
        assert part in shown


def test_notes_and_results_of_servers_without_a_record_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"x-sightline-notes": "first-frame-only", "x-sightline-synthesised-share": "0.25"}
    print_summary(PredictionResult("inpaint", b"", "image/png", headers, None), console())
    shown = capsys.readouterr().out
    assert "25.00 % of the photo is synthesised." in shown
    assert "Note: first-frame-only" in shown

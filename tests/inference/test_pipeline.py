"""One result in several forms."""

from collections.abc import Callable
from typing import Any

import pytest

from sightline.api.evidence import Evidence
from sightline.api.problems import Code, Problem
from sightline.inference.engine import OnnxEngine
from sightline.inference.executor import run_inline
from sightline.inference.pipeline import InferenceRequest, respond, respond_in_all_types
from sightline.inference.predictor import AnyPredictor, Rendered, Upload
from sightline.inference.stages import Stage, Stages
from sightline.serving.settings import ServiceSettings

MakePng = Callable[..., bytes]
Ask = Callable[..., dict[str, Rendered]]


@pytest.fixture
def predictor(make_predictor: Callable[..., AnyPredictor]) -> AnyPredictor:
    return make_predictor()


@pytest.fixture
def engine(predictor: AnyPredictor, make_settings: Callable[..., ServiceSettings]) -> OnnxEngine:
    return OnnxEngine(predictor.weights, predictor.signature, make_settings())


@pytest.fixture
def ask(predictor: AnyPredictor, engine: OnnxEngine, make_png: MakePng) -> Ask:
    """The renderings by the media type that they have."""

    def run(media_type: str, *others: str) -> dict[str, Rendered]:
        question = InferenceRequest(
            Upload({"image": [make_png()]}, predictor.declaration.options()), media_type, "request"
        )
        identity, stages = predictor.weights.identity("tiny"), Stages()
        forms = run_inline(
            respond_in_all_types(predictor, question, engine, identity, others=others, stages=stages), engine
        )
        assert stages.current is Stage.ENCODE
        return {form.media_type: form for form in forms}

    return run


def test_each_media_type_equals_a_single_rendering(
    ask: Ask, predictor: AnyPredictor, engine: OnnxEngine, make_png: MakePng
) -> None:
    forms = ask("image/png", "application/json")
    question = InferenceRequest(
        Upload({"image": [make_png()]}, predictor.declaration.options()), "image/png", "request"
    )
    single = run_inline(respond(predictor, question, engine, predictor.weights.identity("tiny")), engine)
    assert list(forms) == ["image/png", "application/json"]
    assert forms["image/png"].body == single.body
    assert forms["image/png"].headers.keys() == single.headers.keys()


def refuse_json(predictor: AnyPredictor, monkeypatch: pytest.MonkeyPatch, code: Code) -> None:
    drawn = predictor.render

    def render(result: Any, media_type: str, evidence: Evidence) -> Rendered:
        if media_type == "application/json":
            raise Problem(code, "Not this one.")
        return drawn(result, media_type, evidence)

    monkeypatch.setattr(predictor, "render", render)


def test_media_type_that_the_result_lacks_is_left_out(
    ask: Ask, predictor: AnyPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_json(predictor, monkeypatch, Code.NOT_ACCEPTABLE)
    assert list(ask("image/png", "application/json")) == ["image/png"]


@pytest.mark.parametrize(
    ("code", "asked"),
    [(Code.NOT_ACCEPTABLE, ("application/json", "image/png")), (Code.INTERNAL, ("image/png", "application/json"))],
    ids=["the-preferred-form", "another-fault"],
)
def test_rendering_in_all_types_fails_as_a_single_one_does(
    ask: Ask, predictor: AnyPredictor, monkeypatch: pytest.MonkeyPatch, code: Code, asked: tuple[str, ...]
) -> None:
    refuse_json(predictor, monkeypatch, code)
    with pytest.raises(Problem):
        ask(*asked)


def test_media_type_that_occurs_twice_is_kept_once(
    ask: Ask, predictor: AnyPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "render", lambda *_: Rendered(b"always the same", "image/webp"))
    assert list(ask("image/png", "application/json", "image/webp")) == ["image/webp"]

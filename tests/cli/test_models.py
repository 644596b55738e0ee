import pytest
import typer

from sightline.cli.models import find_models, require_models


def test_a_folder_with_a_predictor_is_a_model() -> None:
    assert "inpaint" in find_models()
    assert "gateway" not in find_models()


def test_all_models_unless_some_are_named() -> None:
    assert require_models([]) == find_models()
    assert require_models(["inpaint"]) == ("inpaint",)


def test_a_name_may_be_spelled_as_in_urls() -> None:
    assert require_models(["hdr-correct", "HRA_screening"]) == ("hdr_correct", "hra_screening")


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(typer.BadParameter, match=r"no model 'paint'.*inpaint"):
        require_models(["paint"])

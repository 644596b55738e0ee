import re
from pathlib import Path

import pytest

from services.hoi.contract_facts import ContractFacts, Role
from services.hoi.predictor import signature_for
from sightline.inference.contract import ContractError, read_contract
from sightline.inference.weights import Weights
from sightline.postprocessing.interactions import ActionScore

MADE = {"longest_side_px": 64, "classes": ["person", "dog"], "slots": [["hold", "obj"], ["walk", ""], ["run"]]}


def test_slots_are_actions_with_or_without_a_role() -> None:
    facts = ContractFacts.model_validate(MADE)

    assert [(slot.action, slot.role) for slot in facts.slots] == [("hold", Role.OBJECT), ("walk", None), ("run", None)]
    assert facts.person == 0
    assert facts.action_score is ActionScore.GEOMETRIC_MEAN


def test_every_class_is_plausible_for_slots_without_allowed_classes() -> None:
    assert ContractFacts.model_validate(MADE).plausible.all()
    named = ContractFacts.model_validate({**MADE, "allowed": {"hold-obj": ["dog"]}})
    assert named.plausible.tolist() == [[False, True, True], [True, True, True]]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"longest_side_px": 100}, "multiple of 32"),
        ({"classes": ["dog"]}, "class 'person'"),
        ({"allowed": {"hold": ["dog"]}}, "no slot 'hold'"),
        ({"allowed": {"hold-obj": ["cat"]}}, "no class 'cat'"),
        ({"slots": [["hold", "agent"]]}, "slots.0.role"),
        ({"slots": [[]]}, "slots"),
        ({"slots": "hold"}, "slots"),
        ({"sigma": 0}, "sigma"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_inconsistent_facts_are_named(blobs: Weights, fault: dict[str, object], said: str) -> None:
    contract = blobs.contract.model_copy(update={"facts": {**MADE, **fault}})
    with pytest.raises(ContractError, match=said):
        contract.read_facts(ContractFacts)


def test_documented_contract_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "weights.md").read_text()
    (example,) = [block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "interactions.onnx" in block]
    path = tmp_path / "documented.toml"
    path.write_text(example)

    contract = read_contract(path)
    facts = contract.read_facts(ContractFacts)
    assert contract.adapt(signature_for(facts)).buckets[0]["slots"] == 3

import numpy as np
import pytest

from services.hra_screening.decision import (
    MIN_SUPPORT,
    Classification,
    ContractFacts,
    ScreeningRequest,
    ScreeningResult,
)
from services.hra_screening.schemas import ScreeningOptions
from sightline.api.screening import CATEGORIES, Category


def result(category: Category, facts: ContractFacts) -> ScreeningResult:
    """Of one picture that is all but certainly of the category."""
    probabilities = np.full(len(CATEGORIES), 1e-3)
    probabilities[CATEGORIES.index(category)] = 1 - 8e-3
    verdict = Classification(probabilities, np.zeros((7, 7, 9), np.float32), np.zeros(4, np.float32))
    return ScreeningResult(ScreeningRequest((), (), ScreeningOptions()), {0: verdict}, facts)


@pytest.mark.parametrize("support", [{}, {Category.ARMS: MIN_SUPPORT}], ids=["unknown", "learned"])
def test_decision_requires_sufficient_support_where_it_is_known(support: dict[Category, int]) -> None:
    assert result(Category.ARMS, ContractFacts(support=support)).decision(0) is Category.ARMS


def test_unsupported_class_is_never_the_decision() -> None:
    facts = ContractFacts(support={Category.CHILD_MARRIAGE: MIN_SUPPORT - 1})

    assert result(Category.CHILD_MARRIAGE, facts).decision(0) is None
    assert result(Category.ARMS, facts).decision(0) is Category.ARMS

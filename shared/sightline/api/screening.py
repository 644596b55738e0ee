"""The classes of human-rights screening (Kalliatakis et al., IEEE Access 7, 2019)."""

from enum import StrEnum


class Category(StrEnum):
    """Eight kinds of violation and none, in the alphabetical order of all tensors and tables."""

    ARMS = "arms"
    CHILD_LABOUR = "child_labour"
    CHILD_MARRIAGE = "child_marriage"
    DETENTION_CENTRES = "detention_centres"
    DISABILITY_RIGHTS = "disability_rights"
    DISPLACED_POPULATIONS = "displaced_populations"
    ENVIRONMENT = "environment"
    NO_VIOLATION = "no_violation"
    OUT_OF_SCHOOL = "out_of_school"


CATEGORIES = tuple(Category)
ABSTAIN = "abstain"

import pytest
import typer

from services.hoi.schemas import DECLARATION
from sightline.cli.arguments import parse_options, parse_shard, validate_options
from sightline.cli.output import CommandError


def test_options_are_split_at_the_first_equals_sign() -> None:
    assert parse_options(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(typer.BadParameter, match="NAME=VALUE"):
        parse_options(["a"])


def test_options_are_checked_by_the_model() -> None:
    assert validate_options(DECLARATION.options, {"max_people": "3"}).model_dump()["max_people"] == 3
    with pytest.raises(CommandError, match="there is no option 'size'; there are: min_score, "):
        validate_options(DECLARATION.options, {"size": "3"})
    with pytest.raises(CommandError, match="max_people=-3: "):
        validate_options(DECLARATION.options, {"max_people": "-3"})


def test_shard_has_an_index_below_its_count() -> None:
    assert parse_shard("3/4") == (3, 4)
    for wrong in ("4/4", "1", "a/b", "-1/2"):
        with pytest.raises(typer.BadParameter, match="INDEX/COUNT"):
            parse_shard(wrong)

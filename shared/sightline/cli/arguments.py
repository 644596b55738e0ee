"""Arguments of several commands: options of models, and shares of a batch."""

import re
from collections.abc import Mapping, Sequence

import typer
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sightline.cli.exit_codes import ExitCode
from sightline.cli.output import CommandError, did_you_mean, printable

SHARD = re.compile(r"(\d+)/(\d+)")


def parse_options(options: Sequence[str]) -> dict[str, str]:
    """Returns `NAME=VALUE` arguments as a dictionary."""
    if faulty := [option for option in options if "=" not in option]:
        raise typer.BadParameter(f"{faulty[0]!r} is not of the form NAME=VALUE")
    return dict(option.split("=", 1) for option in options)


def validate_options(options: type[BaseModel], values: Mapping[str, str]) -> BaseModel:
    """Returns a model's options. Raises CommandError for unknown names and values out of range."""
    if unknown := sorted(set(values) - set(options.model_fields)):
        hint = did_you_mean(unknown[0], options.model_fields)
        raise CommandError(f"there is no option {printable(unknown[0])!r}; {hint}", ExitCode.USAGE)
    try:
        return options.model_validate(values)
    except ValidationError as error:
        faults = [_describe_fault(fault, values) for fault in error.errors()]
        raise CommandError("; ".join(faults), ExitCode.BAD_INPUT) from None


def _describe_fault(fault: ErrorDetails, values: Mapping[str, str]) -> str:
    name = str(fault["loc"][0]) if fault["loc"] else ""
    place, value = ".".join(map(str, fault["loc"])), values.get(name, "")
    if fault["type"] in ("enum", "literal_error"):
        choices = re.findall(r"'([^']*)'", fault["msg"])
        near = did_you_mean(value, choices)
        rest = f" It takes {', '.join(choices)}" if near.endswith("?") else ""
        return f"option {place} has no value {printable(value)!r}; {near}{rest}"
    return f"option {place}={printable(value)}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def parse_shard(shard: str) -> tuple[int, int]:
    """Returns index and count of `INDEX/COUNT`, such as 0/4 to 3/4."""
    match = SHARD.fullmatch(shard)
    if match is None or int(match[1]) >= int(match[2]):
        raise typer.BadParameter(f"{shard!r} is not of the form INDEX/COUNT, such as 0/4, 1/4, 2/4 and 3/4")
    return int(match[1]), int(match[2])

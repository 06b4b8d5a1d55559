"""The types of settings' values: how each is read from a text, a file or a call, and what is refused."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, PlainValidator

from robaudit.audit.config.duration import parse_duration
from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.result.document import Attacker, Norm
from robaudit.defenses.registry import chained, parse_chain, words_of_chain
from robaudit.detectors.registry import parse_detector, words_of_detector
from robaudit.errors import UsageError
from robaudit.query_rate import QueryRate
from robaudit.target.head.rule import parse_rule

__all__ = [
    "Attacker",
    "BatchSize",
    "Bounds",
    "Decimals",
    "Decision",
    "Defended",
    "Device",
    "Duration",
    "Eps",
    "Finite",
    "Fixed",
    "GateSpec",
    "Gigabytes",
    "Money",
    "Norm",
    "NotNegative",
    "NumberText",
    "Numbers",
    "PathText",
    "Paths",
    "Positive",
    "Positive01",
    "QueryRate",
    "Seconds",
    "Seed",
    "Share",
    "Small",
    "Texts",
]

LONGEST_NAME = 255


def _listed(value: object) -> object:
    """A comma-separated text, a number or a single text as a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _number_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str | os.PathLike) else value


def _path_text(value: object) -> object:
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, str) and any(len(os.fsencode(part)) > LONGEST_NAME for part in value.split("/")):
        raise ValueError(f"a path has no part longer than {LONGEST_NAME} characters")
    return value


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError(f"a device is auto, cpu, cuda or cuda:N, not {value!r}")
    return value


def _duration(value: str) -> str:
    try:
        parse_duration(value)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return value


def _decision(value: str) -> str:
    try:
        return str(parse_rule(value))
    except UsageError as error:
        raise ValueError(str(error)) from error


def _in_a_row(value: object) -> object:
    """Defenses that stand in a row, as the text of a chain."""
    if isinstance(value, list | tuple) and value and all(isinstance(part, str) for part in value):
        return chained(value)
    return value


def _defense(value: str) -> str:
    try:
        return words_of_chain(parse_chain(value))
    except UsageError as error:
        raise ValueError(str(error)) from error


def _detector(value: str) -> str:
    try:
        return words_of_detector(parse_detector(value))
    except UsageError as error:
        raise ValueError(str(error)) from error


def _batch_size(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"a batch size is auto or a whole number above 0, not {value!r}")
    return value


def _fixed(value: object) -> object:
    """``NAME=VALUE`` texts, or a map from name to number, list, text or path, as texts by name."""
    if isinstance(value, str):
        value = [part for part in value.split(";") if part.strip()]
    if isinstance(value, list | tuple):
        pairs = [str(part).partition("=") for part in value]
        for name, sign, _ in pairs:
            if not sign or not name.strip():
                raise ValueError(f"an input is fixed as NAME=VALUE, not {name!r}")
        twice = [name for name, _, _ in pairs if [p[0] for p in pairs].count(name) > 1]
        if twice:
            raise ValueError(f"the input {twice[0]!r} is fixed twice")
        value = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, dict):
        raise ValueError(f"fixed inputs are a map from name to value, not {value!r}")
    return {str(name): _value_text(item) for name, item in value.items()}


def _value_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_value_text(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise ValueError(f"a fixed input is a number, a list, zeros, ones, or an .npy or .npz file, not {value!r}")
    return str(value)


Finite = FiniteFloat
Share = Annotated[float, Field(ge=0, le=1)]
Positive01 = Annotated[FiniteFloat, Field(gt=0, le=1)]
Small = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Decimals = Annotated[int, Field(ge=0, le=15)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Gigabytes = Annotated[FiniteFloat, Field(ge=0.1)]
Money = Annotated[FiniteFloat, Field(gt=0)]
Numbers = Annotated[tuple[FiniteFloat, ...], BeforeValidator(_listed)]
Bounds = Annotated[tuple[FiniteFloat, FiniteFloat], BeforeValidator(_listed)]
NumberText = Annotated[str, BeforeValidator(_number_text)]
Eps = NumberText
Duration = Annotated[str, BeforeValidator(_number_text), AfterValidator(_duration)]
Device = Annotated[str, AfterValidator(_device)]
Decision = Annotated[str, AfterValidator(_decision)]
Defended = Annotated[str, BeforeValidator(_in_a_row, str | list[str]), AfterValidator(_defense)]
Detecting = Annotated[str, AfterValidator(_detector)]
FalseAlarms = Annotated[FiniteFloat, Field(gt=0, lt=1)]
BatchSize = Annotated[int | Literal["auto"], PlainValidator(_batch_size, int | str)]
Fixed = Annotated[dict[str, str], BeforeValidator(_fixed, dict[str, str | float | bool | list[float]])]
PathText = Annotated[str, BeforeValidator(_path_text)]
Paths = Annotated[tuple[PathText, ...], BeforeValidator(_one_or_more)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]

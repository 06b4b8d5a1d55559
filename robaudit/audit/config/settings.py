"""Settings of one run: the keys of ``robaudit.yaml``, each validated."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainValidator,
    field_validator,
)

from robaudit.audit.config.duration import parse_duration
from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.yaml_file import no_switch
from robaudit.audit.result.document import Norm
from robaudit.errors import UsageError
from robaudit.target.rule import parse_rule

__all__ = ["DEFAULT_PROFILE", "PATH_LISTS", "InputSettings", "Settings", "hyphens"]

DEFAULT_PROFILE = "quick"
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


Numbers = Annotated[tuple[FiniteFloat, ...], BeforeValidator(_listed)]
Eps = Annotated[str, BeforeValidator(_number_text)]
PathText = Annotated[str, BeforeValidator(_path_text)]
Paths = Annotated[tuple[PathText, ...], BeforeValidator(_one_or_more)]
PATH_LISTS = ("surrogates", "output")
"""Settings with several paths; in a variable they stand as in PATH."""


def hyphens(name: str) -> str:
    """A key as it is written in files and flags."""
    return name.replace("_", "-")


class _Keys(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        alias_generator=hyphens,
        populate_by_name=True,
    )
    _numbers = field_validator("*", mode="wrap")(no_switch)


class InputSettings(_Keys):
    """What the owner says about the model's input; null is left to be found."""

    mean: Numbers | None = None
    """Mean per channel, subtracted after scaling."""
    std: Numbers | None = None
    """Standard deviation per channel."""
    scale: FiniteFloat | None = None
    """Factor from [0, 1] to the model's units before mean and std, such as 255."""
    layout: Literal["nchw", "nhwc"] | None = None
    """Layout of the model's images."""
    channels: Literal["rgb", "bgr"] | None = None
    """Channel order of the model's images."""
    resize: Annotated[str, BeforeValidator(_number_text)] | None = None
    """Size that image files are resized to: 224, 224x224, or none."""
    crop: FiniteFloat | None = Field(default=None, gt=0, le=1)
    """Share of the shorter side that the centre crop keeps."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    """How image files are resized."""
    domain: Annotated[tuple[FiniteFloat, FiniteFloat], BeforeValidator(_listed)] | None = None
    """Lowest and highest valid value of the input, before scale, mean and std."""
    fixed: Annotated[dict[str, str], BeforeValidator(_fixed, dict[str, str | float | bool | list[float]])] | None = None
    """Values of the inputs that are not attacked, by name: a number, a list, zeros, ones, or an .npy or .npz file."""


class Settings(_Keys):
    """Settings of one run, resolved; also the keys of ``robaudit.yaml``, with hyphens."""

    data: PathText | None = None
    """Image folder, table or .npz; null looks for a sidecar file, then takes the bundled images."""
    labels: PathText | None = None
    """CSV of labels, or ``model`` for stability mode."""
    label_column: str | None = None
    """Column that holds the labels, of a table or a CSV of labels; null finds it by its name."""
    target_column: str | None = None
    """Column of a table with the class that each row is to be made to answer, for the goal ``given``."""
    feature_ranges: PathText | None = None
    """Lowest and highest value of each feature of a table, as CSV or YAML; null takes them from the data."""
    profile: PathText = DEFAULT_PROFILE
    """Name or path of the profile."""
    norm: Norm = "linf"
    """Norm of the threat model."""
    eps: Eps = "8/255"
    """Radius of the threat model."""
    goal: str = "untargeted"
    """What counts as a success: untargeted, random, least-likely, second-likely, class:NAME, given, every, every:N."""
    curve: bool | None = None
    """Search the whole robustness curve; null: as the profile says."""
    samples: int | None = Field(default=None, ge=1)
    """Samples to draw; null takes all."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of all random numbers."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch_size: Annotated[int | Literal["auto"], PlainValidator(_batch_size, int | str)] = "auto"
    """Most inputs evaluated at once."""
    compile: bool = False
    """Compile the twin with torch.compile: minutes at first; of use on a GPU, if at all."""
    search_precision: Literal["float32", "bfloat16", "tf32"] = "float32"
    """Arithmetic of white-box searches; every success is judged on the file at its own precision."""
    input: InputSettings = InputSettings()
    input_name: str | None = None
    """Name of the attacked input, where the model has several."""
    output_name: str | None = None
    """Name of the output that holds the class scores; null finds it."""
    decision: Annotated[str, AfterValidator(_decision)] | None = None
    """Which score decides: largest or smallest; of one number above:T or below:T, where the second class begins."""
    fresh_state: bool = False
    """Undo before each call what earlier calls have left behind in the model (TorchScript, torch.export)."""
    classes: PathText | tuple[str, ...] | None = None
    """Class names in the order of the model's outputs, or the path of a file with one a line."""
    surrogates: Paths = ()
    """Files of surrogate models for transfer attacks."""
    stand_in: PathText | None = None
    """File of a differentiable model whose gradient white-box attacks take in place of the model's own."""
    gates: tuple[GateSpec, ...] = ()
    """Gates; one on the same metric replaces the profile's."""
    min_robust: float | None = Field(default=None, ge=0, le=1)
    """Least robust accuracy that passes: short for a gate on robust_accuracy."""
    on_inconclusive: Literal["fail", "warn", "pass"] = "fail"
    """What an inconclusive gate means for the exit code."""
    fail_on: Literal["error", "warn", "never"] = "error"
    """Gates that decide the exit code: those of level error, all, or none; an invalid audit is 3 in any case."""
    baseline: PathText | None = None
    """Result of an earlier audit of the same data, to compare with: a JSON file or a run directory."""
    non_inferiority_margin: float | None = Field(default=None, ge=0, lt=1)
    """Largest loss of robust accuracy against the baseline that passes: short for a gate on regression."""
    sign: PathText | None = None
    """Ed25519 private key that the result is signed with, in PEM or OpenSSH's format; null: it is not signed."""
    verify: PathText | None = None
    """Ed25519 public key that the baseline must be signed with, and every result that a command reads; null: none."""
    until_decided: bool = False
    """End when the gates are decided; ``samples`` are the most that are audited."""
    time_budget: Annotated[str, BeforeValidator(_number_text), AfterValidator(_duration)] | None = None
    """Time after which nothing new is begun, such as 10m; null: no limit. What is not tried is told as such."""
    clean_accuracy: float | None = Field(default=None, ge=0, le=1)
    """Clean accuracy that the owner expects; a check compares it with the measured one."""
    output: Paths = ()
    """Reports to write; the suffix picks the format."""
    run_dir: PathText | None = None
    """Folder of the run's journal, evidence and result."""

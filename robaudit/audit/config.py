"""Settings of a run: flags, ``ROBAUDIT_*`` variables, the nearest ``robaudit.yaml``, the profile, in turn."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainValidator,
    ValidationError,
)

from robaudit.audit.goals import parse_goal
from robaudit.audit.parse import read_yaml, refuse
from robaudit.audit.profile import (
    CurveSpec,
    GateSpec,
    Profile,
    ThreatSpec,
    load_profile,
    merge_gates,
    parse_eps,
    profile_path,
)
from robaudit.audit.result import Norm
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["CONFIG_NAME", "DEFAULT_EPS", "DEFAULT_PROFILE", "InputSettings", "Settings", "resolve_settings"]

CONFIG_NAME = "robaudit.yaml"
DEFAULT_PROFILE = "quick"
DEFAULT_EPS: dict[str, str] = {"linf": "8/255", "l2": "0.5", "l1": "12", "l0": "16"}
"""Radius where a norm was chosen and no radius with it."""

PREFIX = "ROBAUDIT_"
OWN_VARIABLES = ("ROBAUDIT_INTERNAL_", "ROBAUDIT_TEST_")
INPUT_KEYS = ("mean", "std", "scale", "layout", "channels", "resize", "crop", "interpolation", "domain", "fixed")
PATH_KEYS = frozenset({"data", "labels", "feature_ranges", "classes", "surrogates", "stand_in", "output", "run_dir"})


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
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError(f"a device is auto, cpu, cuda or cuda:N, not {value!r}")
    return value


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


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class _Keys(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        alias_generator=_hyphens,
        populate_by_name=True,
    )


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
    """Column of a table that holds the labels; null takes the last, if its name says so."""
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
    input: InputSettings = InputSettings()
    input_name: str | None = None
    """Name of the attacked input, where the model has several."""
    output_name: str | None = None
    """Name of the output that holds the class scores; null finds it."""
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
    until_decided: bool = False
    """End when the gates are decided; ``samples`` are the most that are audited."""
    clean_accuracy: float | None = Field(default=None, ge=0, le=1)
    """Clean accuracy that the owner expects; a check compares it with the measured one."""
    output: Paths = ()
    """Reports to write; the suffix picks the format."""
    run_dir: PathText | None = None
    """Folder of the run's journal, evidence and result."""


class Resolved(BaseModel):
    """Settings and profile of a run, and where each setting came from."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    """The settings; ``gates`` is complete (profile, file, min-robust)."""
    profile: Profile
    """The profile with threat, samples and gates as the settings have them."""
    profile_source: str
    """``built-in``, or the path of the profile's file."""
    sources: dict[str, str]
    """Origin by key (``input.mean`` where nested): a flag, a variable, a file, a profile, or ``default``."""
    eps_default: bool
    """Whether nobody chose the radius."""
    config_file: str | None
    """The ``robaudit.yaml`` that was read."""


def find_config(model: Path) -> Path | None:
    """The nearest ``robaudit.yaml`` in the model's folder or above."""
    for folder in model.absolute().parents:
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    return None


def _validate(content: dict[str, Any], where: str) -> dict[str, Any]:
    """The given keys alone, validated, by field name; ``input.*`` flattened."""
    try:
        settings = Settings.model_validate(content)
        if "eps" in settings.model_fields_set:
            parse_eps(settings.eps, "any")
        parse_goal(settings.goal)
    except ValidationError as error:
        raise refuse(error, where, Settings) from error
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    given = {name: getattr(settings, name) for name in settings.model_fields_set if name != "input"}
    for name in settings.input.model_fields_set:
        given[f"input.{name}"] = getattr(settings.input, name)
    return {name: value for name, value in given.items() if value is not None}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flags or variables by name, those of the input put under ``input``."""
    content: dict[str, Any] = {}
    for name, value in flat.items():
        if name in INPUT_KEYS:
            content.setdefault("input", {})[name] = value
        else:
            content[name] = value
    return content


def _from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in flags.items() if value is not None and value not in ((), [])}
    if isinstance(given.get("input"), Mapping):
        given.update(given.pop("input"))
    return _validate(_nested(given), "command line")


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {_variable(name): name for name in (*Settings.model_fields, *INPUT_KEYS)}
    for structured in ("input", "gates"):
        del known[_variable(structured)]
    given: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(OWN_VARIABLES):
            continue
        if variable not in known:
            raise UsageError(f"unknown environment variable {variable}{did_you_mean(variable, known)}")
        if text:
            name = known[variable]
            given[name] = text.split(os.pathsep) if name in ("surrogates", "output") else text
    return _validate(_nested(given), "environment")


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _from_file(path: Path) -> dict[str, Any]:
    given = _validate(read_yaml(path), str(path))
    folder = path.parent

    def absolute(text: str) -> str:
        return str(folder / Path(text).expanduser())

    for name in PATH_KEYS & given.keys():
        value = given[name]
        if name == "labels" and value == "model":
            continue
        if isinstance(value, str):
            given[name] = absolute(value)
        elif name != "classes":
            given[name] = tuple(absolute(text) for text in value)
    if "input.fixed" in given:
        given["input.fixed"] = {
            name: absolute(text) if text.lower().endswith((".npy", ".npz")) else text
            for name, text in given["input.fixed"].items()
        }
    if "profile" in given:
        found, built_in = profile_path(given["profile"], folder)
        given["profile"] = given["profile"] if built_in else str(found)
    return given


def _as_specific_as_the_profile(levels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Levels at least as specific as the one that names the profile."""
    names = list(levels)
    last = max((place for place, name in enumerate(names) if "profile" in levels[name]), default=0)
    return names[last:]


def _names_one_threat(profile: Profile, given: Mapping[str, Any], counts: bool) -> bool:
    """Whether settings pick one norm of a profile with several; those of a place less specific do not count.

    Raises:
        UsageError: a radius without its norm.
    """
    if counts and "eps" in given and "norm" not in given:
        raise UsageError(f"the profile {profile.name} has several norms, so eps needs the norm that it is meant for")
    return counts and "norm" in given


def _curve(asked: bool, profile: Profile) -> CurveSpec | None:
    return (profile.curve or CurveSpec()) if asked else None


def _origin(level: str, name: str, file: Path | None) -> str:
    key = name.removeprefix("input.")
    if level == "flag":
        return f"flag --{'input' if key == 'fixed' else _hyphens(key)}"
    return f"environment {_variable(key)}" if level == "environment" else str(file)


def resolve_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], model: str | os.PathLike[str]
) -> Resolved:
    """All settings of a run on a model, each from the most specific place that gives it.

    A norm given without a radius, at a place more specific than the radius, takes that norm's default radius.

    Args:
        flags: given flags by field name (``batch_size``, ``mean``); None and empty lists are not given.
        environment: environment variables.
        model: path of the model, whose folder and those above are searched for ``robaudit.yaml``.

    Raises:
        UsageError: an unknown key or profile, or a value of the wrong type or out of range.
    """
    file = find_config(Path(model))
    levels = {
        "file": _from_file(file) if file else {},
        "environment": _from_environment(environment),
        "flag": _from_flags(flags),
    }
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for level, given in levels.items():
        for name, value in given.items():
            values[name], sources[name] = value, _origin(level, name, file)

    profile = load_profile(values.get("profile", DEFAULT_PROFILE))
    path, built_in = profile_path(values.get("profile", DEFAULT_PROFILE))
    origin = f"profile {profile.name}"
    norm, eps, eps_origin = profile.threat.norm, profile.threat.eps, origin
    also, chosen = profile.threat.also, _as_specific_as_the_profile(levels)
    for level, given in levels.items():
        if profile.threat.also and not _names_one_threat(profile, given, level in chosen):
            continue
        if profile.threat.also:
            mine = {norm: eps} | {other.norm: other.eps for other in profile.threat.also}
            also, norm, eps, eps_origin = (), given["norm"], mine.get(given["norm"], eps), origin
        if "norm" in given:
            if given["norm"] != norm and "eps" not in given:
                eps, eps_origin = DEFAULT_EPS[given["norm"]], "default"
            norm = given["norm"]
        if "eps" in given:
            eps, eps_origin = given["eps"], _origin(level, "eps", file)
    try:
        parse_eps(eps, norm)
    except UsageError as error:
        raise UsageError(f"{eps_origin}: {error}") from error
    values |= {"norm": norm, "eps": eps, "goal": values.get("goal", profile.threat.goal)}
    sources |= {"norm": sources.get("norm", origin), "eps": eps_origin, "goal": sources.get("goal", origin)}

    if "samples" not in values and profile.data.samples is not None:
        values["samples"], sources["samples"] = profile.data.samples, origin
    gates = list(merge_gates(profile.gates, values.get("gates", ())))
    if values.get("min_robust") is not None:
        robust = [gate for gate in gates if gate.metric == "robust_accuracy"]
        wanted = (robust[0] if robust else GateSpec(metric="robust_accuracy", min=0.0)).model_copy(
            update={"min": values["min_robust"]}
        )
        gates = list(merge_gates(gates, [wanted]))
    values["gates"] = tuple(gates)
    sources.setdefault("gates", origin)

    inputs = {name: values.pop(f"input.{name}") for name in INPUT_KEYS if f"input.{name}" in values}
    settings = Settings(**values, input=InputSettings(**inputs))
    for name in Settings.model_fields:
        if name != "input":
            sources.setdefault(name, "default")
    threat = ThreatSpec(norm=norm, eps=eps, goal=settings.goal, queries=profile.threat.queries, also=also)
    return Resolved(
        settings=settings,
        profile=profile.model_copy(
            update={
                "threat": threat,
                "data": profile.data.model_copy(update={"samples": settings.samples}),
                "gates": settings.gates,
                "curve": profile.curve if settings.curve is None else _curve(settings.curve, profile),
            }
        ),
        profile_source="built-in" if built_in else str(path),
        sources=sources,
        eps_default=eps_origin == "default" or (eps_origin == origin and built_in),
        config_file=str(file) if file else None,
    )

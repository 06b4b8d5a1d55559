"""The pages of ``robaudit explain`` on an attack and a transform, from docstring and parameters; and on losses."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import typing
from typing import Any

__all__ = [
    "attack_page",
    "defense_lines",
    "defense_page",
    "detector_page",
    "loss_page",
    "parameter_lines",
    "parameter_texts",
    "surrogate_page",
    "transform_page",
]

THROUGH_COST = (
    "What fools is decided at the point itself, never at the changed one: of the model under attack a forward more at "
    "each point. `eot` averages several draws."
)
SMOOTHED_COST = "It changes gradients alone, so that it costs no evaluation. `eot` averages draws of a random model."
ENDS = {
    "first success": "ends at its first success within eps",
    "run on": "goes on after a success, and the best point that it found counts",
}
PARAMETER = re.compile(r"^    (\w+): (.*)$")
LOSSES_MODULE = "``robaudit.threat.losses``"
EOT = (
    "A profile may also set `eot`: draws of a random model, and of transforms, that are averaged in every gradient "
    "(default 1)."
)
SMOOTHLY = (
    "They may be taken by a smooth backward: `{id}+smooth`, by default `smooth: {{width: {width}, pool: {pool}}}`: the "
    "width of what stands for an operator, in standard deviations of the operator's input, and which share of a "
    "maximum pooling's gradient its whole window gets alike."
)
THROUGH = "Its gradients may be taken through transforms: `{id}+{transform}` ({known})."


def attack_page(cls: Any) -> str:
    """All that a user needs to know of an attack: what it does, norms, goals, source, cost, parameters."""
    from robaudit.attacks.fitted import FittedSearch
    from robaudit.attacks.names import SHORT
    from robaudit.attacks.registry import transform_classes
    from robaudit.target.running.smooth import POOL, WIDTH
    from robaudit.threat.model import Access

    text = (inspect.getdoc(cls) or "").replace(LOSSES_MODULE, "`robaudit explain loss`")
    body, _, _ = text.partition("\nArgs:")
    norms = ", ".join(sorted(str(norm) for norm in cls.norms))
    goals = ", ".join(sorted((str(goal) for goal in cls.goals), reverse=True))
    fitted = ", fitted on other samples first, then tried on every one" if issubclass(cls, FittedSearch) else ""
    short = [name for name, id in SHORT.items() if id == cls.id]
    lines = [
        f"{cls.id}: attack, {cls.access} access" + (f"; for short {short[0]}" if short else "") + fitted,
        f"norms {norms}; goals {goals}; {ENDS[cls.stop.value]}",
        "",
        body.strip(),
        "",
    ]
    lines += _parameters(cls, "as a profile sets them")
    if cls.access in (Access.WHITE_BOX, Access.TRANSFER):
        transforms = sorted(transform_classes())
        lines += ["", EOT, THROUGH.format(id=cls.id, transform=transforms[0], known=", ".join(transforms))]
    if cls.access is Access.WHITE_BOX:
        lines.append(SMOOTHLY.format(id=cls.id, width=WIDTH, pool=POOL))
    return "\n".join(lines)


def transform_page(cls: Any) -> str:
    """All that a user needs to know of a transform: what it does, source, parameters, how it composes."""
    body, _, _ = (inspect.getdoc(cls) or "").partition("\nArgs:")
    lines = [
        f"{cls.id}: transform that the gradients of an attack are taken through",
        f"written after the attack that it changes: transfer-mi-fgsm+{cls.id}, for short mi+{cls.id}",
        "",
        body.strip(),
        "",
        *_parameters(cls, f"as a map `{cls.id}` of the attack in a profile"),
        "",
        THROUGH_COST if cls.moves else SMOOTHED_COST,
    ]
    return "\n".join(lines)


def defense_page(cls: Any) -> str:
    """All that a user needs to know of a defense."""
    body, _, _ = (inspect.getdoc(cls) or "").partition("\nArgs:")
    lines = [f"{cls.id}: defense, in front of the model (--defense {cls.id})", "", body.strip(), ""]
    lines += _parameters(cls, f"as in --defense {cls.id}:NAME=VALUE,NAME=VALUE; a value alone is the first's")
    return "\n".join(lines)


def detector_page(cls: Any) -> str:
    """All that a user needs to know of a detector."""
    body, _, _ = (inspect.getdoc(cls) or "").partition("\nArgs:")
    lines = [f"{cls.id}: detector, beside the model (--detector {cls.id})", "", body.strip(), ""]
    lines += _parameters(cls, f"as in --detector {cls.id}:NAME=VALUE,NAME=VALUE; a value alone is the first's")
    return "\n".join(lines)


def defense_lines(cls: Any, width: int) -> list[str]:
    """A defense, or a detector, in a few lines: what it does, its parameters, its source."""
    body, _, _ = (inspect.getdoc(cls) or "").partition("\nArgs:")
    text = " ".join(body.split())
    what, _, rest = text.partition(". ")
    _, found, source = rest.partition("Source")
    lines = [f"{what.rstrip('.')}."]
    parameters = [
        name if value.default is inspect.Parameter.empty else f"{name}={_told(value.default)}"
        for name, value in inspect.signature(cls).parameters.items()
    ]
    lines += [f"parameters: {', '.join(parameters) or 'none'}"]
    lines += [f"source{source}"] if found else []
    wrapped = [part for line in lines for part in textwrap.wrap(line, max(40, width - 4))]
    return [cls.id, *(f"    {line}" for line in wrapped)]


def set_page(cls: Any) -> str:
    """All that a user needs to know of a perturbation set."""
    body, _, _ = (inspect.getdoc(cls) or "").partition("\nArgs:")
    flag = " (--mask FILE)" if cls.id == "mask" else ""
    lines = [f"{cls.id}: perturbation set, beside the ball of the threat model{flag}", "", body.strip(), ""]
    lines += _parameters(cls, f"as in a profile's `threat: {{sets: [{{id: {cls.id}, NAME: VALUE}}]}}`")
    return "\n".join(lines)


def surrogate_page(cls: Any) -> str:
    """All that a user needs to know of a recipe for a surrogate."""
    body, _, _ = (inspect.getdoc(cls) or "").partition("\nArgs:")
    title = f"{cls.id}: surrogate that the audit makes of the model's {cls.access} (--make-surrogate {cls.id})"
    lines = [title, "", body.strip(), ""]
    lines += _parameters(
        cls, f"as in --make-surrogate {cls.id}:NAME=VALUE, or a profile's `surrogates: [{{id: {cls.id}}}]`"
    )
    return "\n".join(lines)


def purifier_page(cls: Any) -> str:
    """All that a user needs to know of how a purifier is made."""
    body, _, _ = (inspect.getdoc(cls) or "").partition("\nArgs:")
    title = f"{cls.id}: file for --defense {cls.defense}:FILE (robaudit train-purifier --recipe {cls.id})"
    lines = [title, "", body.strip(), ""]
    lines += _parameters(cls, f"as in --recipe {cls.id}:NAME=VALUE")
    return "\n".join(lines)


def _parameters(cls: Any, where: str) -> list[str]:
    declared = parameter_lines(cls)
    return [f"Parameters, {where}:" if declared else "Parameters: none", *declared]


def parameter_lines(cls: Any) -> list[str]:
    """The fields that a profile may set, with defaults and choices, and what the docstring says of each."""
    texts, lines = parameter_texts(cls), []
    hints = typing.get_type_hints(cls, include_extras=True) if texts else {}
    for name, parameter in inspect.signature(cls).parameters.items():
        default = "" if parameter.default is inspect.Parameter.empty else f" = {_told(parameter.default)}"
        lines.append(f"    {name}{default}{_choices(hints.get(name))}")
        lines += [f"        {line}" for line in texts.get(name, [])]
    return lines


def parameter_texts(cls: Any) -> dict[str, list[str]]:
    """What the docstring says of each parameter, in lines; an attack from elsewhere may say nothing."""
    text = (inspect.getdoc(cls) or "").replace(LOSSES_MODULE, "`robaudit explain loss`")
    _, _, arguments = text.partition("\nArgs:\n")
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in arguments.splitlines():
        if match := PARAMETER.match(line):
            lines = found.setdefault(match[1], [match[2]])
        elif line.startswith("        ") and lines is not None:
            lines.append(line.strip())
        elif line.strip():
            break
    return {name: found.get(name, []) for name in inspect.signature(cls).parameters}


def _told(value: Any) -> str:
    """A default as YAML takes it."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return "{" + ", ".join(f"{k}: {_told(v)}" for k, v in fields.items() if v is not None) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_told, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _choices(hint: Any) -> str:
    """The words that a parameter may be, if it is one of a few."""
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is typing.Literal:
            return f" (of {', '.join(map(str, typing.get_args(part)))})"
    return ""


def loss_page() -> str:
    """The losses that attacks maximise, each with its source."""
    from robaudit.threat.losses import LOSSES

    lines = ["loss: what a white-box attack maximises (`loss` in its parameters)", ""]
    for name, function in LOSSES.items():
        first, *rest = (inspect.getdoc(function) or "").split("\nRaises:")[0].strip().splitlines()
        lines += [f"{name}: {first}", *(f"    {line}" if line else "" for line in rest), ""]
    lines.append(
        "No loss changes when all logits shift by the same amount. Where one has no gradient is a check: zero-gradient."
    )
    return "\n".join(lines)

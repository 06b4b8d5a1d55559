"""Figures and facts in words, and text made safe to show; shared by all renderers."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.result.document import (
    Access,
    Attacker,
    CurvePoint,
    Data,
    InputSpec,
    QueryPoint,
    Radius,
    Rate,
    Threat,
)
from robaudit.audit.verdict.phrases import ball, ball_phrase, served_phrase, sets_phrase
from robaudit.audit.verdict.phrases import percent as rate_words
from robaudit.printable import plain

__all__ = [
    "ball",
    "count",
    "duration",
    "evaluations_words",
    "input_words",
    "number",
    "plain",
    "rate_words",
    "short_rate",
    "size",
    "stability_notice",
    "threat_words",
]

ACCESS_WORDS: dict[Access, str] = {
    "white-box": "the file itself, with gradients (white box)",
    "transfer": "other models only (transfer)",
    "scores": "the scores for any input (black box)",
    "labels": "the predicted label for any input (black box)",
}


ATTACKER_WORDS: dict[Attacker, str] = {
    "white-box": "the file itself, with gradients",
    "scores": "the scores for any input",
    "labels": "the predicted label for any input",
}


def number(value: float) -> str:
    """A figure of no fixed size, to three digits."""
    return f"{value:.3g}"


def short_rate(rate: Rate | CurvePoint | QueryPoint) -> str:
    """A rate for a table: ``41.0% [31.3, 51.3]``."""
    if rate.estimate is None:
        return "-"
    return f"{rate.estimate:.1%} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def count(number: int) -> str:
    """A count, in thousands or millions where it is long: ``950``, ``12.3k``, ``4.5M``."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / min(limit, 1e3 if unit == 'k' else limit):.1f}{unit}"
    return str(number)


def evaluations_words(forwards: int, backwards: int, queries: int) -> str:
    """Evaluations of a model: ``938 forwards, 938 backwards, 1.2k queries``; those of which there are none left out."""
    counts = {"forwards": forwards, "backwards": backwards, "queries": queries}
    return ", ".join(f"{count(number)} {name}" for name, number in counts.items() if number) or "nothing"


def duration(seconds: float) -> str:
    """A time: ``0.4 s``, ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(octets: int) -> str:
    """A file's size."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if octets >= factor:
            return f"{octets / factor:.1f} {unit}"
    return f"{octets} bytes"


def _change(threat: Threat | Radius) -> str:
    radius = threat.eps_text
    return {
        "linf": f"change every input value by up to {radius} of its range",
        "l2": f"change the input by up to {radius} in Euclidean length (values scaled to [0, 1])",
        "l1": f"change the input's values by up to {radius} in total (values scaled to [0, 1])",
        "l0": f"change up to {radius} input values at will",
    }[threat.norm]


def threat_words(threat: Threat, data: Data) -> str:
    """The threat model in sentences; without labels no answer is wrong, but another than the model's own."""
    change = ", or ".join([_change(threat), *map(_change, threat.also)])
    goal = "any wrong answer" if data.reference == "labels" else "any answer but the model's own to the sample"
    if threat.goal != "untargeted":
        goal = f"each to be answered with {plain(threat.goal_words)}"
    chosen = ", the default: nobody chose it" if threat.eps_default else ""
    words = f"The attacker may {change} ({ball_phrase(threat)}{chosen}), inside {plain(threat.domain)}"
    words += f"{plain(sets_phrase(threat))}, and wants {goal}. Ball and box are measured in float64, with a tolerance "
    words += f"of {threat.tolerance:g} of the domain's width."
    if threat.attacker != "white-box":
        words += f" The attacker has {ATTACKER_WORDS[threat.attacker]} and nothing else of the model."
    if threat.access:
        words += f" The attacks of this audit had: {'; '.join(ACCESS_WORDS[kind] for kind in threat.access)}."
    if "labels" in threat.access:
        words += " Attacks on labels may start from random inputs and from other samples of the audit."
    if threat.queries is not None:
        each = "sample and class" if threat.goal.startswith("every") else "sample"
        words += f" At most {threat.queries} queries for each {each}."
    return words + served_phrase(threat.served)


def stability_notice(data: Data) -> str | None:
    """What must stand at the top of a report without labels, or None."""
    if data.reference == "labels":
        return None
    return (
        "STABILITY MODE: there are no labels. The model's own answers are the reference, so this says how "
        "easily an answer changes and nothing about accuracy."
    )


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _domain_words(spec: InputSpec) -> str:
    if spec.domain is not None:
        low, high = spec.domain
        return f"domain [{low:g}, {high:g}]"
    fixed = sum(f.immutable or f.low == f.high for f in spec.features)
    whole = sum(f.integer for f in spec.features)
    words = f"{len(spec.features)} features, each in its own range"
    words += f", {fixed} immutable or constant" if fixed else ""
    return words + (f", {whole} of whole numbers" if whole else "")


def input_words(spec: InputSpec) -> str:
    """The input on one line, with where each fact comes from."""
    shape = "x".join("?" if extent is None else plain(extent, 20) for extent in spec.shape)
    facts = {"domain": _domain_words(spec)}
    for name, text in (("layout", spec.layout), ("channels", spec.channels)):
        if text:
            facts[name] = plain(text, 20)
    if spec.scale is not None:
        facts["scale"] = f"scale {spec.scale:g}"
    if spec.mean is not None:
        facts["mean"] = f"mean {_numbers(spec.mean)}"
    if spec.std is not None:
        facts["std"] = f"std {_numbers(spec.std)}"
    if spec.resize:
        facts["resize"] = plain(spec.resize, 80)
    origins: dict[str, list[str]] = {}
    for name, text in facts.items():
        origins.setdefault(plain(spec.provenance.get(name, ""), 80), []).append(text)
    told = [", ".join(texts) + (f" ({origin})" if origin else "") for origin, texts in origins.items()]
    return f"{plain(spec.name, 60)} {shape} {plain(spec.dtype, 20)}; {'; '.join(told)}"

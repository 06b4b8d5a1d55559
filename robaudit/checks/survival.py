"""Survival: do the audit's adversarial examples still fool after a blur, noise, JPEG or 8 bits?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import Count, Positive
from robaudit.checks.base import Bench, Breach, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.target.head.answers import OPEN, predictions

if TYPE_CHECKING:
    from robaudit.target.inputs.meaning import InputMeaning

__all__ = ["Survival"]

Change = Callable[[NDArray[Any]], NDArray[Any]]
PART = 16


@check_settings
class Survival(Check):
    """Tells how many of the audit's adversarial examples still fool after changes that happen on the way to a model.

    For context: it never warns. Examples that vanish are no defense, as attacks that know of a change go through it
    (--defense audits that); those that stay need no lossless file. Sources: Kurakin, Goodfellow, Bengio 2017,
    "Adversarial Examples in the Physical World" (destruction by blur, noise and JPEG); Dziugaite, Ghahramani, Roy 2016,
    "A Study of the Effect of JPG Compression on Adversarial Images".

    Args:
        samples: most adversarial examples that are tried.
        blur: standard deviation of a Gaussian blur, in pixels.
        noise: standard deviation of Gaussian noise, as a share of the domain's width.
        quality: of JPEG, as Pillow counts it.
    """

    facts = CheckFacts(
        id="survival",
        title="Adversarial examples survive everyday changes of an image.",
        next_step="audit a change with --defense before you count on it, as an attacker who knows it goes through it",
        cost="eight queries for each of the adversarial examples (32)",
        rule=CheckRule(
            "RA129",
            "CheckSurvival",
            "It tells how fragile the examples are, and not how robust the model is.",
            "Audit the change itself, with --defense.",
            "note",
        ),
        usual=False,
        on_request=True,
    )

    samples: Count = 32
    blur: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)] = 0.7
    noise: Positive = 8 / 255
    quality: Annotated[int, Field(ge=1, le=100)] = 75

    def measure(self, bench: Bench) -> Measured:
        """Ask the file about each example, and its sample, after each change."""
        if not bench.target.eight_bit:
            return {"why": "the inputs are no images"}
        breaches = _spread(list(bench.breaches()), self.samples)
        fooled, kept = {}, {}
        for name, change in self._changes(bench.target.meaning).items() if breaches else ():
            fooled[name] = kept[name] = 0
            for start in range(0, len(breaches), PART):
                part = breaches[start : start + PART]
                samples = [bench.sample(breach.sample) for breach in part]
                goals = [-1 if bench.threat.goal != "targeted" else sample.goal for sample in samples]
                answers = [
                    _answers(bench, change, points)
                    for points in (np.stack([b.point for b in part]), np.stack([s.u for s in samples]))
                ]
                for goal, sample, bad, good in zip(goals, samples, *answers, strict=True):
                    fooled[name] += int(bad == goal if goal >= 0 else bad not in (sample.label, OPEN))
                    kept[name] += int(good == sample.label)
        return {"examples": len(breaches), "fooled": fooled, "kept": kept}

    def _changes(self, meaning: InputMeaning) -> dict[str, Change]:
        """Those that apply."""
        from robaudit.defenses.registry import make_defense

        def noisy(u: NDArray[Any]) -> NDArray[Any]:
            drawn = np.random.default_rng(0).normal(scale=self.noise, size=u.shape)
            return (u + drawn).clip(0, 1).astype(u.dtype)

        defenses = {
            "8 bits": make_defense("bits", {"depth": 8}),
            f"a blur of {self.blur:g} pixels": make_defense("gaussian", {"sigma": self.blur}),
            f"JPEG {self.quality}": make_defense("jpeg", {"quality": self.quality}),
        }
        found: dict[str, Change] = {k: v.shown for k, v in defenses.items() if v.unsuited(meaning) is None}
        return found | {f"noise of {self.noise:.3g}": noisy}

    def verdict(self, measured: Measured) -> Finding:
        """Both shares, change by change."""
        if (why := measured.get("why")) is not None:
            return Finding("skipped", why)
        n, fooled = measured["examples"], measured["fooled"]
        if n == 0:
            return Finding("skipped", "the audit has no adversarial example")
        each = ", ".join(
            f"{k} after {name} (the samples keep their class in {measured['kept'][name]})" for name, k in fooled.items()
        )
        least = min(fooled.values()) / n
        return Finding("pass", f"of {n} adversarial examples still fool {each}; for context", least)


def _spread(breaches: list[Breach], most: int) -> list[Breach]:
    """At most so many, evenly over the data."""
    if len(breaches) <= most:
        return breaches
    return [breaches[place * len(breaches) // most] for place in range(most)]


def _answers(bench: Bench, change: Change, points: NDArray[Any]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = predictions(bench.scores(change(points)))
    return found

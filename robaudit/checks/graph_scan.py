"""Graph scan: operators on the path from input to scores through which no true gradient passes."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["GraphScan"]

NAMED = 3
"""Operators that the message names."""


@check_settings
class GraphScan(Check):
    """Warns where an operator has no useful derivative, such as rounding, sign or argmax, or draws random numbers.

    White-box attacks pass straight through such operators, which is a guess of ours and not the file's slope. They are
    named as in the file, so that it can be said which of them hides the gradient. Source: Athalye, Carlini, Wagner
    2018, "Obfuscated Gradients Give a False Sense of Security", section 3 (shattered gradients).
    """

    facts = CheckFacts(
        id="graph-scan",
        title="Operators of the file have no useful derivative.",
        next_step="the gradient passes operators without a derivative by a rule of ours: compare with black-box "
        "attacks, or give a stand-in (--stand-in)",
        rule=CheckRule(
            "RA110",
            "CheckGraphScan",
            "Rounding, sign, argmax and the like have no slope. What attacks use in its place is a guess, and a "
            "defense may be built of such operators.",
            "Compare with black-box attacks, or give a differentiable stand-in (--stand-in).",
            "note",
        ),
        ignores_attacks=True,
        usual=False,
    )

    def measure(self, bench: Bench) -> Measured:
        """Read what the import of the file found."""
        target = bench.target
        drawing = list(target.drawing) if target.is_random_itself else []
        return {"gradient": target.has_gradient, "cuts": list(target.cuts), "drawing": drawing}

    def verdict(self, measured: Measured) -> Finding:
        """Any such operator warns."""
        cuts, drawing = measured["cuts"], measured.get("drawing", [])
        if not cuts and not drawing and not measured["gradient"]:
            return Finding("skipped", "there is no gradient, and no operator that is known to cut it")
        if not cuts and not drawing:
            return Finding("pass", "every operator from the input to the scores has a derivative", 0.0, 0.0)
        texts = [f"no true gradient passes through {_named(cuts)}"] if cuts else []
        texts += [f"each answer is drawn anew by {_named(drawing)}"] if drawing else []
        return Finding("warn", "; ".join(texts), float(len(cuts) + len(drawing)), 0.0)


def _named(operators: Sequence[str]) -> str:
    more = f" and {len(operators) - NAMED} more" if len(operators) > NAMED else ""
    return f"{', '.join(operators[:NAMED])}{more}"

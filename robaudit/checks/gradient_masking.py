"""Gradient masking: did a smooth backward, or a search from outside of the ball, break what the true gradient left?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Breach, Check, Finding, Measured, Ran, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule

if TYPE_CHECKING:
    from robaudit.attacks.base import SlotAttack

__all__ = ["GradientMasking"]

WAYS = {True: "a smooth backward", False: "searches from outside of the ball"}
"""What attacks are called that are smooth, and that are not."""
PART = 0.5
"""Operators are named whose smoothing breaks at least this share of what that of the best one does."""
NAMED = 3
"""Nodes of an operator that are named one by one."""


@check_settings
class GradientMasking(Check):
    """Warns where attacks that do not follow the true gradient in the ball broke samples that those which do had left.

    Such are attacks by a smooth backward (``ensemble+smooth``), and wide searches by the true gradient that begin
    outside of the ball, behind one that does not; a wide search before which no other ran counts as one by the true
    gradient. A longer search breaks more without any mask. So the one that broke most is run again on some of these
    samples, in the ball, once along the true gradient: what that breaks too, longer search explains, and the count is
    lowered by its share. Then once for each kind of operator with that kind smooth alone, and those that break most by
    it are the ones that mask. Models that answer by chance are left out.
    Source: Athalye, Carlini, Wagner 2018, "Obfuscated Gradients Give a False Sense of Security", sections 3.1 and 4.1
    (a mask shows in what other attacks break; backward pass differentiable approximation); stand-ins and comparison are
    ours.

    Args:
        threshold: percentage points of the right answers that may fall so before that is beyond chance.
        samples: most samples on which the search is run again, for each norm.
    """

    facts = CheckFacts(
        id="gradient-masking",
        title="A smooth backward, or a search from outside of the ball, broke what the true gradient left.",
        next_step="do not trust figures of attacks that follow the true gradient on this file, published suites among "
        "them: attack by a smooth backward (ensemble+smooth)",
        cost="nothing where no such attack broke anything; else its search again on a few samples, once along the true "
        "gradient and once for each kind of operator",
        rule=CheckRule(
            "RA143",
            "CheckGradientMasking",
            "Operators hide the gradient in the ball, so that any figure of attacks which follow it is too high.",
            "Attack by a smooth backward (ensemble+smooth); compare with no figure of attacks by the true gradient.",
            "warning",
        ),
        tells_masking=True,
        starts_reaction=False,
    )

    threshold: Percentage = 0.5
    samples: Count = 16

    def measure(self, bench: Bench) -> Measured:
        """Count in the cascade, norm by norm; search again where something was found."""
        if bench.target.is_random:
            return {"norms": [], "why": "the model answers by chance"}
        by_norm: dict[str, list[Ran]] = {}
        for one in bench.ran():
            by_norm.setdefault(str(one.threat.norm), []).append(one)
        norms = [found for runs in by_norm.values() if (found := self._measured(bench, runs)) is not None]
        return {"norms": norms, "why": bench.target.unsmooth}

    def _measured(self, bench: Bench, runs: Sequence[Ran]) -> dict[str, Any] | None:
        """What one cascade came to; None where nothing else ran behind the true gradient."""
        from robaudit.engine.units import sample_of

        true, others = _parted(runs)
        if not others:
            return None
        own = [breach for breach in bench.breaches() if breach.threat in (None, runs[0].threat)]
        earlier = {sample_of(breach.sample) for breach in own if breach.attack in true}
        fell: dict[int, Breach] = {}
        for breach in own:
            if breach.attack in others and sample_of(breach.sample) not in earlier:
                fell.setdefault(sample_of(breach.sample), breach)
        correct, _ = bench.clean_counts()
        found: dict[str, Any] = {
            "norm": str(runs[0].threat.norm),
            "correct": correct,
            "left": correct - len(earlier),
            "broken": len(fell),
            "ways": [way for smooth, way in WAYS.items() if any(one.smooth is smooth for one in others.values())],
        }
        return found | (self._again(bench, list(fell.values()), others) if fell else {})

    def _again(self, bench: Bench, fell: Sequence[Breach], others: Mapping[str, Ran]) -> dict[str, Any]:
        """The search that broke most, again on some of what fell to it."""
        most = max(others, key=lambda key: sum(breach.attack == key for breach in fell))
        cases = [breach.sample for breach in fell if breach.attack == most]
        tried = min(self.samples, len(cases))
        samples = [bench.sample(cases[place * len(cases) // tried]) for place in range(tried)]
        one = dataclasses.replace(others[most], attack=_within(others[most].attack))
        kinds = bench.target.smoothable if one.smooth else {}
        return {
            "tried": tried,
            "true": sum(bench.search_smoothed(one, samples, ()).values()),
            "kinds": {kind: sum(bench.search_smoothed(one, samples, nodes).values()) for kind, nodes in kinds.items()},
            "nodes": {kind: list(nodes) for kind, nodes in kinds.items()},
        }

    def verdict(self, measured: Measured) -> Finding:
        """Beyond chance warns; of fewer the message says how many, as any further search may break a few."""
        norms = measured["norms"]
        if not norms:
            text = "needs attacks by a smooth backward, or from outside of the ball, after some by the true gradient"
            return Finding("skipped", text if (why := measured["why"]) is None else f"{text}; {why}")
        extra = [_extra(found) for found in norms]
        sure = [fires(k, found["correct"], self.threshold) for k, found in zip(extra, norms, strict=True)]
        most = max(range(len(norms)), key=lambda place: (sure[place], extra[place], norms[place]["broken"]))
        text = _sentence(norms[most], sure=sure[most])
        if len(norms) > 1:
            text = f"in {norms[most]['norm']} {text}"
        value = extra[most] / max(norms[most]["correct"], 1)
        if not sure[most]:
            return Finding("pass", text, value, self.threshold / 100)
        masks = [f"{kind} ({node})" for kind in _masking(norms[most]) for node in norms[most]["nodes"][kind]]
        return Finding("warn", text, value, self.threshold / 100, operators=tuple(masks))


def _parted(runs: Sequence[Ran]) -> tuple[dict[str, Ran], dict[str, Ran]]:
    """(attacks along the true gradient, by key, and behind them those by another way); of what runs later none."""
    true: dict[str, Ran] = {}
    others: dict[str, Ran] = {}
    for one in runs:
        narrow = any(not _wide(earlier.attack) for earlier in true.values())
        if true and (one.smooth or (narrow and _wide(one.attack))):
            others[one.key] = one
        elif not one.smooth and not others:
            true[one.key] = one
    return true, others


def _wide(attack: SlotAttack[Any]) -> bool:
    """Whether it searches from outside of the ball."""
    from robaudit.attacks.whitebox.ensemble import Ensemble

    return isinstance(attack, Ensemble) and any(rung.wide > 1 for rung in attack.ladder)


def _within(attack: SlotAttack[Any]) -> SlotAttack[Any]:
    """The same with all of its searches in the ball."""
    from robaudit.attacks.whitebox.ensemble import Ensemble

    if not isinstance(attack, Ensemble):
        return attack
    narrow = tuple(dataclasses.replace(rung, wide=1.0) for rung in attack.ladder)
    return Ensemble(**{**vars(attack), "ladder": narrow})


def _extra(found: Mapping[str, Any]) -> int:
    """Samples that fell and that a longer search along the true gradient does not account for."""
    if not found["broken"]:
        return 0
    return int(found["broken"] * (found["tried"] - found["true"]) // found["tried"])


def _sentence(found: Mapping[str, Any], *, sure: bool) -> str:
    """What fell to which attacks, and what masks where that is sure."""
    text = f"attacks along the true gradient left {found['left']} of {found['correct']} samples, and "
    text += f"{' and '.join(found['ways'])} broke {found['broken'] or 'none'} of them"
    if not found["broken"]:
        return text
    kinds = _masking(found)
    again = f"of {found['tried']} searched again {found['true']} fall along the true gradient"
    for kind in kinds:
        again += f", {found['kinds'][kind]} with {_nodes(kind, found['nodes'][kind])} smooth"
    if not sure:
        return f"{text}; {again}"
    named = f"{' and '.join(kinds)} {'mask' if len(kinds) > 1 else 'masks'}" if kinds else "something masks"
    return f"{text}: {named} the gradient ({again}), and figures of attacks that follow it are too high here"


def _masking(found: Mapping[str, Any]) -> list[str]:
    """The kinds of operators that mask, the one whose smoothing breaks most first."""
    gains = {kind: count - found["true"] for kind, count in found["kinds"].items()}
    most = max(gains.values(), default=0)
    named = [kind for kind, gain in gains.items() if gain > 0 and gain >= PART * most]
    return sorted(named, key=lambda kind: -gains[kind])


def _nodes(kind: str, names: Sequence[str]) -> str:
    """``Relu (Relu_1, Relu_3)``; of many ``14 x Relu (Relu_3 … Relu_41)``."""
    if len(names) <= NAMED:
        return f"{kind} ({', '.join(names)})"
    return f"{len(names)} x {kind} ({names[0]} … {names[-1]})"

"""Evidence: every adversarial example that is claimed, checked once more as it was stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.checks.base import Bench, Breach, Check, Finding, Measured
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.stats.chances import CHECKED, DRAWS, hardly
from robaudit.target.head.answers import OPEN, predictions
from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.goals import reached

if TYPE_CHECKING:
    from robaudit.engine.units import Sample
    from robaudit.threat.model import ThreatModel

__all__ = ["Evidence", "eight_bit"]


class Evidence(Check):
    """Fails if one stored example is outside the box or the ball, or no longer fools the file alone (batch 1).

    Of those that a curve rests on, each must lie at the distance that is reported for it. A random target is asked as
    often as the judge asked it, of further draws.
    """

    facts = CheckFacts(
        id="evidence",
        title="Kept adversarial examples did not replay on the file.",
        next_step="adversarial examples did not replay on the file; run again, and report it if it persists",
        cost="an answer of the file to each kept example, and for images another to the rounded one",
        rule=CheckRule(
            "RA109",
            "CheckEvidence",
            "Every example is measured again and judged on the file alone before it counts. Where one fails, the "
            "audit cannot vouch for the others.",
            "Run again; report it if it persists.",
            "error",
        ),
        fatal=True,
        doubts_evidence=True,
        after_time=True,
        after_reaction=True,
    )

    def measure(self, bench: Bench) -> Measured:
        """Load each stored point, measure it in float64 and ask the file, one input at a time."""
        if bench.target.is_random:
            return _by_draws(bench)
        breaches = bench.breaches()
        invalid: list[int] = []
        eight: dict[str, float | None] = {}
        shares: list[list[float] | None] = []
        for breach in breaches:
            sample = bench.sample(breach.sample)
            point = np.array(breach.point)
            threat = breach.threat or bench.threat
            scores = bench.scores(point[None], alone=True)[0]
            shares.append(_confidences(bench.target.head_kind, sample, scores))
            same = _answer(scores) == breach.prediction and not bench.rejects(scores, point)
            if not (same and _fools(breach.prediction, sample) and _admitted(threat, sample.u, point)[0]):
                invalid.append(breach.sample)
            if bench.target.eight_bit and str(breach.sample) not in eight:  # of several threat models the first
                eight[str(breach.sample)] = _eight_bit_distance(bench, threat, sample, point)
        measured: dict[str, Any] = {"checked": len(breaches), "invalid": invalid, "eight_bit": eight}
        nearest = bench.nearest()
        if nearest:
            wrong = [breach.sample for breach in nearest if not _at_its_distance(bench, breach, len(nearest))]
            measured |= {"nearest": len(nearest), "invalid_nearest": wrong}
        return measured if None in shares else {**measured, "confidence": shares}

    def verdict(self, measured: Measured) -> Finding:
        """One invalid example fails."""
        n, invalid = measured["checked"], measured["invalid"]
        near, wrong = measured.get("nearest", 0), measured.get("invalid_nearest", ())
        if wrong:
            text = f"{len(wrong)} of the {near} examples that the curve rests on do not hold up at their distance"
            return Finding("fail", text, len(wrong) + len(invalid), 0)
        if "fooled" in measured and not near:
            return _of_draws(n, invalid)
        if n == 0 and near:
            return Finding("pass", f"all {near} examples that the curve rests on fool the file at their distance", 0, 0)
        if n == 0:
            return Finding("pass", "no adversarial example is claimed")
        if invalid:
            return Finding("fail", f"{len(invalid)} of {n} stored examples do not hold up on the file", len(invalid), 0)
        text = f"all {n} stored examples fool the file alone and lie in the box and the ball"
        kept = [d for d in measured["eight_bit"].values() if d is not None]
        if measured["eight_bit"]:
            all_of = "them" if len(measured["eight_bit"]) == n else f"{len(measured['eight_bit'])} tried, one a sample,"
            text += f"; {len(kept)} of {all_of} still do after rounding to 8 bits towards the original"
        text += f"; so do all {near} that the curve rests on, at their distance" if near else ""
        return Finding("pass", text, 0, 0)


def _by_draws(bench: Bench) -> Measured:
    """The same of a random target, whose stored points are asked :data:`DRAWS` times more.

    One is invalid where fewer than half of these fool for sure, in all examples together. Of each sample, what broke it
    or came nearest to it tells the chance to survive.
    """
    from robaudit.engine.units import sample_of

    invalid: list[int] = []
    fooled: dict[str, int] = {}
    breaches = bench.breaches()
    for breach in [*breaches, *bench.tries()]:
        sample, point = bench.sample(breach.sample), np.array(breach.point)
        k = _fooled_draws(bench, sample, point)
        place = str(sample_of(breach.sample))
        fooled[place] = max(k, fooled.get(place, 0))
        inside = _admitted(breach.threat or bench.threat, sample.u, point)[0]
        if breach in breaches and (not inside or hardly(k, DRAWS, len(breaches))):
            invalid.append(breach.sample)
    near = bench.nearest()
    measured = {"checked": len(breaches), "invalid": invalid, "eight_bit": {}, "fooled": fooled}
    if not near:
        return measured
    wrong = [breach.sample for breach in near if not _at_its_distance(bench, breach, len(near))]
    return {**measured, "nearest": len(near), "invalid_nearest": wrong}


def _fooled_draws(bench: Bench, sample: Sample, point: NDArray[Any]) -> int:
    return int(np.sum(reached(bench.draws(point, CHECKED), sample.label, sample.goal)))


def _of_draws(n: int, invalid: Sequence[int]) -> Finding:
    """The verdict of what most draws fool at."""
    if n == 0:
        return Finding("pass", "no adversarial example is claimed")
    if invalid:
        text = f"at {len(invalid)} of {n} stored examples fewer than half of {DRAWS} further answers are fooled"
        return Finding("fail", text, len(invalid), 0)
    return Finding("pass", f"all {n} stored examples fool most of {DRAWS} further answers, and lie in the ball", 0, 0)


def _at_its_distance(bench: Bench, breach: Breach, among: int) -> bool:
    """Whether an example fools the file from within the box, and lies where it is said to."""
    sample, point = bench.sample(breach.sample), np.array(breach.point)
    threat = replace(breach.threat or bench.threat, eps=breach.distance * (1 + TOLERANCE))
    inside, size = _admitted(threat, sample.u, point)
    near = abs(size - breach.distance) <= TOLERANCE * (1 + breach.distance)
    if bench.target.is_random:
        return inside and near and not hardly(_fooled_draws(bench, sample, point), DRAWS, among)
    answer = _prediction(bench, point)
    return inside and near and answer == breach.prediction and _fools(answer, sample)


def _prediction(bench: Bench, point: NDArray[Any]) -> int:
    """The class answered to a point; none where it is rejected."""
    scores = bench.scores(point[None], alone=True)[0]
    return OPEN if bench.rejects(scores, point) else _answer(scores)


def _answer(scores: NDArray[Any]) -> int:
    return int(predictions(scores[None])[0])


def _confidences(kind: str, sample: Sample, scores: NDArray[Any]) -> list[float] | None:
    """Shares of the class answered to the sample, and of the one answered to its adversarial example."""
    found = [_confidence(kind, answer) for answer in (sample.clean, scores)]
    return [share for share in found if share is not None] if None not in found else None


def _confidence(kind: str, scores: NDArray[Any]) -> float | None:
    """The share [0, 1] of the answered class: a softmax of logits, probabilities as they are; None for labels."""
    if kind == "labels" or _answer(scores) == OPEN:
        return None
    exact = np.asarray(scores, dtype=np.float64)
    if kind in ("logits", "log-probabilities"):
        exact = np.exp(exact - exact.max())
        exact = exact / exact.sum()
    return round(float(np.clip(exact.max(), 0, 1)), 6)


def _fools(prediction: int, sample: Sample) -> bool:
    return bool(reached(prediction, sample.label, sample.goal))


def _admitted(threat: ThreatModel, origin: NDArray[Any], point: NDArray[Any]) -> tuple[bool, float]:
    """Whether a point lies in the box and the ball, and its distance."""
    import torch

    inside, size = threat.admissible(torch.from_numpy(origin)[None], torch.from_numpy(point)[None])
    return bool(inside[0]), float(size[0])


def eight_bit(origin: NDArray[Any], point: NDArray[Any]) -> NDArray[Any]:
    """The point on the 8-bit grid, each value rounded towards the original, so that no distance grows."""
    levels = point.astype(np.float64) * 255
    rounded = np.where(point > origin, np.floor(levels + 1e-4), np.ceil(levels - 1e-4)) / 255
    return np.where(point == origin, origin, rounded).astype(point.dtype)


def _eight_bit_distance(bench: Bench, threat: ThreatModel, sample: Sample, point: NDArray[Any]) -> float | None:
    """Distance of the rounded example if it still fools and lies in the ball, else None."""
    rounded = eight_bit(sample.u, point)
    prediction = _prediction(bench, rounded)
    inside, size = _admitted(threat, sample.u, rounded)
    return size if _fools(prediction, sample) and inside else None

"""What an audit of the kit's network tells, computed again by NumPy alone: from the data and the evidence.

Nothing of robaudit is used, and no other library: the network is a product of matrices, intervals come of sums of
binomial probabilities by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

ORDERS = {"linf": np.inf, "l2": 2}
TOLERANCE = 1e-6

Figure: TypeAlias = tuple[str, Any, Any]
"""(place, as told, as computed again)."""


def tail(k: int, n: int, p: float) -> float:
    """The probability of k successes or more in n."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@cache
def bound(k: int, n: int, error: float, upper: bool) -> float:
    """Clopper and Pearson's one-sided bound of k of n at an error."""
    if k == (n if upper else 0):
        return float(upper)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        beyond = 1 - tail(k + 1, n, middle) < error if upper else tail(k, n, middle) > error
        low, high = (low, middle) if beyond else (middle, high)
    return (low + high) / 2


def rate(place: str, told: Mapping[str, Any], k: int, n: int) -> Iterator[Figure]:
    """A share with its interval."""
    yield f"{place}.k", told["k"], k
    yield f"{place}.n", told["n"], n
    yield f"{place}.estimate", told["estimate"], k / n if n else None
    yield f"{place}.low", told["low"], bound(k, n, 0.025, False)
    yield f"{place}.high", told["high"], bound(k, n, 0.025, True)


def median(values: Sequence[float]) -> float | None:
    """Of some distances, infinite ones among them; None where it is one of these, or there are no distances."""
    found = float(np.median(values)) if len(values) else math.inf
    return found if math.isfinite(found) else None


class Audit:
    """An audit, computed again.

    Args:
        content: of ``result.json``.
        archive: ``evidence.npz``.
        x: [N, *shape] the data; ``y`` [N] their labels.
        logits: the network.
    """

    def __init__(
        self, content: Any, archive: Any, x: NDArray[Any], y: NDArray[Any], logits: Callable[..., Any]
    ) -> None:
        self.content, self.x, self.y, self.logits = content, x, y, logits
        self.found, self.near = (
            {name: archive[pre + name] for name in _names(archive, pre)} for pre in ("", "nearest_")
        )
        self.norms = {attack["id"]: attack["norm"] for attack in content["attacks"]}
        self.radii = {attack["norm"]: attack["eps"] for attack in content["attacks"]}
        self.main = content["threat_model"]["norm"]
        self.answers = self.classes(x)
        self.n = len(x)
        self.correct = np.flatnonzero(self.answers == y).tolist()
        self.fell = {norm: self.sizes(self.found, norm) for norm in self.radii}
        self.stands = [i for i in self.correct if not any(i in fell for fell in self.fell.values())]

    def classes(self, x: NDArray[Any]) -> NDArray[Any]:
        """[N] the answers of the network."""
        return np.asarray(self.logits(x.astype(np.float64))).argmax(1)

    def sizes(self, rows: Mapping[str, Any], norm: str) -> dict[int, float]:
        """Distance of each example of a norm, by sample."""
        moved = rows["adversarial"].astype(np.float64) - rows["original"].astype(np.float64)
        size = np.linalg.norm(moved.reshape(len(moved), -1), ORDERS[norm], axis=1)
        mine = [self.norms[str(name)] == norm for name in rows["attack"]]
        return dict(zip(rows["index"][mine].tolist(), size[mine].tolist(), strict=True))

    def figures(self) -> Iterator[Figure]:
        """Every figure that follows from data and evidence."""
        yield from self.totals()
        yield from self.examples("", self.found)
        yield from self.examples("nearest ", self.near)
        for sample in self.content["samples"]:
            yield from self.sample(sample)
        yield from self.cascade()
        for outcome in self.content.get("threats", ()):
            yield from self.threat(outcome)
        for curve in self.content["curves"]:
            yield from self.curve(curve)
        for gate in self.content["gates"]:
            yield from self.gate(gate)

    def totals(self) -> Iterator[Figure]:
        content, distinct = self.content, len(np.unique(self.x, axis=0))
        for name, value in (("count", self.n), ("drawn", distinct), ("asked", self.n), ("repeats", self.n - distinct)):
            yield f"data.{name}", content["data"][name], value
        yield from rate("clean", content["clean"]["accuracy"], len(self.correct), self.n)
        yield from rate("worst case", content["worst_case"]["robust_accuracy"], len(self.stands), self.n)
        yield from rate("bound", content["worst_case"]["upper_bound_observed"], len(self.stands), self.n)
        yield "evidence.count", content["evidence"]["count"], len(self.found["index"])
        yield "evidence.nearest", content["evidence"]["nearest"], len(self.near["index"])
        values = {check["id"]: check["value"] for check in content["checks"]}
        yield "clean check", values["clean"], len(self.correct) / self.n
        wrong = sum(self.classes(self.found["adversarial"]) == self.found["label"])
        yield "evidence check", values["evidence"], int(wrong)

    def examples(self, what: str, rows: Mapping[str, Any]) -> Iterator[Figure]:
        """What the archive tells of each example."""
        index = rows["index"]
        assert np.array_equal(rows["original"], self.x[index])
        assert rows["adversarial"].min() >= 0
        assert rows["adversarial"].max() <= 1
        for name, again in (("label", self.y[index]), ("prediction", self.classes(rows["adversarial"]))):
            yield from (
                (f"{what}{name} {i}", *pair)
                for i, *pair in zip(index, rows[name].tolist(), again.tolist(), strict=True)
            )
        if "confidence" in rows:
            for side, points in enumerate((rows["original"], rows["adversarial"])):
                scores = np.exp(self.logits(points.astype(np.float64)))
                shares = (scores.max(1) / scores.sum(1)).tolist()
                yield from (
                    (f"confidence {i}", *pair)
                    for i, *pair in zip(index, rows["confidence"][:, side], shares, strict=True)
                )

    def sample(self, told: Any) -> Iterator[Figure]:
        """What a result tells of a sample: its answers, and every distance that evidence was kept of."""
        i = told["index"]
        mine = [row for row in range(len(self.found["index"])) if self.found["index"][row] == i]
        yield f"sample {i}.label", told["label"], int(self.y[i])
        yield f"sample {i}.clean", told["clean_prediction"], int(self.answers[i])
        yield f"sample {i}.copies", told["copies"], int((self.x == self.x[i]).all(axis=(1, 2, 3)).sum()) - 1
        rows = [(str(self.found["attack"][row]), self.found["adversarial"][row]) for row in mine]
        by, first = rows[0] if rows else (None, None)
        yield f"sample {i}.broken_by", told["broken_by"], by
        answer = None if first is None else int(self.classes(first[None])[0])
        yield f"sample {i}.adversarial", told["adversarial_prediction"], answer
        size = None if by is None else self.fell[self.norms[by]][i]
        yield f"sample {i}.distance", told["distance"], size
        yield f"sample {i}.distance_8bit", told["distance_8bit"], self.rounded(i, by, first)
        if len(self.radii) > 1:
            breaches = [
                (self.norms[name], name, self.fell[self.norms[name]][i], int(self.classes(x[None])[0]))
                for name, x in rows
            ]
            yield f"sample {i}.breaches", len(told["breaches"]), len(breaches)
            for breach, again in zip(told["breaches"], breaches, strict=True):
                names = ("norm", "attack", "distance", "prediction")
                yield from (
                    (f"sample {i}.breach.{name}", breach[name], value) for name, value in zip(names, again, strict=True)
                )
        least: dict[str, float | None] = {norm: self.sizes(self.near, norm).get(i) for norm in self.radii}
        yield f"sample {i}.smallest", told["smallest_distance"], least[self.main]
        for norm, smallest in least.items():
            entries = [entry["distance"] for entry in told["nearest"] if self.norms[entry["attack"]] == norm]
            yield f"sample {i}.nearest in {norm}", min(entries, default=None), smallest

    def rounded(self, i: int, by: str | None, point: NDArray[Any] | None) -> float | None:
        """Distance once each pixel is rounded to 8 bits towards the original, where that still fools the network."""
        if by is None or point is None:
            return None
        start, levels = self.x[i], point.astype(np.float64) * 255
        nearer = np.where(point > start, np.floor(levels + 1e-4), np.ceil(levels - 1e-4)) / 255
        moved = np.where(point == start, start, nearer).astype(np.float32)
        if self.classes(moved[None])[0] == self.y[i]:
            return None
        norm = self.norms[by]
        size = float(np.linalg.norm((moved.astype(np.float64) - start.astype(np.float64)).ravel(), ORDERS[norm]))
        return size if size <= self.radii[norm] + TOLERANCE else None

    def cascade(self) -> Iterator[Figure]:
        """Each attack: what it was tried on, what it broke, what stands after it."""
        left, breakers = dict.fromkeys(self.radii, len(self.correct)), self.found["attack"].tolist()
        for attack in self.content["attacks"]:
            name, norm = attack["id"], attack["norm"]
            mine = [
                self.fell[norm][i] for i, by in zip(self.found["index"].tolist(), breakers, strict=True) if by == name
            ]
            of_curve, first = "curve/" in name, left[norm] == len(self.correct)
            yield f"{name}.attempted", attack["attempted"], len(self.correct) if of_curve else left[norm]
            left[norm] -= len(mine)
            yield f"{name}.newly_broken", attack["newly_broken"], len(mine)
            yield from rate(f"{name}.cumulative", attack["cumulative_robust_accuracy"], left[norm], self.n)
            if not of_curve:
                yield f"{name}.broken", attack["broken"], len(mine)
                yield f"{name}.median", attack["median_distance"], median(mine)
                if first:
                    yield from rate(f"{name}.alone", attack["rate_alone"], left[norm], self.n)

    def threat(self, told: Any) -> Iterator[Figure]:
        """One of several threat models by itself."""
        norm, own = told["norm"], self.fell[told["norm"]]
        others = set().union(*(fell for name, fell in self.fell.items() if name != norm))
        yield f"threat {norm}.broken", told["broken"], len(own)
        yield f"threat {norm}.alone", told["broken_here_alone"], len(own.keys() - others)
        yield from rate(f"threat {norm}", told["upper_bound_observed"], len(set(self.correct) - own.keys()), self.n)
        yield f"threat {norm}.median", told["median_distance"], median(list(own.values()))

    def padded(self, norm: str) -> NDArray[Any]:
        """[C] smallest distance of each sample answered correctly by size, infinite where there is none."""
        near = self.sizes(self.near, norm)
        return np.sort([near.get(index, math.inf) for index in self.correct])

    def curve(self, told: Any) -> Iterator[Figure]:
        """Accuracy at every radius."""
        norm, place = told["norm"], f"curve {told['norm']}"
        sizes, eps = self.padded(norm), self.radii[norm]
        known = sizes[np.isfinite(sizes)]
        points = np.array([point["eps"] for point in told["points"]])
        assert all(np.abs(points - size).min() <= 2 * TOLERANCE for size in (eps, *known))
        for point in told["points"]:
            stands = int((sizes > point["eps"] + TOLERANCE).sum())
            yield from rate(f"{place} at {point['eps']:.6g}", point, stands, self.n)
            ways = [eps, round(point["eps"] / told["step"]) * told["step"], *known]
            yield f"{place}.eps", point["eps"], min(ways, key=lambda way, at=point["eps"]: abs(way - at))
        yield f"{place}.broken", told["broken"], len(known)
        yield f"{place}.unbroken", told["unbroken"], len(self.correct) - len(known)
        yield f"{place}.median", told["median_distance"], median(sizes)
        c = len(sizes)
        rank = next(k for k in range(c) if 1 - tail(k + 2, c, 0.5) > 0.025)  # one place on, the chance is too large
        for name, end in (("median_low", sizes[rank]), ("median_high", sizes[-1 - rank])):
            yield f"{place}.{name}", told[name], float(end) if math.isfinite(end) else None
        yield f"{place}.area", told["area"], float(np.minimum(sizes, eps).sum()) / self.n

    def gate(self, told: Any) -> Iterator[Figure]:
        """A gate on a share: what was observed, how it fell, and the error that its test spent."""
        metric, error = told["metric"], 1 - told["confidence"]
        k, n = self.counts(metric)
        yield from rate(metric, told["observed"], k, n)
        least = told["min"]
        passes, fails = bound(k, n, error, False) >= least, bound(k, n, error, True) < least
        yield f"{metric}.status", told["status"], "pass" if passes else "fail" if fails else "inconclusive"
        ends = [[tail(j, n, p) for j in range(n + 1) if tail(j, n, p) <= error] for p in (least, 1 - least)]
        yield f"{metric}.spent", told["spent"], max((max(end, default=0.0) for end in ends), default=0.0)

    def counts(self, metric: str) -> tuple[int, int]:
        """(k, n) of a metric."""
        own = range(self.n)
        good = {"clean_accuracy": self.correct, "robust_accuracy": self.stands}.get(metric.rpartition(".")[2])
        if metric.startswith("class."):
            own = np.flatnonzero(self.y == int(metric.split(".")[1])).tolist()
        assert good is not None
        return sum(i in good for i in own), len(own)


def _names(archive: Any, prefix: str) -> list[str]:
    wanted = ("adversarial", "original", "index", "label", "prediction", "attack", "confidence")
    return [name for name in wanted if prefix + name in archive.files]


def pairs(told: Any, base: Audit, new: Audit) -> Iterator[Figure]:
    """The comparison of two audits of the same samples: what changed, and McNemar's exact test."""
    for name, before, now in (("worst_case", base.stands, new.stands), ("clean", base.correct, new.correct)):
        change, lost, gained = told[name], len(set(before) - set(now)), len(set(now) - set(before))
        yield f"{name}.pairs", change["pairs"], new.n
        yield f"{name}.lost", change["lost"], lost
        yield f"{name}.gained", change["gained"], gained
        yield f"{name}.difference", change["difference"], (gained - lost) / new.n
        p = min(1.0, 2 * tail(max(lost, gained), lost + gained, 0.5))
        yield f"{name}.p", change["p_value"], p
        word = "no change detected" if p >= 0.05 else "worse" if lost > gained else "better"
        yield f"{name}.outcome", change["outcome"], word
        yield from rate(f"{name}.base", change["base"], len(before), new.n)
        yield from rate(f"{name}.new", change["new"], len(now), new.n)
    for name, gone in (
        ("newly_broken", set(base.stands) - set(new.stands)),
        ("newly_fixed", set(new.stands) - set(base.stands)),
    ):
        yield name, [entry["index"] for entry in told[name]], sorted(gone)

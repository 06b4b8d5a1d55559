"""What a result says of a metric: an estimate, or why it says nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from robaudit.audit.config.metrics import Metric
from robaudit.audit.result.derive import balls, nearest_of
from robaudit.audit.result.document import Attack, Comparison, Rate, Result, Sample
from robaudit.audit.verdict.read_curve import Unreadable, at_radius, curve_area, median_distance
from robaudit.audit.verdict.readings import Reading, exact, of_median, of_pairs, of_rate
from robaudit.data.class_names import find_class
from robaudit.stats.rates import rate
from robaudit.threat.arrays import TOLERANCE

__all__ = ["read"]


def read(metric: Metric, result: Result) -> Reading:
    """What the result says of a metric other than those of the audit itself (coverage, validity, checks).

    Raises:
        Unreadable: why it says nothing.
    """
    if metric.head == "class":
        return _of_class(metric, result)
    if metric.head == "attack":
        return _of_attack(metric, result)
    found: dict[str, Callable[[Metric, Result], Reading]] = {
        "robust_accuracy": _worst_case,
        "stability": _worst_case,
        "certified_accuracy": _certified,
        "clean_accuracy": _clean,
        "median_distance": median_distance,
        "curve_area": curve_area,
        "median_queries": _median_queries,
        "pairs_reached": _pairs_reached,
        "regression": _regression,
        "clean_regression": _regression,
        "newly_broken": _newly_broken,
    }
    return found[metric.name](metric, result)


def _same_kind(name: str, result: Result) -> None:
    """Stability is never taken for robust accuracy."""
    measured = result.worst_case.metric
    if name != measured:
        known = "robust accuracy" if measured == "robust_accuracy" else "stability"
        hint = "; give labelled data" if known == "stability" else ""
        raise Unreadable(f"this audit measured {known}, not {name}{hint}")


def _worst_case(metric: Metric, result: Result) -> Reading:
    _same_kind(metric.name, result)
    rates = {outcome.norm: outcome.upper_bound_observed for outcome in result.threats}
    rates.setdefault(result.threat_model.norm, result.worst_case.upper_bound_observed)
    norm = metric.norm
    if norm is not None and norm not in rates:
        raise Unreadable(f"this audit did not attack in {norm}")
    if metric.eps is not None:
        return at_radius(metric, result)
    return of_rate(next(r for name, r in rates.items() if name == norm) if norm else _observed(result))


def _observed(result: Result) -> Rate:
    return result.worst_case.upper_bound_observed


def _clean(metric: Metric, result: Result) -> Reading:
    if result.clean.accuracy is None:
        raise Unreadable("clean accuracy was not measured: the data has no labels")
    return of_rate(result.clean.accuracy, None, unattacked=True)


def _certified(metric: Metric, result: Result) -> Reading:
    """A lower bound: more certificates can only raise it."""
    section = result.certified
    if section is None:
        raise Unreadable("nothing was to be proved: name certificates in the profile")
    norms = [ball.norm for ball in balls(result.threat_model)]
    if metric.norm is not None and metric.norm not in norms:
        raise Unreadable(f"this audit proved nothing in {metric.norm}")
    wanted = norms if metric.norm is None else [metric.norm]
    for norm in wanted:
        mine = [entry for entry in section.certificates if entry.norm == norm]
        if not any(entry.status == "done" for entry in mine):
            why = "; ".join(f"{entry.id} {entry.status}: {entry.reason}" for entry in mine)
            raise Unreadable(f"nothing could be proved in {norm}: {why}")
    if metric.norm is None or len(norms) == 1:
        return of_rate(section.lower_bound, "max")
    counted = [sample for sample in result.samples if sample.counted]
    ids = [entry.id for entry in section.certificates if entry.norm == metric.norm]
    return of_rate(rate(sum(s.correct and any(map(s.proved, ids)) for s in counted), len(counted)), "max")


def _of_class(metric: Metric, result: Result) -> Reading:
    index = find_class(metric.subject or "", result.data.classes, result.target.num_classes)
    if index is None:
        raise Unreadable(f"the model has no class {metric.subject!r}")
    mine = [sample for sample in result.samples if sample.label == index]
    if metric.name == "clean_accuracy":
        if result.clean.accuracy is None:
            raise Unreadable("clean accuracy was not measured: the data has no labels")
        known = [s for s in mine if s.counted or s.left_out is not None]
        return _share(known, [s for s in known if s.correct], metric.subject, unattacked=True)
    _same_kind(metric.name, result)
    counted = [sample for sample in mine if sample.counted]
    return _share(counted, [sample for sample in counted if sample.stands], metric.subject)


def _share(among: Sequence[Sample], having: Sequence[Sample], name: str | None, *, unattacked: bool = False) -> Reading:
    if not among:
        raise Unreadable(f"no sample of class {name!r} was audited")
    return of_rate(rate(len(having), len(among)), None if unattacked else "min", unattacked=unattacked)


def _of_attack(metric: Metric, result: Result) -> Reading:
    name, field = metric.subject, metric.name
    attack = next((attack for attack in result.attacks if attack.id == name), None)
    if attack is None:
        raise Unreadable(f"the audit has no attack {name}")
    if attack.status != "done":
        reason = f": {attack.reason}" if attack.reason else ""
        raise Unreadable(f"{name} did not run to its end ({attack.status}{reason})")
    if field == "median_distance":
        return _attack_distance(attack, result)
    if field in ("success_rate", "mean_queries") and attack.attempted == 0:
        raise Unreadable(f"{name} was tried on no sample: those before it broke them all")
    if field == "success_rate":
        return of_rate(rate(attack.broken, attack.attempted), "max")
    if field == "mean_queries":
        return exact(attack.queries / attack.attempted, f"{metric.subject} spent queries per sample")
    if field == "robust_accuracy":
        _same_kind(field, result)
    found = attack.cumulative_robust_accuracy if field.startswith("cumulative") else attack.rate_alone
    if found is None:
        raise Unreadable(f"{name} did not see every sample, so it has no {field}")
    return of_rate(found)


def _attack_distance(attack: Attack, result: Result) -> Reading:
    if attack.median_distance is None:
        raise Unreadable(f"{attack.id} broke no sample, so there is no median distance")
    attacks = {entry.id: entry for entry in result.attacks}
    found = [size for s in result.samples for by, size in nearest_of(s, attacks) if by.id == attack.id]
    known = [size for size in found if size <= attack.eps + TOLERANCE]
    if len(known) == attack.broken and known:
        return of_median(known, "median distance")
    return exact(attack.median_distance, f"median distance of {attack.id}, without an interval", "min")


def _median_queries(metric: Metric, result: Result) -> Reading:
    spent = [float(sample.queries) for sample in result.samples if sample.counted and sample.correct]
    if not any(spent):
        raise Unreadable("no attack of this audit spent queries")
    return of_median(spent, "median queries", None)


def _pairs_reached(metric: Metric, result: Result) -> Reading:
    pairs = result.worst_case.pairs
    if pairs is None or pairs.share is None:
        raise Unreadable("the goal of this audit is not every class, or no pair was tried")
    return exact(pairs.share, f"{pairs.reached} of {pairs.tried} pairs were reached", "max")


def _compared(result: Result) -> Comparison:
    if result.comparison is None:
        raise Unreadable("there is no baseline: give one with --baseline")
    return result.comparison


def _regression(metric: Metric, result: Result) -> Reading:
    compared = _compared(result)
    clean = metric.name == "clean_regression"
    change = compared.clean if clean else compared.worst_case
    if change is None:
        raise Unreadable("clean accuracy was not measured: the data has no labels")
    if change.pairs == 0:
        raise Unreadable("no sample was judged in both audits")
    return of_pairs(change.lost, change.gained, change.pairs, "loss", unattacked=clean)


def _newly_broken(metric: Metric, result: Result) -> Reading:
    count = len(_compared(result).newly_broken)
    return exact(count, "samples newly broken", "max")

"""Measurements of a target for ``inspect``: parity, gradient, speed, cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.attacks.cost import Cost
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.profile_files import list_profiles, load_profile
from robaudit.audit.inspection.document import CostFacts, GradientCheck, MoneyFacts, ParityFacts, SpeedFacts
from robaudit.audit.plan.attacks import TargetTraits
from robaudit.audit.plan.costs import most_of_sample
from robaudit.audit.plan.fronts import plan_fronts
from robaudit.errors import AuditError
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint
from robaudit.target.files.remote.file import RemoteFile
from robaudit.target.target import Target

__all__ = ["check_gradient", "costs", "parity", "speed"]

STEPS = (1.0, 0.3, 0.1, 0.03)
"""Step widths tried, as shares of the change that would move the margin by its own spread over the samples."""
RIVALS = 10
"""Most classes tried for a margin that has a slope."""
ROUNDING = 1e-5
"""Share of a class's own slope, below which that of a margin is rounding."""
POINTS = 4
"""Samples at which the gradient is checked."""


def parity(target: Target, points: Tensor) -> ParityFacts:
    """Twin against file on [N, *shape] points.

    Raises:
        AuditError: there is no twin apart from the file.
    """
    if target.format not in ("onnx", "endpoint"):
        raise AuditError("the file's own module is differentiated: there is no twin to compare")
    if target.file.twin is None:
        raise AuditError(f"there is no twin ({target.gradient.reason or ''})")
    found = target.parity(points, noise=True)
    difference = found.relative_difference if math.isfinite(found.relative_difference) else None
    return ParityFacts(
        points=found.n, argmax_agreement=found.argmax_agreement, relative_difference=difference, noise=found.noise
    )


def check_gradient(target: Target, points: Tensor) -> GradientCheck:
    """The gradient of the margin between the two best classes, against central differences of the file along it.

    Where that margin has no slope, as over a copy of the best class, the next class stands in, as in the attacks.

    Args:
        target: with a gradient.
        points: [N, *shape].

    Raises:
        AuditError: there is no gradient, or the file's answers do not tell the margin.
    """
    if not target.gradient.available:
        raise AuditError(target.gradient.reason or "there is no gradient")
    if target.head.kind == "labels":
        raise AuditError("the file returns labels only, which have no differences")
    if target.spec.integer:
        raise AuditError("the file takes whole numbers, which are too coarse for differences")
    points = points[:POINTS]
    spread = _logits(target, points).amax(1).std(unbiased=False) if len(points) > 1 else torch.tensor(1.0)
    width = max(float(spread), 1e-2) if bool(torch.isfinite(spread)) else 1.0
    errors = [_error(target, points[i : i + 1], width) for i in range(len(points))]
    known = sorted(error for error in errors if math.isfinite(error))
    if not known:
        raise AuditError("the gradient is zero, or the scores are saturated, at every sample")
    return GradientCheck(points=len(known), median_error=known[len(known) // 2], worst_error=known[-1])


def _error(target: Target, point: Tensor, width: float) -> float:
    """Relative difference at one point, at the best step width."""
    leaf = point.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = target.logits(leaf)
        best, *rivals = logits[0].topk(min(1 + RIVALS, logits.shape[1])).indices.tolist()
        (own,) = torch.autograd.grad(logits[0, best], leaf, retain_graph=True)
        size = 0.0
        for second in rivals:
            (gradient,) = torch.autograd.grad(logits[0, best] - logits[0, second], leaf, retain_graph=True)
            size = float(gradient.double().norm())
            if not size <= ROUNDING * float(own.double().norm()):
                break
        else:
            return math.nan
    if not math.isfinite(size) or size == 0:
        return math.nan
    direction = gradient / size
    found = []
    for share in STEPS:
        step = 0.1 * share * width / size
        ends = _logits(target, torch.cat([point + step * direction, point - step * direction]))
        margin = ends[:, best] - ends[:, second]
        found.append(abs(float(margin[0] - margin[1]) / (2 * step) - size) / size)
    known = [error for error in found if math.isfinite(error)]
    return min(known) if known else math.nan


def _logits(target: Target, u: Tensor) -> Tensor:
    """The file's scores as logits, up to a shift, in float64."""
    scores = target.scores(u, alone=True).double()
    if target.head.kind == "probabilities":
        return scores.log()
    return torch.logit(scores) if target.head.kind == "sigmoids" else scores


def speed(target: Target, points: Tensor, best: int) -> tuple[SpeedFacts, ...]:
    """Times at batch 1 and at the best batch size; of an endpoint at the latter alone, which is paid for."""
    if isinstance(target.file, RemoteFile):
        return (_answer_time(target, points, best),)
    return tuple(_speed(target, points, batch) for batch in sorted({1, best}))


def _answer_time(target: Target, points: Tensor, batch: int) -> SpeedFacts:
    """Of answers to new inputs, as others would come from memory."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand((batch, *points.shape[1:]), generator=generator).to(points)
    start = time.perf_counter()
    target.file.run(target.spec.to_file(rows), width=target.spec.batch)
    return SpeedFacts(batch=batch, judge_ms=1e3 * (time.perf_counter() - start))


def _speed(target: Target, points: Tensor, batch: int) -> SpeedFacts:
    rows = points[:1].expand(batch, *points.shape[1:]).contiguous()
    x = target.spec.to_file(rows)
    width = target.spec.batch
    judge = seconds(lambda: target.file.run(x, width=width))
    if not target.gradient.available:
        return SpeedFacts(batch=batch, judge_ms=1e3 * judge)

    def forward() -> None:
        with torch.no_grad():
            target.logits(rows)

    ahead, back = seconds(forward), seconds(lambda: _gradient(target, rows))
    return SpeedFacts(
        batch=batch,
        judge_ms=1e3 * judge,
        forward_ms=1e3 * ahead,
        gradient_ms=1e3 * back,
        forward_ratio=ahead / judge,
        gradient_ratio=back / judge,
    )


def _gradient(target: Target, rows: Tensor) -> None:
    leaf = rows.detach().clone().requires_grad_()
    with torch.enable_grad():
        torch.autograd.grad(target.logits(leaf).sum(), leaf)


def seconds(run: Callable[[], object]) -> float:
    """The best of three calls, after one that does not count."""
    run()
    times = []
    for _ in range(3):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)


def costs(target: Target, available: int, times: SpeedFacts) -> dict[str, CostFacts]:
    """An upper bound on the attacks of each profile: no sample falls before its attack's last step.

    Args:
        target: measured.
        available: samples of the data.
        times: at the batch size that an audit would take.
    """
    return {name: _cost(load_profile(name), target, available, times) for name in list_profiles()}


def _cost(profile: Profile, target: Target, available: int, times: SpeedFacts) -> CostFacts:
    traits = TargetTraits(
        classes=target.num_classes,
        shape=target.spec.shape,
        no_gradient=None if target.gradient.available else target.gradient.reason,
        no_scores=target.no_scores,
        unsmooth=target.unsmooth,
    )
    fronts = plan_fronts(profile, traits)
    plan = [(front, planned) for front in fronts for planned in front.attacks()]
    ready = {
        planned.key: most_of_sample(front, planned, target.num_classes, target.spec.shape)
        for front, planned in plan
        if planned.status == "ready"
    }
    known = sum((cost for cost in ready.values() if cost is not None), start=Cost())
    forward, both = times.forward_ms or 0.0, times.gradient_ms or 0.0
    each = known.forwards * forward + known.backwards * max(both - forward, 0.0) + known.queries * times.judge_ms
    samples = min(profile.data.samples or available, available)
    price = read_endpoint(target.path).price if is_endpoint(target.path) else None
    queries = known.queries * samples
    return CostFacts(
        seconds=samples * each / 1e3 / times.batch,
        samples=samples,
        forwards=known.forwards,
        backwards=known.backwards,
        queries=known.queries,
        money=None if price is None else MoneyFacts(amount=price.most(queries), currency=price.currency),
        unknown=tuple(key for key, cost in ready.items() if cost is None),
        unavailable={p.key: p.reason or "" for _, p in plan if p.status == "unavailable"},
    )

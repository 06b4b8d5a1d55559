"""What ``inspect`` shows: facts about a target, measured on a few samples, without attacking it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from robaudit.attacks.base import SlotAttack
from robaudit.audit.batch import measure_batch
from robaudit.audit.facts import assumptions, feature_words, features
from robaudit.audit.loading import Loaded, load
from robaudit.audit.plan import plan_attacks
from robaudit.audit.profile import list_profiles, load_profile
from robaudit.audit.request import AuditRequest
from robaudit.errors import UnreadableSampleError
from robaudit.threat.model import Access

__all__ = ["survey"]

SAMPLES = 8


def survey(request: AuditRequest) -> dict[str, Any]:
    """Sections of facts, each a map of JSON values.

    Raises:
        UsageError: the file or the data cannot be used.
    """
    loaded = load(request)
    target = loaded.target
    points = _points(loaded)
    target.measure(points)
    if target.gradient.available:
        target.calibrate()
    batch = measure_batch(target, points[0], gradient=target.gradient.available)
    spec = target.spec
    found: dict[str, Any] = {
        "file": {
            "path": str(target.path),
            "sha256": target.sha256,
            "format": target.format,
            **{k: v for k, v in target.facts.items() if k not in ("operators", "input search")},
        },
        "operators": target.facts.get("operators", {}),
        "input": {
            "name": spec.name,
            "shape": " x ".join("N" if d is None else str(d) for d in (spec.batch, *spec.file_shape)),
            "type": spec.dtype,
            "layout": spec.layout,
            "channels": spec.channels,
            "domain": [spec.lo, spec.hi] if spec.ranges is None else "each feature's own range",
            "scale": spec.scale,
            "mean": list(spec.mean) or "none",
            "std": list(spec.std) or "none",
            "found in": dict(spec.provenance),
            "assumed": assumptions(target) or "nothing",
        },
        "output": {
            "name": target.head.output,
            "classes": target.num_classes,
            "kind": target.head.kind,
            "class names": target.class_names or "not declared",
        },
        "behaviour": _behaviour(loaded, points, batch),
    }
    if spec.ranges is not None:
        found["features"] = {f["name"]: ", ".join(filter(None, feature_words(f))) for f in features(spec)}
    search = target.facts.get("input search")
    if search is not None:
        found["candidates for the input"] = {
            c["name"]: f"{c['right']} of {c['of']} right, {c['status']}" for c in search["candidates"]
        }
    found["cost estimate"] = _costs(loaded, points, batch)
    return found


def _points(loaded: Loaded) -> torch.Tensor:
    found = []
    for index in loaded.drawn:
        try:
            found.append(loaded.data.load(index))
        except UnreadableSampleError:
            continue
        if len(found) == SAMPLES:
            break
    if not found:
        found = [np.full(loaded.target.spec.shape, 0.5, dtype=np.float32)]
    return torch.from_numpy(np.stack(found)).to(loaded.target.device, loaded.target.dtype)


def _behaviour(loaded: Loaded, points: torch.Tensor, batch: int) -> dict[str, Any]:
    target = loaded.target
    facts: dict[str, Any] = {
        "gradient": "available" if target.gradient.available else target.gradient.reason,
        "batch": "fixed at 1" if target.spec.batch == 1 else target.spec.batch or "any",
        "batch matters": {True: "no", False: "yes", None: "not measured"}[target.batch_invariant],
        "repeats differ by": target.repeat_deviation,
        "best batch size": batch,
        "measured on": f"{len(points)} samples of {loaded.data.source}",
    }
    if target.gradient.available and target.format == "onnx":
        parity = target.parity(points)
        facts["parity"] = (
            f"argmax equal on {parity.argmax_agreement:.1%}, relative difference {parity.relative_difference:.1e}"
        )
    return facts


def _costs(loaded: Loaded, points: torch.Tensor, batch: int) -> dict[str, str]:
    """An upper bound for each profile: no sample falls before its attack's last step."""
    target = loaded.target
    rows = points[:1].expand(batch, *points.shape[1:])
    query = _seconds(lambda: target.scores(rows)) / batch
    gradient = 0.0
    if target.gradient.available:
        leaf = rows.detach().clone().requires_grad_()
        gradient = _seconds(lambda: torch.autograd.grad(target.logits(leaf).sum(), leaf)) / batch
    found = {}
    for name in list_profiles():
        profile = load_profile(name)
        plan = plan_attacks(
            profile,
            classes=target.num_classes,
            shape=target.spec.shape,
            no_gradient=None if target.gradient.available else target.gradient.reason,
            surrogates=0,
        )
        samples = min(profile.data.samples or len(loaded.data), len(loaded.data))
        seconds = samples * sum(
            _evaluations(p.attack) * (gradient if p.attack.access is Access.WHITE_BOX else query)
            for p in plan
            if p.status == "ready"
        )
        found[name] = f"at most {seconds:.0f} s for {samples} samples if none falls early"
    return found


def _evaluations(attack: SlotAttack[Any]) -> int:
    """Most evaluations of one sample."""
    units = attack.unit_restarts * max(attack.unit_targets, 1)
    return units * (attack.query_budget or int(getattr(attack, "steps", 1)) + 1)


def _seconds(run: Any) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)

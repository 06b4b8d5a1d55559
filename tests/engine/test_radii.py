"""Radii of single samples, and searches for the smallest distance, in the engine."""

from __future__ import annotations

import dataclasses

import torch
from models import attack_all, linear, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.engine.units import Sample
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm


def _boundary(target: object, sample: Sample) -> float:
    """Distance of a sample's nearest boundary in L-infinity, by bisection along the sign of a logit difference."""
    module = target.module  # type: ignore[attr-defined]
    x = torch.from_numpy(sample.u)[None]
    x.requires_grad_()
    z = module(x)[0]
    (gradient,) = torch.autograd.grad(z[1 - sample.label] - z[sample.label], x)
    return float((z[sample.label] - z[1 - sample.label]).detach() / gradient.abs().sum())


def test_each_sample_is_searched_and_judged_at_its_own_radius() -> None:
    target = linear((9,), 2)
    samples = samples_for(target, 6)
    exact = {s.index: _boundary(target, s) for s in samples}
    inside = {s.index for s in samples[::2]}
    own = [dataclasses.replace(s, eps=exact[s.index] * (1.05 if s.index in inside else 0.95)) for s in samples]
    results = attack_all(target, make_attack("pgd", {"steps": 20}), ThreatModel(Norm.LINF, 0.9), own)
    assert {i for i, r in results.items() if r.success} == inside
    assert all(r.distance <= exact[i] * 1.05 + 1e-6 for i, r in results.items() if r.success)

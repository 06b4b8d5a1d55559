"""The audit reacts: where its checks tell that gradients are masked, it finds out where, and attacks otherwise."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robaudit.audit.journal.events import Note
from robaudit.audit.journal.records.findings import MaskingFound
from robaudit.audit.plan.fronts import Front
from robaudit.audit.result.sections.masking import HiddenAt
from robaudit.audit.session.attacking import Attacking, tell_plan
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.samples import SampleStore
from robaudit.audit.session.shared import Shared
from robaudit.checks.base import Finding
from robaudit.checks.registry import check_class
from robaudit.engine.units import sample_of
from robaudit.errors import FinalError, on_one_line
from robaudit.target.measures.hiding import hidden_at, looked_at
from robaudit.target.target import Target
from robaudit.threat.losses import loss_named
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.random import Draws, key_of

__all__ = ["hidden_in", "reacted", "signs_of"]

LOOKED = 8
"""Samples at which slopes inside of the file are looked at."""
MOVES = 7
"""Random steps from each, beside the one up the gradient."""
WIDTH = 8 / 255
"""Length of the steps in every feature where the norm of the threat model is another than L-infinity."""

SATURATED = "logit-scale"
"""The check that tells that probabilities saturate."""


def signs_of(findings: Mapping[str, Finding]) -> tuple[str, ...]:
    """The checks that tell that gradients may be masked."""
    return tuple(
        name
        for name, found in findings.items()
        if check_class(name).facts.tells_masking and found.sign and found.status in ("warn", "fail")
    )


def reacted(
    findings: Mapping[str, Finding],
    attacking: Attacking,
    cascades: Sequence[Cascade],
    store: SampleStore,
    shared: Shared,
) -> Sequence[Front]:
    """The plan after a reaction, which was carried out where there was a reason; else as it was.

    Signs are journaled all the same where what they tell of was attacked in the cascade.

    Args:
        findings: of the checks.
        attacking: carries it out.
        cascades: what stands.
        store: the samples.
        shared: its journal takes what was found, and holds what an earlier session found.
    """
    fronts, loaded = attacking.fronts, attacking.loaded
    known = shared.journal.last(MaskingFound)
    signs = known.signs if known is not None else signs_of(findings)
    if not signs and _conspicuous(loaded.target):
        signs = ("graph-scan",)
    if not signs or shared.stop() or not any(front.reaction for front in fronts):
        return fronts
    if known is None:
        stands = {sample_of(case) for case in store.standing()}
        fallen = {sample_of(case) for cascade in cascades for case in cascade.broken_by}
        masks = [HiddenAt(operators=found.operators, why="lost") for found in findings.values() if found.operators]
        hidden = (*masks, *hidden_in(loaded, signs, cascades[0].threat, store, shared))
        known = MaskingFound(signs=signs, hidden=hidden, stood=len(stands - fallen))
        shared.journal.append(known)
    if not known.stood or not any(check_class(name).facts.starts_reaction for name in signs):
        return fronts
    if attacking.request.settings.until_decided:  # those gates were decided by what ran in each look
        return fronts
    shared.observer(Note(f"gradients may be masked ({', '.join(signs)}): further attacks run on what stands", "info"))
    fronts = [replace(front, reacts=True) for front in fronts]
    tell_plan(fronts, loaded, shared.journal)
    replace(attacking, fronts=fronts).react(cascades)
    return fronts


def _conspicuous(target: Target) -> bool:
    """Whether the operators by themselves are reason enough: they leave no gradient, or draw."""
    drawn = target.is_random_itself and bool(target.file.drawing)
    return drawn or (not target.gradient.available and bool(target.gradient.cuts))


def hidden_in(
    loaded: Loaded, signs: Collection[str], threat: ThreatModel, store: SampleStore, shared: Shared
) -> tuple[HiddenAt, ...]:
    """Where the file hides its gradient, as far as its operators tell."""
    target = loaded.target
    found = []
    if ends := [cut.partition(",")[0] for cut in target.gradient.cuts if "ends the gradient" in cut]:
        found.append(HiddenAt(operators=tuple(ends), why="no derivative"))
    if target.is_random_itself and target.file.drawing:
        found.append(HiddenAt(operators=tuple(target.file.drawing), why="random"))
    tail = target.head.tail
    if SATURATED in signs and target.head.peeled and tail is not None and tail.through:
        found.append(HiddenAt(operators=tuple(tail.through), why="saturated"))
    if target.gradient.available and target.stand_in is None and not target.file.drawing:
        try:
            found += _lost_in(target, threat, store)
        except FinalError:
            raise
        except Exception as error:  # a graph that cannot be taken apart costs the place alone
            shared.note(f"where the graph hides its gradient could not be found out ({on_one_line(error, 200)})")
    return tuple(found)


def _lost_in(target: Target, threat: ThreatModel, store: SampleStore) -> list[HiddenAt]:
    """Parts of the graph before which the slope does not foretell what a step does."""
    twin = target.file.twin
    if twin is None or target.file.other_inputs():
        return []
    answers = sorted(
        (a for a in store.answers.values() if a.correct), key=lambda a: (key_of("looked", a.digest), a.index)
    )
    samples = [store(a.index) for a in answers[:LOOKED]]
    if not samples:
        return []
    u = torch.stack([torch.from_numpy(sample.u) for sample in samples]).to(target.device, target.dtype)
    label = torch.tensor([sample.label for sample in samples], device=u.device)
    length = threat.eps if threat.norm is Norm.LINF else WIDTH
    draws = Draws(torch.tensor([key_of("looked", sample.digest) for sample in samples], device=u.device))
    moves = [draws.sign("moved", step, tuple(u.shape[1:])).to(u) for step in range(MOVES)]
    moves.append(_slope(target, u, label).sign())
    spec = target.spec
    moved = torch.stack([spec.to_file((u + length * move).clamp(0, 1)) for move in moves], 1)
    parts = hidden_at(looked_at(twin, spec.to_file(u), moved, label, target.head.logits))
    return [HiddenAt(operators=p.operators, why="lost", before=p.before, after=p.after) for p in parts]


def _slope(target: Target, u: Tensor, label: Tensor) -> Tensor:
    leaf = u.clone().requires_grad_()
    with torch.enable_grad():
        value = loss_named("margin")(target.logits(leaf), label, torch.full_like(label, -1)).sum()
        found = torch.autograd.grad(value, leaf, allow_unused=True)[0]
    return torch.zeros_like(u) if found is None else found.nan_to_num(0.0, 0.0, 0.0)

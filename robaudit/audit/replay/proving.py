"""Proves the certificates of a result again: with the data of the audit, and torch."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from robaudit.audit.config.building import build_request
from robaudit.audit.config.keys import validated
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import Resolved
from robaudit.audit.config.settings import Settings
from robaudit.audit.plan.certificates import PlannedCertificate
from robaudit.audit.replay.document import LostProof, Proofs, ProofStatus
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Proved, Result, Sample
from robaudit.audit.session.certifying import certificates_of
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.loading import load
from robaudit.audit.session.preparing import measure
from robaudit.certificates.base import Proof, Question
from robaudit.certificates.subject import Subject, Unreadable, subject_of
from robaudit.errors import ChangedFileError, RobauditError, reason
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["SECONDS", "prove_again"]

SECONDS = 60.0
"""Time for proofs, unless all are asked for."""
CLOSE = 1e-6
"""Relative difference of two margins that another build of the mathematics may make."""
MEANING = ("mean", "std", "scale", "layout", "channels", "domain")


def prove_again(
    request: ReplayRequest, result: Result, model: Path, data: Path | None, watch: Watch = UNWATCHED
) -> Proofs:
    """Prove what a result says is proved, in a random order, as far as the time goes.

    The proofs are carried out on the CPU, where the least is allowed for rounding: what holds on a GPU holds there.

    Args:
        request: what is replayed.
        result: of the audit, with certificates.
        model: the file to prove it of.
        data: of the audit; None: the samples that come with robaudit.
        watch: notified of each call of the model.

    Raises:
        ChangedFileError: a file was changed meanwhile.
    """
    claims = [(sample, found) for sample in result.samples for found in sample.certified if found.proved]
    random.Random(result.run.id).shuffle(claims)
    tally = Proofs(claimed=len(claims), tried=0, held=0)
    try:
        audit = _audit_of(request, result, model, data)
        opened = load(audit, watch=watch)
        if opened.data.digest != result.data.sha256:
            return tally.model_copy(
                update={"reason": f"the data in {result.data.source} are not those of the audit; name them with --data"}
            )
        loaded, _ = measure(opened, watch)
        plan = {planned.key: planned for planned in certificates_of(audit.profile, loaded)}
        subject = subject_of(loaded.target)
        unsuited = next(_unsuited(plan, {found.by for _, found in claims}, subject), None)
    except ChangedFileError:
        raise
    except (RobauditError, Unreadable) as error:
        return tally.model_copy(update={"reason": str(error)})
    if unsuited is not None:
        return tally.model_copy(update={"reason": unsuited})
    return _all_again(request, claims, plan, subject, loaded)


def _unsuited(plan: dict[str, PlannedCertificate], ids: set[str], subject: Subject) -> Iterator[str]:
    """Why certifiers can prove nothing of this file."""
    for id in sorted(ids):
        if id not in plan:
            yield f"the profile of the result has no certificate {id}"
        elif (why := plan[id].certifier.unsuited(subject, plan[id].ball(subject.spec.shape))) is not None:
            yield why


def _all_again(
    request: ReplayRequest,
    claims: list[tuple[Sample, Proved]],
    plan: dict[str, PlannedCertificate],
    subject: Subject,
    loaded: Loaded,
) -> Proofs:
    """The proofs of a subject, one after the other."""
    begun, lost, tried, why = time.monotonic(), list[LostProof](), 0, None
    for sample, claim in claims:
        if not request.all_proofs and time.monotonic() - begun > SECONDS:
            why = f"the {SECONDS:g} s for proofs are over; --all-proofs takes the time"
            break
        tried += 1
        planned = plan[claim.by]
        problem, found = None, Proof(False, float("-inf"))
        try:
            found = _proof(planned, subject, loaded, sample)
        except ChangedFileError:
            raise
        except Exception as error:  # another package's code may raise anything; it costs that proof alone
            problem = reason(error)
        if (status := _status(claim, found)) is not None:
            lost.append(
                LostProof(
                    sample=sample.id,
                    index=sample.index,
                    certificate=claim.by,
                    claimed=claim.margin,
                    margin=found.margin if abs(found.margin) < float("inf") else None,
                    status=status,
                    reason=problem,
                )
            )
    return Proofs(claimed=len(claims), tried=tried, held=tried - len(lost), lost=tuple(lost), reason=why)


def _proof(planned: PlannedCertificate, subject: Subject, loaded: Loaded, sample: Sample) -> Proof:
    if sample.label is None or loaded.data.ids[sample.index] != sample.id:
        raise RobauditError(f"the data hold no labelled sample {sample.id} at {sample.index}")
    rivals = sample.targets or tuple(other for other in range(subject.classes) if other != sample.label)
    u = torch.from_numpy(loaded.data.load(sample.index).copy()).double()
    with torch.no_grad():
        return planned.certifier.prove(subject, Question(u, sample.label, rivals), planned.ball(subject.spec.shape))


def _status(claim: Proved, found: Proof) -> ProofStatus | None:
    """What is wrong with a claim; None where it holds."""
    if not found.proved:
        return "not proved"
    if claim.margin is not None and claim.margin > found.margin + CLOSE * max(1.0, abs(found.margin)):
        return "smaller margin"
    return None


def _audit_of(request: ReplayRequest, result: Result, model: Path, data: Path | None) -> AuditRequest:
    """The audit as it was asked for, without what proofs do not need."""
    settings = Settings(**validated(result.profile.settings, "the settings in the result"))
    sources = {**result.profile.sources, "data": "the result"}
    said: dict[str, Any] = {}
    if not result.target.input.features:
        given = result.target.input
        said = {name: getattr(given, name) for name in MEANING if getattr(given, name) is not None}
        said["layout"] = (given.layout or "").lower() or None
    settings = replace(
        settings,
        **said,
        data=None if data is None else str(data),
        fixed={**result.target.fixed_inputs, **request.inputs} or None,
        surrogates=(),
        stand_in=None,
        baseline=None,
        device="cpu",
        trust_model=request.trust_model,
        custom_ops=tuple(map(str, request.custom_ops)),
    )
    resolved = Resolved(
        settings=settings,
        profile=Profile.model_validate(result.profile.resolved),
        profile_source="built-in",
        sources=sources | {f"input.{name}": "the result" for name in said},
        eps_default=False,
        config_file=None,
    )
    return build_request(model, resolved)

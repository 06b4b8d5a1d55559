"""Asks a file again about stored adversarial examples, with ONNX Runtime and NumPy alone.

No torch is imported for an ONNX file. What the audit did is taken from its result: what the input means, the ball of
each attack, the output that was judged.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit import __version__
from robaudit.audit.config.places import shown_path
from robaudit.audit.config.sets import inherent_sets
from robaudit.audit.process.persist import NOTHING, GivenUp
from robaudit.audit.replay.asked_file import AskedFile, find_model, recorded_meaning
from robaudit.audit.replay.detecting import behind, recorded_guard
from robaudit.audit.replay.document import Proofs, Replay, Replayed, ReplayStatus
from robaudit.audit.replay.evidence import Claim, evidence_of, kept_arrays
from robaudit.audit.replay.request import Answer, ReplayRequest, Said
from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import RESULT, data_of
from robaudit.audit.stored.file import load_result
from robaudit.audit.stored.sets import kept_sets
from robaudit.errors import AuditError, ChangedFileError, RobauditError, UsageError
from robaudit.files import held_to
from robaudit.target.files.sniff import model_format
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.running.watch import UNWATCHED, Watch
from robaudit.threat.admissible import admissible
from robaudit.threat.arrays import TOLERANCE, distance
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["judge_of", "replay"]

PROOFS = "proofs"
"""Part of the work that is left out where the model hangs or crashes in it."""
ROUNDING = 1e-6
"""Relative difference of two measurements of a distance that the audit's float type explains."""


def replay(request: ReplayRequest, given_up: GivenUp = NOTHING, watch: Watch = UNWATCHED) -> Replay:
    """Ask the file about each stored example and its original, one input at a time, and measure the distances again.

    Args:
        request: the run and the file.
        given_up: samples that are not asked, as the model hung or crashed on them.
        watch: notified of each call of the model.

    Raises:
        UsageError: the result, or a file that the user names, cannot be used.
        AuditError: the evidence, or the audited file, is missing or not the one of the result.
    """
    folder, file = (
        (request.run, request.run / "result.json") if request.run.is_dir() else (request.run.parent, request.run)
    )
    result = load_result(file, request.trusted)
    claims = evidence_of(folder, result, kept=file.name == RESULT)
    asked = find_model(request.model, folder, result)
    meaning = recorded_meaning(result, claims[0].example.original.shape, trust=request.trust_model) if claims else None
    rows: list[Replayed] = []
    judge = "none was needed"
    if meaning is not None:
        with held_to(asked.files):
            rows, judge = _ask(request, result, asked, meaning, claims, given_up, watch)
    proofs = None
    if result.certified is not None:
        with held_to(asked.files):
            proofs = _proofs(request, result, folder, asked.path, given_up, watch)
    return Replay(
        version=__version__,
        run=result.run.id,
        model=shown_path(asked.path),
        sha256=asked.sha256,
        same_model=asked.same,
        judge=judge,
        evidence=result.evidence.path or "",
        evidence_sha256=result.evidence.sha256 or "",
        count=len(rows),
        fooled=sum(row.status == "fools" for row in rows),
        classes=result.data.classes,
        examples=tuple(rows),
        artefacts=kept_arrays(result),
        proofs=proofs,
    )


def _ask(
    request: ReplayRequest,
    result: Result,
    asked: AskedFile,
    meaning: InputMeaning,
    claims: list[Claim],
    given_up: GivenUp,
    watch: Watch,
) -> tuple[list[Replayed], str]:
    """(every example asked again, the runtime that answered)."""
    with watch.about("it was loaded"):
        answer, judge = judge_of(request, result, asked.path, meaning, same=asked.same, watch=watch)
        if result.detector is not None:
            answer = behind(answer, recorded_guard(request, result, asked.path, meaning, answer))
    names = {sample.index: sample.id for sample in result.samples}
    watch.call_samples(names.__getitem__)
    sets = (*kept_sets(result, meaning.shape), *inherent_sets(meaning))
    rows = []
    for claim in claims:
        index, why = claim.example.index, given_up.samples.get(claim.example.index)
        with watch.about(f"the example of {claim.example.attack} was replayed", [index]):
            rows.append(_replayed(claim, names[index], sets, answer if why is None else _silent(why)))
    refused = [row.reason for row in rows if row.index not in given_up.samples]
    if refused and None not in refused:
        raise UsageError(f"{asked.path} does not answer as the audit asked: {refused[0]}")
    return rows, judge


def _replayed(claim: Claim, name: str, sets: Sequence[PerturbationSet], answer: Answer) -> Replayed:
    example, attack = claim.example, claim.attack
    radius = math.inf if claim.nearest else attack.eps
    size = distance(attack.norm, example.original, example.adversarial)
    inside = _admissible(example.adversarial, example.original, size, radius, sets)
    inside &= _admissible(example.original, example.original, 0.0, 0.0)  # it lies in the box itself
    clean = found = Said(None)
    reason = None
    try:
        clean, found = answer(example.original), answer(example.adversarial)
    except (UsageError, ChangedFileError):
        raise
    except RobauditError as error:
        reason = str(error)
    wrong = found.fools(example.label, example.target)
    status: ReplayStatus = "fools" if wrong else "no longer fools"
    if reason is not None:
        status = "not answered"
    elif not inside:
        status = "outside"
    elif not clean.is_right(example.label):
        status = "original wrong"
    elif found.rejected:
        status = "rejected"
    elif wrong and claim.distance is not None and abs(size - claim.distance) > TOLERANCE + ROUNDING * size:
        status = "other distance"
    return Replayed(
        sample=name,
        index=example.index,
        attack=example.attack,
        norm=attack.norm,
        eps=attack.eps,
        nearest=claim.nearest,
        distance=size if math.isfinite(size) else None,
        label=example.label,
        target=example.target,
        original=clean.label,
        recorded=example.prediction,
        prediction=found.label,
        status=status,
        reason=reason,
    )


def _admissible(
    point: NDArray[Any], origin: NDArray[Any], size: float, eps: float, sets: Sequence[PerturbationSet] = ()
) -> bool:
    return bool(admissible(point[None], origin[None], np.array([size]), eps, sets)[0])


def _silent(why: str) -> Answer:
    """The answers of a file to a sample that it is not asked about again."""

    def answer(point: NDArray[Any]) -> Said:
        raise AuditError(why)

    return answer


def judge_of(
    request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning, *, same: bool, watch: Watch
) -> tuple[Answer, str]:
    """(the answers of a file to inputs of a meaning, the runtime that gives them); ``same``: it is the audited one."""
    if model_format(path) != "onnx":
        from robaudit.audit.replay.torch_judge import torch_judge  # torch is what runs such a file

        return torch_judge(request, result, path, meaning, watch)
    from robaudit.audit.replay.onnx_judge import onnx_judge  # the report of a replay needs no runtime

    return onnx_judge(request, result, path, meaning, same=same, watch=watch)


def _proofs(
    request: ReplayRequest, result: Result, folder: Path, model: Path, given_up: GivenUp, watch: Watch
) -> Proofs:
    """The certificates of the result, proved again where that can be done."""
    count = sum(found.proved for sample in result.samples for found in sample.certified)
    why = given_up.parts.get(PROOFS)
    if why is None and importlib.util.find_spec("torch") is None:
        why = "proofs need PyTorch, which is not installed"
    if why is not None or not count:
        return Proofs(claimed=count, tried=0, held=0, reason=why)
    from robaudit.audit.replay.proving import prove_again  # torch, which examples can do without

    data = request.data
    if data is None and result.data.kind != "bundled":
        data = data_of(folder, result.run.id) or Path(result.data.source)
    with watch.about("its certificates were proved again", part=PROOFS):
        return prove_again(request, result, model, data, watch)

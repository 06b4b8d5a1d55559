"""Asks a file again about stored adversarial examples, with ONNX Runtime and NumPy alone.

No torch is imported for an ONNX file. What the audit did is taken from its result: what the input means, the ball of
each attack, the output that was judged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from robaudit import __version__
from robaudit.audit.config.places import shown_path
from robaudit.audit.config.sets import inherent_sets
from robaudit.audit.process.persist import NOTHING, GivenUp
from robaudit.audit.replay.evidence import Claim, evidence_of
from robaudit.audit.replay.request import Answer, ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import RESULT, model_of
from robaudit.audit.stored.file import load_result
from robaudit.audit.stored.sets import kept_sets
from robaudit.data.ranges import Ranges
from robaudit.defenses.registry import make_defense
from robaudit.errors import AuditError, ChangedFileError, RobauditError, UsageError
from robaudit.files import held_to, sha256_file
from robaudit.target.files.onnx.external import digests, may_have_weights_elsewhere
from robaudit.target.files.sniff import model_format
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.running.watch import UNWATCHED, Watch
from robaudit.threat.admissible import admissible
from robaudit.threat.arrays import TOLERANCE, distance
from robaudit.threat.goals import reached
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["Replay", "Replayed", "replay"]

ROUNDING = 1e-6
"""Relative difference of two measurements of a distance that the audit's float type explains."""
ReplayStatus: TypeAlias = Literal[
    "fools", "no longer fools", "outside", "original wrong", "other distance", "not answered"
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class Replayed(_Record):
    """One adversarial example, asked again."""

    sample: str
    """Name of the sample."""
    index: int
    """Position in the data source."""
    attack: str
    """The attack that found it."""
    norm: str
    """Norm of its ball."""
    eps: FiniteFloat
    """Radius of its ball."""
    nearest: bool = False
    """Whether a curve rests on it: then it may lie outside of the ball."""
    distance: FiniteFloat | None
    """Its distance from the original, measured again in float64; null where it is no number."""
    label: int
    """Reference class."""
    target: int | None = None
    """Class that it was to be made to answer; null where any wrong one counts."""
    original: int | None
    """What the file answers to the original; null where its answer names no class."""
    recorded: int
    """What the audited file answered to the adversarial example."""
    prediction: int | None
    """What the file answers to it now; null where its answer names no class."""
    status: ReplayStatus
    """fools; no longer fools; outside (of its ball, the box or a mask, or a feature moved that must stay); original
    wrong (the file misses the original, so that the example shows nothing); other distance (than the result tells);
    not answered (the file refuses the example or its original, or hangs or crashes on them)."""
    reason: str | None = None
    """Why it is not answered; null where it is."""


class Replay(_Record):
    """A replay of a run's evidence."""

    version: str
    """Version of robaudit that replayed."""
    run: str
    """Id of the run."""
    model: str
    """The file that was asked."""
    sha256: str
    """Its digest."""
    same_model: bool
    """Whether it is the audited file, with the files that it keeps weights in."""
    judge: str
    """Runtime that answered."""
    evidence: str
    """The archive, relative to the result."""
    evidence_sha256: str
    """Its digest."""
    count: int
    """Adversarial examples, those that a curve rests on among them."""
    fooled: int
    """Of those, examples that hold up."""
    classes: tuple[str, ...] | None = None
    """Class names, or null."""
    examples: tuple[Replayed, ...] = ()
    """All of them."""
    artefacts: dict[str, tuple[int, ...]] = {}
    """What attacks were fitted to: arrays in the archive, by name, with their shapes."""

    @property
    def holds(self) -> bool:
        """Whether every example still fools the file."""
        return self.fooled == self.count

    @property
    def exit_code(self) -> int:
        """0 if it holds, 3 if all that is wrong is that the file does not answer, else 1."""
        if self.holds:
            return 0
        return 3 if all(row.status in ("fools", "not answered") for row in self.examples) else 1


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
    asked = _model(request.model, folder, result)
    meaning = _meaning(result, claims[0].example.original.shape) if claims else None
    rows: list[Replayed] = []
    judge = "none was needed"
    if meaning is not None:
        with held_to(asked.files):
            rows, judge = _ask(request, result, asked, meaning, claims, given_up, watch)
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
        artefacts={name: shape for fit in result.fits for name, shape in fit.arrays.items()},
    )


@dataclass(frozen=True)
class _Asked:
    """The file to ask.

    Args:
        path, sha256: of it.
        weights: SHA-256 of the files that it keeps weights in, by its names for them.
        same: whether all of them are what the audit had.
    """

    path: Path
    sha256: str
    weights: dict[str, str]
    same: bool = False

    @property
    def files(self) -> dict[str, str | None]:
        """SHA-256 by full path."""
        weights = {os.path.abspath(self.path.parent / name): digest for name, digest in self.weights.items()}
        return {**weights, os.path.abspath(self.path): self.sha256}


def _ask(
    request: ReplayRequest,
    result: Result,
    asked: _Asked,
    meaning: InputMeaning,
    claims: list[Claim],
    given_up: GivenUp,
    watch: Watch,
) -> tuple[list[Replayed], str]:
    """(every example asked again, the runtime that answered)."""
    with watch.about("it was loaded"):
        answer, judge = _judge(request, result, asked.path, meaning, same=asked.same, watch=watch)
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


def _model(named: Path | None, folder: Path, result: Result) -> _Asked:
    """The one that the user names, else the audited one where it is still found."""
    if named is not None:
        if not named.is_file():
            raise UsageError(f"there is no model {named}")
        asked = _looked_at(named, result)
        return replace(asked, same=asked.sha256 == result.target.sha256 and _changed_weights(asked, result) is None)
    kept = model_of(folder, result.run.id)
    known = [path for path in (Path(result.target.file), kept) if path is not None]
    found = [_looked_at(path, result) for path in known if path.is_file()]
    if not found:
        raise AuditError(f"the audited model {result.target.file} is not here; name it with --model FILE")
    changed: list[str] = []
    for asked in found:
        if asked.sha256 != result.target.sha256:
            changed.append(f"{asked.path} was changed since the audit (its SHA-256 differs)")
        elif (other := _changed_weights(asked, result)) is not None:
            changed.append(f"{other}, which {asked.path} keeps weights in, was changed since the audit or is not here")
        else:
            return replace(asked, same=True)
    raise AuditError(f"{changed[-1]}; --model {found[-1].path} replays the evidence on it all the same")


def _looked_at(path: Path, result: Result) -> _Asked:
    asked = _Asked(path, sha256_file(path), {})
    if not result.target.external and not may_have_weights_elsewhere(path):
        return asked
    with held_to(asked.files):
        return replace(asked, weights=digests(path))


def _changed_weights(asked: _Asked, result: Result) -> str | None:
    """The first file of weights that is not what it was in the audit, or None."""
    before, now = result.target.external, asked.weights
    return next((name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)), None)


def _meaning(result: Result, shape: tuple[int, ...]) -> InputMeaning:
    """What the audit found that the input means.

    Args:
        result: of the audit.
        shape: of one sample in u-space.

    Raises:
        AuditError: the evidence has another size than the input.
    """
    spec = result.target.input
    batch, sizes = spec.shape[0], tuple(int(size) for size in spec.shape[1:] if isinstance(size, int))
    if math.prod(sizes) != math.prod(shape) or len(sizes) != len(spec.shape) - 1:
        words = ["x".join(map(str, extent)) for extent in (shape, spec.shape[1:])]
        raise AuditError(f"the evidence has samples of {words[0]}, and the model's input takes {words[1]}")
    ranges = None
    if spec.features:
        rows = spec.features
        ranges = Ranges(
            names=tuple(f.name for f in rows),
            low=tuple(f.low for f in rows),
            high=tuple(f.high for f in rows),
            immutable=tuple(f.immutable for f in rows),
            integer=tuple(f.integer for f in rows),
        )
    low, high = spec.domain or (0.0, 1.0)
    layouts: dict[str, Literal["nchw", "nhwc"]] = {"nchw": "nchw", "nhwc": "nhwc"}
    return InputMeaning(
        name=spec.name,
        file_shape=sizes,
        shape=shape,
        kind="vector" if spec.channels is None else "image",
        layout=layouts.get((spec.layout or "").lower(), "none"),
        dtype=spec.dtype,
        batch=batch if isinstance(batch, int) else None,
        lo=low,
        hi=high,
        ranges=ranges,
        scale=1.0 if spec.scale is None else spec.scale,
        mean=spec.mean or (),
        std=spec.std or (),
        channels="bgr" if spec.channels == "bgr" else "rgb",
        defense=None if result.defense is None else make_defense(result.defense.id, result.defense.parameters),
    )


def _replayed(claim: Claim, name: str, sets: Sequence[PerturbationSet], answer: Answer) -> Replayed:
    example, attack = claim.example, claim.attack
    radius = math.inf if claim.nearest else attack.eps
    size = distance(attack.norm, example.original, example.adversarial)
    inside = _admissible(example.adversarial, example.original, size, radius, sets)
    inside &= _admissible(example.original, example.original, 0.0, 0.0)  # it lies in the box itself
    original = prediction = reason = None
    try:
        original, prediction = answer(example.original), answer(example.adversarial)
    except (UsageError, ChangedFileError):
        raise
    except RobauditError as error:
        reason = str(error)
    goal = -1 if example.target is None else example.target
    wrong = bool(reached(-1 if prediction is None else prediction, example.label, goal))
    status: ReplayStatus = "fools" if wrong else "no longer fools"
    if reason is not None:
        status = "not answered"
    elif not inside:
        status = "outside"
    elif original != example.label:
        status = "original wrong"
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
        original=original,
        recorded=example.prediction,
        prediction=prediction,
        status=status,
        reason=reason,
    )


def _admissible(
    point: NDArray[Any], origin: NDArray[Any], size: float, eps: float, sets: Sequence[PerturbationSet] = ()
) -> bool:
    return bool(admissible(point[None], origin[None], np.array([size]), eps, sets)[0])


def _silent(why: str) -> Answer:
    """The answers of a file to a sample that it is not asked about again."""

    def answer(point: NDArray[Any]) -> int | None:
        raise AuditError(why)

    return answer


def _judge(
    request: ReplayRequest, result: Result, path: Path, meaning: InputMeaning, *, same: bool, watch: Watch
) -> tuple[Answer, str]:
    if model_format(path) != "onnx":
        from robaudit.audit.replay.torch_judge import torch_judge  # torch is what runs such a file

        return torch_judge(request, result, path, meaning, watch)
    from robaudit.audit.replay.onnx_judge import onnx_judge  # the report of a replay needs no runtime

    return onnx_judge(request, result, path, meaning, same=same, watch=watch)

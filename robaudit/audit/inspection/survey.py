"""What ``inspect`` shows: facts about a target, measured on a few samples, without attacking it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import onnx
import torch
from torch import Tensor

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.inspection.document import (
    BatchFacts,
    FileFacts,
    GradientFacts,
    HeadFacts,
    InputFacts,
    Inspection,
    MeaningFacts,
    OperatorFacts,
    OutputFacts,
    SafetyFacts,
)
from robaudit.audit.inspection.measures import check_gradient, costs, parity, speed
from robaudit.audit.plan.auxiliary import given_up_names
from robaudit.audit.process.persist import NOTHING, GivenUp
from robaudit.audit.result.sections.target import feature_words, training_words
from robaudit.audit.session.batch import measure_batch
from robaudit.audit.session.endpoint import answers_of
from robaudit.audit.session.loaded import Opened
from robaudit.audit.session.loading import Before, load
from robaudit.audit.session.preparing import completed
from robaudit.audit.session.samples import ask_alone
from robaudit.audit.session.sections import assumptions, features
from robaudit.engine.oracle import Oracle
from robaudit.errors import FinalError, reason
from robaudit.plural import counted
from robaudit.target.files.onnx.file import OnnxFile
from robaudit.target.files.onnx.operators import foreign_domains, operator_uses, parameters
from robaudit.target.files.remote.file import RemoteFile
from robaudit.target.reading.measured import Measured, measure, unmeasured
from robaudit.target.running.watch import UNWATCHED, Watch
from robaudit.target.target import Target, declared_gradient

__all__ = ["survey"]

SAMPLES = 8
T = TypeVar("T")


def survey(request: AuditRequest, given_up: GivenUp = NOTHING, watch: Watch = UNWATCHED) -> Inspection:
    """Look at a file without attacking it; a section that cannot be measured costs itself alone.

    Args:
        request: the file, and how it is read.
        given_up: what is not tried again, as the model hung or crashed on it.
        watch: notified of each call of the model.

    Raises:
        UsageError: the file or the data cannot be used.
    """
    with watch.about("it was loaded"):
        names = given_up_names(request, given_up.auxiliary)
        answers = answers_of(request)
        before = Before(lost=given_up.samples, unusable=names, answers=answers)
        loaded = load(request, inspecting=True, before=before, watch=watch)
    with watch.about("it was looked at", part="each sample alone"):
        ask_alone(loaded.opened, loaded.differentiable, loaded.data, given_up.suspects, watch)
    tried = _Tried(loaded, given_up, watch)
    points = _points(loaded)
    measured = _noted(tried("measurement", lambda: measure(loaded.opened, points)) or unmeasured(loaded.opened))
    few = points[:SAMPLES]
    target = tried("gradient", lambda: completed(loaded, measured)) or _untried(
        loaded, measured, given_up.parts.get("gradient")
    )
    best = tried("batch size", lambda: _best_batch(target, points[0])) or 1
    times = tried("speed", lambda: speed(target, few, best))
    return Inspection(
        file=_file(request, target),
        safety=_safety(request, target),
        inputs=_inputs(target),
        meaning=_meaning(target),
        outputs=_outputs(target),
        head=_head(target),
        operators=_operators(target),
        gradient=_gradient(target),
        samples=f"{counted(len(points), 'sample')} of {loaded.data.source}",
        batch=_batch(target, best),
        parity=tried("parity", lambda: parity(target, few)),
        gradient_check=tried("gradient_check", lambda: check_gradient(target, few)),
        speed=times,
        costs=None if times is None else tried("costs", lambda: costs(target, len(loaded.data), times[-1])),
        notes=(
            *given_up.samples.values(),
            *target.notes,
            *([] if request.data is None else loaded.data.notes),
            *([bill] if answers is not None and (bill := answers.bill()) else []),
        ),
        unmeasured=tried.unmeasured,
    )


class _Tried:
    """Runs measurements, of which each costs itself alone.

    Args:
        loaded: the file and the data.
        given_up: what is not tried again.
        watch: notified of each call of the model.

    Attributes:
        unmeasured: why a measurement is missing, by its name.
    """

    def __init__(self, loaded: Opened, given_up: GivenUp, watch: Watch) -> None:
        self._loaded, self._given_up, self._watch = loaded, given_up, watch
        self.unmeasured: dict[str, str] = {}

    def __call__(self, name: str, run: Callable[[], T]) -> T | None:
        """What ``run`` returns; None where it cannot be measured."""
        if name in self._given_up.parts:
            self.unmeasured[name] = self._given_up.parts[name]
            return None
        try:
            doing = f"it was looked at ({name.replace('_', ' ')})"
            with self._watch.about(doing, self._loaded.measured_on(), part=name):
                return run()
        except FinalError:
            raise
        except Exception as error:  # odd files break runtimes in their own ways
            self.unmeasured[name] = reason(error)
            return None


def _best_batch(target: Target, point: Tensor) -> int:
    """The batch that an audit would take; that of an endpoint is one request, as its file says."""
    if isinstance(target.file, RemoteFile):
        return target.file.client.endpoint.batch
    return measure_batch(Oracle(target), point, gradient=target.gradient.available)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _noted(measured: Measured) -> Measured:
    """The same, with notes of all that there is to know."""
    training = measured.opened.file.training
    told = [training_words(training)] if training else []
    said = [note for note in (measured.undecided, measured.disputed) if note is not None]
    return replace(measured, notes=(*told, *measured.notes, *said))


def _untried(loaded: Opened, measured: Measured, why: str | None) -> Target:
    """The target where its gradient could not be tried; ``why``: it is not tried again."""
    no_gradient = why or loaded.no_gradient
    return Target(measured, declared_gradient(measured.opened, stand_in=loaded.stand_in, no_gradient=no_gradient))


def _points(loaded: Opened) -> Tensor:
    points = loaded.measured()
    if points is None:
        points = torch.full((1, *loaded.opened.spec.shape), 0.5).to(loaded.opened.device, loaded.opened.dtype)
    return points


def _file(request: AuditRequest, target: Target) -> FileFacts:
    model = target.file.model if isinstance(target.file, OnnxFile) else None
    count, octets = _weights(target) if model is None else parameters(model)
    return FileFacts(
        path=str(request.model),
        sha256=target.sha256,
        bytes=target.file.size,
        format=target.format,
        opsets={} if model is None else {o.domain or "ai.onnx": int(o.version) for o in model.opset_import},
        ir_version=None if model is None else int(model.ir_version),
        producer="" if model is None else f"{model.producer_name} {model.producer_version}".strip(),
        judge=str(target.facts.get("judge", target.format)),
        parameters=count,
        parameter_bytes=octets,
    )


def _weights(target: Target) -> tuple[int, int]:
    weights: list[Tensor] = list(getattr(target.file, "weights", []))
    return sum(w.numel() for w in weights), sum(w.numel() * w.element_size() for w in weights)


def _safety(request: AuditRequest, target: Target) -> SafetyFacts:
    if isinstance(target.file, OnnxFile):
        model: onnx.ModelProto = target.file.model
        code = "none: the file is data"
        if request.custom_ops:
            code += f"; its operators come from {', '.join(p.name for p in request.custom_ops)}, which you named"
        external = tuple(Path(name).name for name in sorted(target.file.external))
        return SafetyFacts(external_data=external, foreign_domains=tuple(foreign_domains(model)), code=code)
    if isinstance(target.file, RemoteFile):
        return SafetyFacts(code="none here: inputs are sent to where the model runs")
    if request.settings.trust_model:
        return SafetyFacts(code=f"{target.format} code that runs, and was not examined, as --trust-model says")
    return SafetyFacts(
        code=f"{target.format} code that runs; every operator that it calls is on the list of harmless ones"
    )


def _inputs(target: Target) -> tuple[InputFacts, ...]:
    fixed = {f.declared.name: f.text for f in target.file.fixed}
    declared = getattr(target.file, "inputs", [])
    found = [
        InputFacts(name=i.name, shape=i.shape, dtype=i.dtype, role="fixed", value=fixed[i.name])
        if i.name in fixed
        else InputFacts(name=i.name, shape=i.shape, dtype=i.dtype, role="attacked")
        for i in declared
        if i.name in fixed or i.name == target.spec.name
    ]
    if all(i.role == "fixed" for i in found):
        spec = target.spec
        found.insert(
            0, InputFacts(name=spec.name, shape=(spec.batch, *spec.file_shape), dtype=spec.dtype, role="attacked")
        )
    return tuple(found)


def _meaning(target: Target) -> MeaningFacts:
    spec = target.spec
    search: dict[str, Any] = target.facts.get("input search") or {"candidates": []}
    tokens = isinstance(target.file, OnnxFile) and target.file.takes_tokens
    return MeaningFacts(
        kind="tokens" if tokens else spec.kind,
        shape=spec.shape,
        layout=None if spec.layout == "none" else spec.layout,
        channels=spec.channels if spec.kind == "image" else None,
        domain=None if spec.ranges is not None else (spec.lo, spec.hi),
        scale=spec.scale,
        mean=spec.mean,
        std=spec.std,
        provenance=dict(spec.provenance),
        assumed=tuple(assumptions(target)),
        features={f.name: ", ".join(filter(None, feature_words(f.model_dump()))) for f in features(spec)},
        candidates={c["name"]: f"{c['right']} of {c['of']} right, {c['status']}" for c in search["candidates"]},
    )


def _outputs(target: Target) -> tuple[OutputFacts, ...]:
    chosen = target.choice.output.name
    return tuple(
        OutputFacts(
            name=output.name,
            shape=output.shape,
            dtype=output.dtype,
            chosen=output.name == chosen,
            reason=target.choice.why if output.name == chosen else None,
        )
        for output in target.file.outputs
    )


def _head(target: Target) -> HeadFacts:
    head = target.head
    return HeadFacts(
        kind=head.kind,
        classes=target.num_classes,
        class_names=None if target.class_names is None else tuple(target.class_names),
        peeled=head.peeled,
        before=head.tail.through if head.tail is not None and head.peeled else (),
    )


def _gradient(target: Target) -> GradientFacts:
    status = target.gradient
    return GradientFacts(available=status.available, method=status.method, reason=status.reason, cuts=status.cuts)


def _batch(target: Target, best: int) -> BatchFacts:
    return BatchFacts(
        declared=target.spec.batch,
        invariant=target.batch_invariant,
        deviation=_finite(target.batch_deviation),
        repeats=_finite(target.repeat_deviation),
        twin=target.gradient.batching,
        best=best,
    )


def _operators(target: Target) -> tuple[OperatorFacts, ...]:
    if isinstance(target.file, OnnxFile):
        return tuple(
            OperatorFacts(operator=u.operator, count=u.count, supported=u.supported, nodes=tuple(u.nodes))
            for u in operator_uses(target.file.model)
        )
    counts: dict[str, int] = target.facts.get("operators", {})
    return tuple(
        OperatorFacts(operator=name, count=count, supported=None)
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )

"""Loads and measures the models beside the one under audit; one that fails costs itself alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.auxiliary import SURROGATE
from robaudit.audit.plan.auxiliary import Auxiliary
from robaudit.audit.process.messages import unexpected
from robaudit.audit.session.feature_ranges import ranged
from robaudit.audit.session.loaded import Beside, Opened
from robaudit.audit.session.opening import allowed_by
from robaudit.data.ranges import Ranges
from robaudit.errors import FinalError, RobauditError, UsageError
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import Measured, measure, unmeasured
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.running.resized import resized
from robaudit.target.running.watch import Watch
from robaudit.target.target import Target, ready

__all__ = ["guarded", "load_beside", "measure_beside"]


def load_beside(
    request: AuditRequest, auxiliary: Auxiliary, loaded: Opened, ranges: Ranges | None, watch: Watch
) -> None:
    """Load an auxiliary model; one that fails, or does not fit the target, is a problem of its own."""
    target = loaded.opened
    try:
        with watch.auxiliary(auxiliary.key):
            other = _other(request, auxiliary.path, target, watch)
            if other.num_classes != target.num_classes:
                raise UsageError(f"it takes {_words(other)} classes and the model {_words(target)}; they must be equal")
            if other.spec.shape != target.spec.shape and not _resizes(request, auxiliary, other, target):
                hint = "; --resize-surrogates makes the model's images as large" if _images(other, target) else ""
                raise UsageError(
                    f"it takes {_words(other)} classes and the model {_words(target)}; they must be equal{hint}"
                )
            found = _with_gradient(unmeasured(other))
            found = found.reread(other.reread(spec=ranged(request, other.spec, ranges)))
        loaded.beside.append(Beside(auxiliary, found, watch, target.spec.shape))
    except FinalError:
        raise
    except Exception as error:  # odd files break runtimes in their own ways
        loaded.problems[auxiliary.key] = _problem_of(auxiliary, error)


def measure_beside(loaded: Opened, points: Tensor) -> None:
    """Measure the auxiliary models on samples [N, *shape] in u-space; one that fails is dropped."""

    def measured(model: Target) -> Target:
        seen = points.to(model.dtype)
        if model.spec.shape != loaded.opened.spec.shape:
            seen = resized(seen, (model.spec.shape[1], model.spec.shape[2]))
        return _with_gradient(measure(model.opened, seen))

    for other in list(loaded.beside):
        guarded(loaded, other, measured)


def _with_gradient(measured: Measured) -> Target:
    """An auxiliary model made ready.

    Raises:
        UsageError: it has no gradient.
    """
    model = ready(measured)
    if not model.gradient.available:
        raise UsageError(f"it has no gradient ({model.gradient.reason})")
    return model


def guarded(loaded: Opened, other: Beside, run: Callable[[Target], Target]) -> None:
    """Put what comes of an auxiliary model in its place, or drop it where that fails."""
    try:
        with other.at_work():
            loaded.beside[loaded.beside.index(other)] = replace(other, target=run(other.target))
    except FinalError:
        raise
    except Exception as error:  # odd files break runtimes in their own ways
        loaded.drop(other, _problem_of(other.auxiliary, error))


def _other(request: AuditRequest, path: Path, target: OpenedTarget, watch: Watch) -> OpenedTarget:
    """A model beside the target, read with its own metadata, else with the target's input spec."""
    return open_target(
        path,
        overrides=SpecOverrides(request.input_values, request.input_sources),
        device=request.settings.device,
        sample_shape=None if request.settings.resize_surrogates else target.spec.shape,
        allowed=allowed_by(request),
        watch=watch,
    )


def _images(other: OpenedTarget, target: OpenedTarget) -> bool:
    """Whether both take images of as many channels."""
    shapes = other.spec.shape, target.spec.shape
    return all(len(shape) == 3 for shape in shapes) and shapes[0][0] == shapes[1][0]


def _resizes(request: AuditRequest, auxiliary: Auxiliary, other: OpenedTarget, target: OpenedTarget) -> bool:
    """Whether images are made to fit the other model: a surrogate's alone, where the user said so."""
    return request.settings.resize_surrogates and auxiliary.role == SURROGATE and _images(other, target)


def _problem_of(auxiliary: Auxiliary, error: Exception) -> str:
    """Why it cannot be used, as a sentence, where it raised an error."""
    text = str(error) if isinstance(error, RobauditError) else unexpected(error).message
    return f"{auxiliary.name} cannot be used: {text}"


def _words(target: OpenedTarget) -> str:
    return f"{'x'.join(map(str, target.spec.shape))} to {target.num_classes}"

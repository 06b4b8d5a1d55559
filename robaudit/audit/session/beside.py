"""Loads and measures the models beside the one under audit; one that fails costs itself alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.auxiliary import STAND_IN
from robaudit.audit.plan.auxiliary import Auxiliary
from robaudit.audit.process import sandbox
from robaudit.audit.process.messages import unexpected
from robaudit.audit.session.feature_ranges import ranged
from robaudit.audit.session.loaded import Beside, Loaded
from robaudit.data.ranges import Ranges
from robaudit.errors import ChangedFileError, RobauditError, UsageError
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import load_target
from robaudit.target.running.watch import Watch
from robaudit.target.target import Target

__all__ = ["guarded", "load_beside", "measure_beside"]


def load_beside(
    request: AuditRequest, auxiliary: Auxiliary, loaded: Loaded, ranges: Ranges | None, watch: Watch
) -> None:
    """Load an auxiliary model; one that fails, or does not fit the target, is a problem of its own."""
    target = loaded.target
    try:
        with watch.auxiliary(auxiliary.key):
            other = _other(request, auxiliary.path, target, watch)
            if other.num_classes != target.num_classes or other.spec.shape != target.spec.shape:
                raise UsageError(f"it takes {_words(other)} classes and the model {_words(target)}; they must be equal")
            if other.gradient.available:
                other.calibrate()
            if not other.gradient.available:
                raise UsageError(f"it has no gradient ({other.gradient.reason})")
            other.spec = ranged(request, other.spec, ranges)
        found = Beside(auxiliary, other, watch)
        if auxiliary.role == STAND_IN:
            target.use_stand_in(other, found.attributed)
        loaded.beside.append(found)
    except ChangedFileError:
        raise
    except Exception as error:  # odd files break runtimes in their own ways
        loaded.problems[auxiliary.key] = _problem_of(auxiliary, error)


def measure_beside(loaded: Loaded, points: Tensor) -> None:
    """Measure and calibrate the auxiliary models on samples [N, *shape] in u-space; one that fails is dropped."""

    def measure(model: Target) -> None:
        model.measure(points.to(model.dtype))
        model.calibrate()
        if not model.gradient.available:
            raise UsageError(f"it has no gradient ({model.gradient.reason})")

    for other in list(loaded.beside):
        guarded(loaded, other, measure)


def guarded(loaded: Loaded, other: Beside, run: Callable[[Target], None]) -> None:
    """Do something with an auxiliary model, which is dropped where it fails."""
    try:
        with other.at_work():
            run(other.target)
    except ChangedFileError:
        raise
    except Exception as error:  # odd files break runtimes in their own ways
        loaded.drop(other, _problem_of(other.auxiliary, error))


def _other(request: AuditRequest, path: Path, target: Target, watch: Watch) -> Target:
    """A model beside the target, read with its own metadata, else with the target's input spec."""
    return load_target(
        path,
        overrides=SpecOverrides(request.input_values, request.input_sources),
        device=request.device,
        sample_shape=target.spec.shape,
        trust_model=request.trust_model,
        custom_ops=request.custom_ops,
        watch=watch,
        confined=not sandbox.is_free(),
    )


def _problem_of(auxiliary: Auxiliary, error: Exception) -> str:
    """Why it cannot be used, as a sentence, where it raised an error."""
    text = str(error) if isinstance(error, RobauditError) else unexpected(error).message
    return f"{auxiliary.name} cannot be used: {text}"


def _words(target: Target) -> str:
    return f"{'x'.join(map(str, target.spec.shape))} to {target.num_classes}"

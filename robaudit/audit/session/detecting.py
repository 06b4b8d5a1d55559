"""Fits the detector that is asked for, and sets its threshold, on samples apart from the audited ones."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.events import Phase
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.session import DetectorSet
from robaudit.audit.result.archive import add_array, artefact_names
from robaudit.audit.result.sections.target import Detecting
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.samples import Asking, answer_samples
from robaudit.audit.session.shared import Shared
from robaudit.detectors._views import FileView, TwinView, nodes_of
from robaudit.detectors.base import Arrays, Detector, Samples
from robaudit.detectors.guard import Guard, least_calibration, threshold_at
from robaudit.detectors.registry import fitting, parse_detector, words_of_detector
from robaudit.engine.guarding import Guarding
from robaudit.engine.oracle import Oracle
from robaudit.errors import UsageError
from robaudit.extensions import parameters_of
from robaudit.files import sha256_file
from robaudit.plural import counted

__all__ = ["DETECTOR", "fitted_to", "guarding"]

DETECTOR = "detector"
"""Key of the arrays in the evidence."""
MOST = 500
"""Samples that a threshold is set on."""
TRIED = 2
"""Samples that the gradient of the suspicion is tried at."""
CHUNK = 32
"""Samples asked together for their clean answers."""


def guarding(request: AuditRequest, loaded: Loaded, shared: Shared) -> Guarding | None:
    """The detector that is asked for, at work; None: there is none. It is fitted once in a run, and journaled.

    Raises:
        UsageError: it does not apply to the model, or the data hold too few samples apart from the audited ones.
    """
    settings, journal = request.settings, shared.journal
    if settings.detector is None:
        return None
    detector = parse_detector(settings.detector)
    if not loaded.target.repeats_itself:
        raise UsageError("--detector: the model answers otherwise each time; a detector needs a steady one beside it")
    target = loaded.target
    ready = fitting(detector, target.spec, trust=settings.trust_model)
    nodes = nodes_of(target, request.custom_ops)
    together, alone = (FileView(target, nodes, alone=how) for how in (False, True))
    slope = TwinView(target) if target.gradient.available else None
    kept = journal.last(DetectorSet)
    if kept is None:
        shared.observer(Phase("fitting", f"the detector {detector.id}"))
        apart = _apart(loaded, ready, settings.false_alarms, shared)
        fitted, count = _fitted(ready, apart, together, slope)
        calibrating = Guard(ready, fitted, np.inf, together, alone)
        suspicion = calibrating.suspicion(apart.points[count:], alone=True)
        threshold = threshold_at(suspicion, settings.false_alarms)
        if not np.isfinite(threshold):
            raise UsageError(
                f"the detector {detector.id} gives no number for too many clean samples to set a threshold"
            )
        tried = Guarding.tried(
            Guard(ready, fitted, threshold, together, alone),
            slope,
            torch.from_numpy(apart.points[:TRIED]).to(target.device, target.dtype),
        )
        section = _section(detector, settings.false_alarms, threshold, fitted, count, len(suspicion), tried)
        journal.append(DetectorSet(section=section), _packed(fitted))
        return tried
    guard = Guard(ready, _unpacked(journal, kept), kept.section.threshold, together, alone)
    return Guarding(guard, slope, differentiable=kept.section.differentiable and slope is not None)


def fitted_to(journal: Journal) -> dict[str, dict[str, torch.Tensor]]:
    """What the detector of a journal was fitted to, as an artefact of the evidence; nothing where it was to nothing."""
    kept = journal.last(DetectorSet)
    arrays = {} if kept is None else _unpacked(journal, kept)
    return {DETECTOR: {name: torch.from_numpy(array) for name, array in arrays.items()}} if arrays else {}


def _apart(loaded: Loaded, detector: Detector, false_alarms: float, shared: Shared) -> Samples:
    """Clean samples that are answered, apart from the audited ones; first those to fit on."""
    needed = least_calibration(false_alarms) + detector.least
    indices = loaded.others(detector.fit_samples + MOST)
    asking = Asking(own_reference=loaded.reference == "model", batch=CHUNK, care=shared.care, watch=shared.watch)
    points: list[NDArray[Any]] = []
    labels: list[int] = []
    if len(indices) >= needed:
        for record, _ in answer_samples(Oracle(loaded.target), loaded.data, indices, asking):
            label = record.prediction if record.label is None else record.label
            if record.prediction is not None and label is not None:
                points.append(loaded.data.load(record.index))
                labels.append(label)
    if len(points) < needed:
        raise UsageError(
            f"--detector: its threshold at {false_alarms:g} false alarms, and its fit, take at least "
            f"{counted(needed, 'sample')} apart from the audited ones, and the data hold {len(points) or len(indices)} "
            "(give more data, or audit fewer: --samples)"
        )
    return Samples(np.stack(points), np.array(labels, dtype=np.int64))


def _fitted(
    detector: Detector, apart: Samples, view: FileView, slope: TwinView | None
) -> tuple[dict[str, NDArray[Any]], int]:
    """What the detector is fitted to, and on how many of the samples: at most half, where they are few."""
    if not detector.fit_samples:
        return {}, 0
    count = max(detector.least, min(detector.fit_samples, len(apart.points) // 2))
    found = detector.fit(Samples(apart.points[:count], apart.labels[:count]), view, slope)
    return {name: np.asarray(array) for name, array in found.items()}, count


def _section(
    detector: Detector,
    false_alarms: float,
    threshold: float,
    fitted: Arrays,
    fitted_on: int,
    calibrated_on: int,
    tried: Guarding,
) -> Detecting:
    parameters = parameters_of(detector)
    summary = " ".join((type(detector).__doc__ or detector.id).split()).split(". ")[0].rstrip(".")
    return Detecting(
        id=detector.id,
        parameters=parameters,
        words=words_of_detector(detector),
        summary=summary,
        files={name: sha256_file(Path(parameters[name])) for name in detector.files},
        false_alarms=false_alarms,
        threshold=threshold,
        fitted_on=fitted_on,
        calibrated_on=calibrated_on,
        differentiable=tried.differentiable,
        arrays=artefact_names(DETECTOR, {name: array.shape for name, array in fitted.items()}),
    )


def _packed(fitted: Arrays) -> NDArray[Any] | None:
    """As the bytes of an ``.npz``; None of nothing."""
    if not fitted:
        return None
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in fitted.items():
            add_array(archive, name, array)
    return np.frombuffer(packed.getvalue(), dtype=np.uint8)


def _unpacked(journal: Journal, record: DetectorSet) -> dict[str, NDArray[Any]]:
    packed = journal.point(record)
    if packed is None:
        return {}
    with np.load(io.BytesIO(packed.tobytes()), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}

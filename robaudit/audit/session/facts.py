"""Journal records about the target, the data and the machine, in the result model's own terms."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Record
from robaudit.audit.process import sandbox
from robaudit.audit.session.loading import Loaded
from robaudit.defenses.base import Defense
from robaudit.defenses.registry import parameters_of, words_of
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.target import Target

__all__ = ["assumptions", "data_record", "environment_record", "features", "set_records", "target_record"]

PACKAGES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "scipy", "pillow")


def target_record(request: AuditRequest, loaded: Loaded) -> Record:
    """What the file is, as :class:`robaudit.audit.result.document.Target` fields."""
    target = loaded.target
    spec = target.spec
    return ({"defense": defense_record(spec.defense)} if isinstance(spec.defense, Defense) else {}) | {
        "kind": "target",
        "file": str(request.model),
        "sha256": target.sha256,
        "external": dict(target.file.external),
        "bytes": target.file.size,
        "format": target.format,
        "details": {**target.facts, "notes": list(target.notes)},
        "input": {
            "name": spec.name,
            "shape": [spec.batch, *spec.file_shape],
            "dtype": spec.dtype,
            "layout": None if spec.layout == "none" else spec.layout.upper(),
            "channels": spec.channels if spec.kind == "image" else None,
            "domain": None if spec.ranges is not None else [spec.lo, spec.hi],
            "features": features(spec),
            "mean": list(spec.mean) or None,
            "std": list(spec.std) or None,
            "scale": spec.scale,
            "provenance": dict(spec.provenance),
        },
        "outputs": output_records(target),
        "reading": reading_record(target),
        "fixed_inputs": fixed_records(target),
        "num_classes": target.num_classes,
        "head": target.head.kind,
        "gradient": {
            "available": target.gradient.available,
            "reason": target.gradient.reason,
            "source": _source(target),
            "method": _method(target),
            "cuts": list(target.gradient.cuts),
            "before": list(target.head.tail.through) if target.head.tail and target.head.peeled else [],
            "batching": target.gradient.batching,
        },
        "training": list(target.file.training),
        "fresh_state": request.interface.fresh_state,
        "batch_invariant": target.batch_invariant,
        "assumed": assumptions(target),
    }


def set_records(loaded: Loaded) -> list[Record]:
    """The perturbation sets as :class:`robaudit.audit.result.document.PerturbationSet` fields."""
    shape = loaded.target.spec.shape
    return [
        {
            "id": one.id,
            "words": one.words(shape),
            "free": one.measure(shape),
            "features": math.prod(shape),
            "sha256": one.digest(),
            "content": one.content(),
        }
        for one in loaded.sets
    ]


def features(spec: InputSpec) -> list[dict[str, Any]]:
    """Each feature with its range, as :class:`robaudit.audit.result.document.Feature` fields; none without ranges."""
    ranges = spec.ranges
    if ranges is None:
        return []
    rows = zip(ranges.names, ranges.low, ranges.high, ranges.immutable, ranges.integer, strict=True)
    return [dict(zip(("name", "low", "high", "immutable", "integer"), row, strict=True)) for row in rows]


def output_records(target: Target) -> list[Record]:
    """All outputs as :class:`robaudit.audit.result.document.Output` fields; the one that is judged says why."""
    chosen = target.choice
    return [
        {
            "name": output.name,
            "shape": list(output.shape or ()),
            "dtype": output.dtype,
            "scores": output.name == chosen.output.name or output.name in chosen.columns,
            "reason": chosen.why if output.name == chosen.output.name else None,
        }
        for output in target.file.outputs
    ]


def reading_record(target: Target) -> Record:
    """How the outputs are read, as :class:`robaudit.audit.result.document.Reading` fields."""
    choice = target.choice
    return {
        "label": None if choice.label is None else choice.label.name,
        "columns": list(choice.columns),
        "turned": target.head.turned,
        "pairs": target.head.pairs,
        "threshold": target.head.threshold,
        "signed": target.head.signed,
        "aside": None if choice.aside is None else choice.aside.name,
        "disputed": target.disputed,
    }


def fixed_records(target: Target) -> dict[str, str]:
    """Inputs that keep their values, as given."""
    return {fixed.declared.name: fixed.text for fixed in target.file.fixed}


def _source(target: Target) -> str | None:
    if not target.gradient.available:
        return None
    past = "" if target.spec.defense is None else ", past the defense by its differentiable stand-in"
    if target.stand_in is not None:
        return f"the stand-in {target.stand_in.name}{past}"
    return ("torch twin of the ONNX graph" if target.format == "onnx" else "the file's own module") + past


def _method(target: Target) -> str:
    exact = target.gradient.method == "exact"
    return "straight-through" if exact and target.spec.defense is not None else target.gradient.method


def assumptions(target: Target) -> list[str]:
    """What it means that fields of the input spec were found written nowhere, and what a search found: sentences."""
    fields = target.spec.assumed
    if not fields:
        return []
    if target.spec.ranges is not None and fields == ("domain",):
        guessed = target.spec.ranges.guessed
        whose = "the features' ranges" if target.spec.ranges.observed else f"the ranges of {', '.join(guessed)}"
        return [f"{whose} were taken from the data and are assumed (give --feature-ranges)"]
    flags = ", ".join(f"--{field}" for field in fields)
    sentences = [f"{', '.join(fields)} of the input found nowhere and assumed (give {flags})"]
    search = target.facts.get("input search")
    return sentences if search is None else [*sentences, str(search["sentence"])]


def defense_record(defense: Defense) -> Record:
    """What stands in front of the file, as :class:`robaudit.audit.result.document.Defended` fields."""
    parameters = parameters_of(defense)
    summary = (type(defense).__doc__ or defense.id).strip().split(". ")[0].rstrip(".")
    return {
        "id": defense.id,
        "parameters": parameters,
        "words": words_of(defense.id, parameters),
        "summary": " ".join(summary.split()),
    }


def data_record(request: AuditRequest, loaded: Loaded) -> Record:
    """What the samples are, as :class:`robaudit.audit.result.document.Data` fields."""
    data = loaded.data
    return {
        "kind": "data",
        "source": str(request.data) if request.data is not None else data.source,
        "data_kind": data.kind,
        "sha256": data.digest,
        "count": len(data),
        "asked": loaded.asked,
        "drawn": loaded.asked if request.settings.until_decided else len(loaded.drawn),
        "repeats": loaded.draw.repeats,
        "contradictions": loaded.draw.contradictions,
        "copies": {}
        if request.settings.until_decided
        else {str(k): v for k, v in loaded.draw.copies(loaded.asked).items()},
        "reference": loaded.reference,
        "classes": list(data.class_names) if data.class_names else None,
        "class_order": data.class_order,
        "notes": [*data.notes, *names_notes(request, loaded), *loaded.draw.notes(loaded.asked)],
        "ids": [data.ids[i] for i in loaded.drawn],
        "indices": loaded.drawn,
    }


def names_notes(request: AuditRequest, loaded: Loaded) -> list[str]:
    """Where the class names were found, and which were found and do not fit."""
    names = loaded.target.names
    if request.classes:
        return []
    used = [f"class names: {names.origin}"] if names.names is not None and loaded.data.class_names else []
    return used + ([] if names.note is None else [names.note])


def environment_record(target: Target) -> Record:
    """Where the audit runs, as :class:`robaudit.audit.result.document.Environment` fields."""
    details: dict[str, Any] = {"processors": os.cpu_count(), "torch_threads": torch.get_num_threads()}
    if target.device.type == "cuda":
        details["gpu"] = torch.cuda.get_device_name(target.device)
    if (state := sandbox.state()) is not None:
        details["sandbox"] = state
    return {
        "kind": "environment",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(target.device),
        "judge": str(target.facts.get("judge", target.format)),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "details": details,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

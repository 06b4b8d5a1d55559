"""Journal records about the target, the data and the machine, with the result's own sections."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.records.session import DataFacts, EnvironmentFacts, TargetFacts
from robaudit.audit.process import sandbox
from robaudit.audit.result.sections.run import Environment
from robaudit.audit.result.sections.target import (
    Data,
    Defended,
    DefensePart,
    Feature,
    Gradient,
    Output,
    Reading,
    Target,
)
from robaudit.audit.result.sections.target import InputSpec as InputSection
from robaudit.audit.result.sections.threat import PerturbationSet
from robaudit.audit.session.loaded import Loaded, Opened
from robaudit.defenses.base import Defense
from robaudit.defenses.registry import chained, parse_chain, words_of
from robaudit.extensions import parameters_of
from robaudit.files import sha256_file
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.measures.gradient import Method
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.target import Target as LoadedTarget

__all__ = ["assumptions", "data_facts", "environment_facts", "features", "set_sections", "target_facts"]

PACKAGES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "scipy", "pillow", "scikit-image")


def target_facts(request: AuditRequest, loaded: Loaded) -> TargetFacts:
    """What the file is, and what stands in front of it."""
    target = loaded.target
    section = Target(
        file=str(request.model),
        sha256=target.sha256,
        external=dict(target.file.external),
        bytes=target.file.size,
        format=target.format,
        details={**target.facts, "notes": list(target.notes)},
        input=_input(target.spec),
        outputs=_outputs(target),
        reading=_reading(target),
        fixed_inputs={fixed.declared.name: fixed.text for fixed in target.file.fixed},
        num_classes=target.num_classes,
        head=str(target.head.kind),
        gradient=_gradient(target),
        training=tuple(target.file.training),
        random="file" if target.is_random_itself else "defense" if target.is_random else None,
        fresh_state=request.interface.fresh_state,
        batch_invariant=target.batch_invariant,
        assumed=tuple(assumptions(target)),
    )
    return TargetFacts(section=section, defense=_defended(request))


def set_sections(loaded: Loaded) -> tuple[PerturbationSet, ...]:
    """The perturbation sets."""
    shape = loaded.target.spec.shape
    return tuple(
        PerturbationSet(
            id=one.id,
            words=one.words(shape),
            free=one.measure(shape),
            features=math.prod(shape),
            sha256=one.digest(),
            content=dict(one.content()),
        )
        for one in loaded.sets
    )


def _input(spec: InputSpec) -> InputSection:
    return InputSection(
        name=spec.name,
        shape=(spec.batch, *spec.file_shape),
        dtype=spec.dtype,
        layout=None if spec.layout == "none" else spec.layout.upper(),
        channels=spec.channels if spec.kind == "image" else None,
        domain=None if spec.ranges is not None else (spec.lo, spec.hi),
        features=features(spec),
        mean=tuple(spec.mean) or None,
        std=tuple(spec.std) or None,
        scale=spec.scale,
        provenance=dict(spec.provenance),
    )


def features(spec: InputSpec) -> tuple[Feature, ...]:
    """Each feature with its range; none without ranges."""
    ranges = spec.ranges
    if ranges is None:
        return ()
    rows = zip(ranges.names, ranges.low, ranges.high, ranges.immutable, ranges.integer, strict=True)
    return tuple(
        Feature(name=name, low=low, high=high, immutable=immutable, integer=integer)
        for name, low, high, immutable, integer in rows
    )


def _outputs(target: LoadedTarget) -> tuple[Output, ...]:
    """All outputs; the one that is judged says why."""
    chosen = target.choice
    return tuple(
        Output(
            name=output.name,
            shape=tuple(output.shape or ()),
            dtype=output.dtype,
            scores=output.name == chosen.output.name or output.name in chosen.columns,
            reason=chosen.why if output.name == chosen.output.name else None,
        )
        for output in target.file.outputs
    )


def _reading(target: LoadedTarget) -> Reading:
    """How the outputs are read."""
    choice = target.choice
    return Reading(
        label=None if choice.label is None else choice.label.name,
        columns=tuple(choice.columns),
        turned=target.head.turned,
        pairs=target.head.pairs,
        threshold=target.head.threshold,
        signed=target.head.signed,
        aside=None if choice.aside is None else choice.aside.name,
        disputed=target.disputed,
    )


def _gradient(target: LoadedTarget) -> Gradient:
    return Gradient(
        available=target.gradient.available,
        reason=target.gradient.reason,
        source=_source(target),
        method=_method(target),
        cuts=tuple(target.gradient.cuts),
        before=tuple(target.head.tail.through) if target.head.tail and target.head.peeled else (),
        batching=target.gradient.batching,
    )


def _source(target: LoadedTarget) -> str | None:
    if not target.gradient.available:
        return None
    count = len(target.spec.defenses)
    stand_ins = "defense by its differentiable stand-in" if count == 1 else "defenses by their differentiable stand-ins"
    past = f", past the {stand_ins}" if count else ""
    if target.stand_in is not None:
        return f"the stand-in {target.stand_in.name}{past}"
    return ("torch twin of the ONNX graph" if target.format == "onnx" else "the file's own module") + past


def _method(target: LoadedTarget) -> Method:
    exact = target.gradient.method == "exact"
    return "straight-through" if exact and target.spec.defenses else target.gradient.method


def assumptions(target: LoadedTarget) -> list[str]:
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


def _defended(request: AuditRequest) -> Defended | None:
    """What stands in front of the file."""
    if request.settings.defense is None:
        return None
    parts = [_part(one) for one in parse_chain(request.settings.defense)]
    if len(parts) == 1:
        return Defended(**dict(parts[0]))
    return Defended(
        id=chained([part.id for part in parts]),
        words=chained([part.words for part in parts]),
        summary=". Then: ".join(part.summary for part in parts),
        parts=tuple(parts),
    )


def _part(defense: Defense) -> DefensePart:
    parameters = parameters_of(defense)
    summary = (type(defense).__doc__ or defense.id).strip().split(". ")[0].rstrip(".")
    return DefensePart(
        id=defense.id,
        parameters=parameters,
        words=words_of(defense.id, parameters),
        summary=" ".join(summary.split()),
        files={name: sha256_file(Path(parameters[name])) for name in defense.files},
    )


def data_facts(request: AuditRequest, loaded: Opened) -> DataFacts:
    """What the samples are, and which were drawn."""
    data = loaded.data
    section = Data(
        source=str(request.data) if request.data is not None else data.source,
        kind=data.kind,
        sha256=data.digest,
        count=len(data),
        asked=loaded.asked,
        drawn=loaded.asked if request.settings.until_decided else len(loaded.drawn),
        repeats=loaded.draw.repeats,
        contradictions=loaded.draw.contradictions,
        reference=loaded.reference,
        classes=tuple(data.class_names) if data.class_names else None,
        class_order=data.class_order,
        notes=(*data.notes, *_names_notes(request, loaded), *loaded.draw.notes(loaded.asked)),
    )
    copies = {} if request.settings.until_decided else {str(k): v for k, v in loaded.draw.copies(loaded.asked).items()}
    ids = tuple(data.ids[i] for i in loaded.drawn)
    return DataFacts(section=section, ids=ids, indices=tuple(loaded.drawn), copies=copies)


def _names_notes(request: AuditRequest, loaded: Opened) -> list[str]:
    """Where the class names were found, and which were found and do not fit."""
    names = loaded.opened.names
    if request.classes:
        return []
    used = [f"class names: {names.origin}"] if names.names is not None and loaded.data.class_names else []
    return used + ([] if names.note is None else [names.note])


def environment_facts(target: OpenedTarget) -> EnvironmentFacts:
    """Where the audit runs."""
    details: dict[str, Any] = {"processors": os.cpu_count(), "torch_threads": torch.get_num_threads()}
    if target.device.type == "cuda":
        details["gpu"] = torch.cuda.get_device_name(target.device)
    if (state := sandbox.state()) is not None:
        details["sandbox"] = state
    section = Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        device=str(target.device),
        judge=str(target.facts.get("judge", target.format)),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        details=details,
    )
    return EnvironmentFacts(section=section)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

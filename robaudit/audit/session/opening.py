"""Opens the data of an audit, and fits them to the target."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.process import sandbox
from robaudit.audit.session.goal_choice import Chooser, chooser
from robaudit.data.images import bundled_dataset
from robaudit.data.noise import noise_dataset
from robaudit.data.reader import Fit, Source, Wanted
from robaudit.data.registry import open_source, reader_of
from robaudit.data.source import Dataset
from robaudit.errors import UsageError
from robaudit.target.load import Allowed
from robaudit.target.reading.interface import Interface
from robaudit.target.reading.opened import OpenedTarget

__all__ = ["allowed_by", "fitted_data", "goals_of", "interface_of", "open_data"]


def open_data(request: AuditRequest) -> Source | None:
    """The data, opened; None where none is named."""
    reader = None if request.data is None else reader_of(request.data)
    for flag, column in (
        ("--label-column", request.settings.label_column),
        ("--target-column", request.settings.target_column),
    ):
        if column is not None and (reader is None or not reader.columns):
            raise UsageError(
                f"{flag} is for tables and CSV files of labels; give --data FILE.csv, or --labels FILE.csv"
            )
    if request.data is None:
        return None
    wanted = Wanted(
        request.labels,
        request.settings.label_column,
        request.settings.target_column,
        labelled=request.reference == "labels",
        classes=request.classes,
    )
    return open_source(request.data, wanted)


def interface_of(request: AuditRequest, source: Source | None) -> Interface:
    """With the number of classes, which declared names or the labels of arrays tell."""
    if request.classes:
        return replace(request.interface, classes=len(request.classes))
    return replace(request.interface, classes=None if source is None else source.classes)


def allowed_by(request: AuditRequest, *, tokens: bool = False) -> Allowed:
    """What a model file may be and do; ``tokens``: it may take tokens."""
    return Allowed(request.settings.trust_model, tokens, request.custom_ops, confined=not sandbox.is_free())


def fitted_data(
    request: AuditRequest, target: OpenedTarget, source: Source | None, *, inspecting: bool
) -> tuple[Dataset, Literal["labels", "model"]]:
    """The samples as the target takes them, and what its answers are compared with; ``inspecting``: nothing will be
    attacked, so that noise stands in for missing data."""
    spec = target.spec
    if source is None:
        if inspecting and spec.kind != "image":
            return noise_dataset(spec.shape), "model"
        return bundled_dataset(spec.shape), "model"
    classes = list(request.classes) if request.classes else target.class_names
    if request.classes and len(request.classes) != target.num_classes:
        hint = "; does a background class come first?" if len(request.classes) + 1 == target.num_classes else ""
        raise UsageError(
            f"{len(request.classes)} class names were given and the model has {target.num_classes} classes{hint}"
        )
    data = source.samples(
        Fit(
            spec.shape,
            spec.lo,
            spec.hi,
            crop=spec.crop,
            interpolation=spec.interpolation,
            num_classes=target.num_classes,
            class_names=classes,
            ranges=spec.ranges,
        )
    )
    if request.reference == "labels" and data.labels is None:
        how = source.labels_go
        data.notes.append(f"no labels were found (give them {how}): the model's own answers are the reference")
    return data, "labels" if request.reference == "labels" and data.labels is not None else "model"


def goals_of(request: AuditRequest, target: OpenedTarget, data: Dataset, source: Source | None) -> Chooser | None:
    """What decides the classes that each sample is to be made to answer; None: any wrong one."""
    goal = parse_goal(request.profile.threat.goal)
    given = source.targets(data.ids) if goal.kind == "given" and source is not None else None
    return chooser(
        goal,
        seed=request.settings.seed,
        classes=target.num_classes,
        names=data.class_names or request.classes or target.class_names,
        given=given,
        no_scores=target.no_scores,
    )

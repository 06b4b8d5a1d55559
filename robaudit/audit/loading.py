"""Loads what a request names: the target, its data, the surrogates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robaudit.audit.gates import check_class_gates
from robaudit.audit.goals import Chooser, chooser, parse_goal
from robaudit.audit.journal import Record
from robaudit.audit.meaning import LOOKS, apply_meaning, distinct_samples, search_meaning
from robaudit.audit.request import AuditRequest
from robaudit.data.distinct import DistinctDraw
from robaudit.data.images import bundled_dataset
from robaudit.data.noise import noise_dataset
from robaudit.data.open import open_dataset, peek_classes, peek_shape
from robaudit.data.ranges import Ranges, observed_ranges, read_ranges
from robaudit.data.source import Dataset
from robaudit.data.table import Table, is_table, read_table
from robaudit.data.targets import read_targets
from robaudit.errors import RobauditError, UsageError
from robaudit.target.interface import Interface
from robaudit.target.load import load_target
from robaudit.target.meaning import ASSUMED, DEFAULT_WITH
from robaudit.target.spec import InputSpec, SpecOverrides
from robaudit.target.target import Target

__all__ = ["Loaded", "load"]

MEASURED = LOOKS[0]
"""Samples that models are measured on; those of the search's first look, so that both find the same."""


@dataclass(frozen=True)
class Loaded:
    """Everything an audit works on.

    Args:
        target: the file under audit.
        data: the samples.
        draw: distinct inputs of them in the order in which they are drawn, ``asked`` the most to take.
        drawn: indices of those audited, in data order; where the audit may end early, and to look at a file alone, of
            those asked for, equal inputs among them.
        reference: labels, or the model's own answers.
        surrogates: models for transfer attacks; ``surrogate_problems``: why some cannot serve.
        meanings: what a search found that their inputs mean, a record a model.
        goals: decides the classes that each sample is to be made to answer; None: any wrong one.
        order: all indices, the classes in turn; the target is measured on the first.
    """

    target: Target
    data: Dataset
    draw: DistinctDraw
    asked: int
    drawn: list[int]
    reference: Literal["labels", "model"]
    surrogates: list[Target]
    surrogate_problems: list[str]
    meanings: list[Record] = field(default_factory=list)
    goals: Chooser | None = None
    order: list[int] = field(default_factory=list)

    def measured(self) -> Tensor | None:
        """[N, *shape] the samples that models are measured on, on the target's device; None where none can be read."""
        found = [point for _, point in islice(distinct_samples(self.data, self.order), MEASURED)]
        if not found:
            return None
        return torch.from_numpy(np.stack(found)).to(self.target.device, self.target.dtype)


def load(
    request: AuditRequest,
    known: Mapping[str, Record] | None = None,
    told: Callable[[str], None] = lambda _: None,
    inspecting: bool = False,
) -> Loaded:
    """Load the target, then the data that fits it; search what the input means where that is open and labels are there.

    Args:
        request: what to audit.
        known: what an earlier session found that inputs mean, by the model's SHA-256.
        told: of a search, in words.
        inspecting: nothing will be attacked, so that token models load, and noise stands in for missing data.

    Raises:
        UsageError: any of it cannot be used, in one sentence.
    """
    overrides = SpecOverrides(request.input_values, request.input_sources)
    table = _table(request)
    shape = peek_shape(request.data) if request.data is not None else None
    shape = (len(table.names),) if table is not None else shape
    target = load_target(
        request.model,
        overrides=overrides,
        interface=_interface(request),
        device=request.device,
        sample_shape=shape,
        tokens=inspecting or table is not None or request.feature_ranges is not None,
        trust_model=request.trust_model,
        custom_ops=request.custom_ops,
    )
    target.compiles = request.compile
    table = table if table is None else table.fitted(target.spec.shape)
    ranges = _ranges(request, table, target.spec)
    target.spec = _ranged(request, target.spec, ranges)
    target.dtype = target.dtype if target.spec.ranges is None else torch.float64
    if not inspecting:
        _check_free(target.spec)
    data, reference = _data(request, target, table, inspecting)
    asked = min(request.profile.data.samples or len(data), len(data))
    draw = DistinctDraw(data, request.seed, target.fed, labels=reference == "labels")
    lazily = inspecting or request.until_decided
    drawn = data.draw(asked, request.seed) if lazily else sorted(draw.first(asked))
    goals = None if inspecting else _goals(request, target, data, table)
    check_class_gates(() if inspecting else request.profile.gates, data.class_names, target.num_classes)
    surrogates, problems = _surrogates(request, target)
    stand_ins = [] if request.stand_in is None else [_other(request, request.stand_in, target, "stand-in")]
    for model in (*surrogates, *stand_ins):
        model.spec = _ranged(request, model.spec, ranges)
    for model in stand_ins:
        target.use_stand_in(model)
    meanings = []
    order = data.spread(request.seed)
    for model in (target, *surrogates, *stand_ins) if reference == "labels" else ():
        meaning = (known or {}).get(model.sha256) or search_meaning(model, data, order, told)
        if meaning is not None:
            apply_meaning(model, meaning)
            meanings.append(meaning)
    return Loaded(target, data, draw, asked, drawn, reference, surrogates, problems, meanings, goals, order)


def _goals(request: AuditRequest, target: Target, data: Dataset, table: Table | None) -> Chooser | None:
    goal = parse_goal(request.profile.threat.goal)
    given = None
    if goal.kind == "given" and request.data is not None:
        columns = {"label_column": request.label_column, "target_column": request.target_column}
        given = read_targets(request.data, request.labels, table, data.ids, **columns)
    return chooser(
        goal,
        seed=request.seed,
        classes=target.num_classes,
        names=data.class_names or request.classes or target.class_names,
        given=given,
        no_scores=target.no_scores,
    )


def _table(request: AuditRequest) -> Table | None:
    """The data, where that is a table."""
    if request.data is not None and is_table(request.data):
        return read_table(
            request.data,
            request.label_column,
            labelled=request.reference == "labels",
            target_column=request.target_column,
            declared=request.classes,
        )
    for flag, column in (("--label-column", request.label_column), ("--target-column", request.target_column)):
        if column is not None and (request.data is None or not request.data.is_dir()):
            raise UsageError(
                f"{flag} is for tables and CSV files of labels; give --data FILE.csv, or --labels FILE.csv"
            )
    return None


def _ranges(request: AuditRequest, table: Table | None, spec: InputSpec) -> Ranges | None:
    """Of each feature: as declared, else as observed, unless one domain for all was declared."""
    if request.feature_ranges is not None:
        if "domain" in request.input_values:
            raise UsageError("--domain gives one range to all features and --feature-ranges each its own; give one")
        if spec.kind != "vector" or request.data is None:
            raise UsageError("--feature-ranges is for tables; give --data FILE.csv")
        ranges = read_ranges(request.feature_ranges)
        if table is not None:
            return _whole(ranges.ordered(table.names, str(table.path)), spec)
        if spec.shape != (len(ranges),):
            words = "x".join(map(str, spec.shape))
            raise UsageError(f"{request.feature_ranges} has {len(ranges)} ranges, and the model takes {words} features")
        return _whole(ranges, spec)
    declared = not spec.provenance.get("domain", ASSUMED).startswith((ASSUMED, DEFAULT_WITH))
    if table is None or spec.kind != "vector" or declared:
        return None
    return _whole(observed_ranges(table.names, table.values, str(table.path)), spec)


def _whole(ranges: Ranges, spec: InputSpec) -> Ranges:
    """In a file that takes whole numbers every feature is one."""
    return replace(ranges, integer=(True,) * len(ranges)) if spec.integer else ranges


def _ranged(request: AuditRequest, spec: InputSpec, ranges: Ranges | None) -> InputSpec:
    """The spec with the ranges; as it was where the shapes do not fit, which opening the data says in words."""
    if ranges is None or spec.shape != (len(ranges),):
        return spec
    if ranges.observed:
        return spec.with_ranges(ranges, f"{ASSUMED}: lowest and highest of the data")
    return spec.with_ranges(ranges, request.sources.get("feature_ranges", "flag --feature-ranges"))


def _check_free(spec: InputSpec) -> None:
    """Refuse features of which none can change, where every model would stand.

    Raises:
        UsageError: there is nothing to attack.
    """
    if spec.ranges is None or len(spec.fixed) < len(spec.ranges):
        return
    if spec.ranges.observed:
        raise UsageError(
            "each feature has one value throughout the data, from which the ranges are taken, so that there is nothing "
            "to attack; give --feature-ranges"
        )
    raise UsageError("the feature ranges leave nothing to attack: every feature is immutable, or low equals high")


def _interface(request: AuditRequest) -> Interface:
    """With the number of classes, which declared names or the labels of arrays tell."""
    if request.classes:
        return replace(request.interface, classes=len(request.classes))
    return replace(request.interface, classes=peek_classes(request.data) if request.data is not None else None)


def _data(
    request: AuditRequest, target: Target, table: Table | None, inspecting: bool
) -> tuple[Dataset, Literal["labels", "model"]]:
    spec = target.spec
    if request.data is None:
        if inspecting and spec.kind != "image":
            return noise_dataset(spec.shape), "model"
        return bundled_dataset(spec.shape), "model"
    classes = list(request.classes) if request.classes else target.class_names
    if request.classes and len(request.classes) != target.num_classes:
        hint = "; does a background class come first?" if len(request.classes) + 1 == target.num_classes else ""
        raise UsageError(
            f"{len(request.classes)} class names were given and the model has {target.num_classes} classes{hint}"
        )
    data = open_dataset(
        request.data,
        shape=spec.shape,
        lo=spec.lo,
        hi=spec.hi,
        ranges=spec.ranges,
        table=table,
        crop=spec.crop,
        interpolation=spec.interpolation,
        num_classes=target.num_classes,
        class_names=classes,
        labels=request.labels,
        label_column=request.label_column,
        labelled=request.reference == "labels",
    )
    if request.reference == "model":
        return data, "model"
    if data.labels is None:
        how = "give them with --labels FILE.csv" if request.data.is_dir() else "store them as y"
        raise UsageError(
            f"{request.data} has no labels; {how}, or use --labels model to measure the stability of the model's own "
            "answers"
        )
    return data, "labels"


def _surrogates(request: AuditRequest, target: Target) -> tuple[list[Target], list[str]]:
    """Surrogates that fit the target, and why others do not."""
    found: list[Target] = []
    problems: list[str] = []
    for path in request.surrogates:
        surrogate = _other(request, path, target, "surrogate")
        if surrogate.gradient.available:
            surrogate.calibrate()
        problem = _misfit(path, surrogate, target)
        if problem:
            problems.append(problem)
        else:
            found.append(surrogate)
    return found, problems


def _other(request: AuditRequest, path: Path, target: Target, what: str) -> Target:
    """A model beside the target, read with its own metadata, else with the target's input spec."""
    try:
        return load_target(
            path,
            overrides=SpecOverrides(request.input_values, request.input_sources),
            device=request.device,
            sample_shape=target.spec.shape,
            trust_model=request.trust_model,
            custom_ops=request.custom_ops,
        )
    except UsageError:
        raise
    except RobauditError as error:
        raise UsageError(f"the {what} {path} cannot be loaded: {error}") from error


def _misfit(path: Path, surrogate: Target, target: Target) -> str | None:
    if surrogate.num_classes != target.num_classes or surrogate.spec.shape != target.spec.shape:
        return (
            f"the surrogate {path.name} takes {_words(surrogate)} classes and the target {_words(target)}; "
            "it is left out"
        )
    if not surrogate.gradient.available:
        return f"the surrogate {path.name} has no gradient ({surrogate.gradient.reason}); it is left out"
    return None


def _words(target: Target) -> str:
    return f"{'x'.join(map(str, target.spec.shape))} to {target.num_classes}"

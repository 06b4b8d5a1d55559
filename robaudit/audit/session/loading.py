"""Loads what a request names: the target, its data, the surrogates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.sets import fitted_sets
from robaudit.audit.journal.auxiliary import STAND_IN, SURROGATE
from robaudit.audit.journal.journal import Record
from robaudit.audit.plan.auxiliary import Auxiliary, auxiliaries
from robaudit.audit.process import sandbox
from robaudit.audit.process.messages import unexpected
from robaudit.audit.session.defending import defended
from robaudit.audit.session.feature_ranges import check_free, feature_ranges, ranged
from robaudit.audit.session.goal_choice import Chooser, chooser
from robaudit.audit.session.meaning_search import LOOKS, apply_meaning, distinct_samples, search_meaning
from robaudit.audit.verdict.gates import check_class_gates
from robaudit.data.distinct import DistinctDraw
from robaudit.data.images import bundled_dataset
from robaudit.data.noise import noise_dataset
from robaudit.data.ranges import Ranges
from robaudit.data.reader import Fit, Source, Wanted
from robaudit.data.registry import open_source, reader_of
from robaudit.data.source import Dataset
from robaudit.engine.models import Differentiable
from robaudit.errors import FinalError, RobauditError, UsageError
from robaudit.target.files.remote.answers import Answers
from robaudit.target.inputs.discover import FreeSizeError
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import load_target
from robaudit.target.reading.interface import Interface
from robaudit.target.running.attributed import Attributed
from robaudit.target.running.watch import UNWATCHED, Watch
from robaudit.target.target import Target
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["Beside", "Loaded", "load", "measure_beside"]

MEASURED = LOOKS[0]
"""Samples that models are measured on; those of the search's first look, so that both find the same."""


@dataclass(frozen=True)
class Beside:
    """A loaded auxiliary model.

    Args:
        auxiliary: which one it is.
        target: the same loaded.
        watch: told that it is at work, by those who ask it by other ways than ``attributed``.
    """

    auxiliary: Auxiliary
    target: Target
    watch: Watch

    @property
    def attributed(self) -> Differentiable:
        """As an attack asks it."""
        return Attributed(self.target, self.watch, self.auxiliary.key)

    def at_work(self) -> AbstractContextManager[None]:
        """What follows is its work."""
        return self.watch.auxiliary(self.auxiliary.key)


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
        beside: surrogates, and a stand-in, that can be used; ``problems``: why others cannot, by their keys.
        meanings: what a search found that their inputs mean, a record a model.
        goals: decides the classes that each sample is to be made to answer; None: any wrong one.
        order: all indices, the classes in turn; the target is measured on the first.
        sets: what may be changed beside the ball, fitted to the input.
    """

    target: Target
    data: Dataset
    draw: DistinctDraw
    asked: int
    drawn: list[int]
    reference: Literal["labels", "model"]
    beside: list[Beside]
    problems: dict[str, str]
    meanings: list[Record] = field(default_factory=list)
    goals: Chooser | None = None
    order: list[int] = field(default_factory=list)
    sets: tuple[PerturbationSet, ...] = ()
    _others: list[int] = field(default_factory=list)

    @property
    def surrogates(self) -> list[Differentiable]:
        """The models for transfer attacks."""
        return [other.attributed for other in self.beside if other.auxiliary.role == SURROGATE]

    @property
    def misfits(self) -> list[str]:
        """Why surrogates cannot be used."""
        return [problem for key, problem in self.problems.items() if key.startswith(SURROGATE)]

    def others(self, count: int) -> list[int]:
        """The first so many distinct inputs after those that may be audited, fewer where the data hold no more."""
        if self.asked >= len(self.data):
            return []
        if count > len(self._others):
            # a draw of its own, as what was passed over for the audited samples is reported
            draw = DistinctDraw(self.data, self.draw.seed, self.target.fed, labels=False)
            self._others[:] = draw.first(self.asked + count)[self.asked :]
        return self._others[:count]

    def drop(self, other: Beside, problem: str) -> None:
        """Go on without an auxiliary model."""
        self.beside.remove(other)
        self.problems[other.auxiliary.key] = problem
        if other.auxiliary.role == STAND_IN:
            self.target.use_no_gradient(problem)

    def measured(self) -> Tensor | None:
        """[N, *shape] the samples that models are measured on, on the target's device; None where none can be read."""
        found = [point for _, point in self._measured]
        if not found:
            return None
        return torch.from_numpy(np.stack(found)).to(self.target.device, self.target.dtype)

    def measured_on(self) -> list[int]:
        """Their indices."""
        return [index for index, _ in self._measured]

    @cached_property
    def _measured(self) -> list[tuple[int, NDArray[Any]]]:
        return list(islice(distinct_samples(self.data, self.order), MEASURED))


def load(
    request: AuditRequest,
    known: Mapping[str, Record] | None = None,
    told: Callable[[str], None] = lambda _: None,
    inspecting: bool = False,
    watch: Watch = UNWATCHED,
    lost: Collection[int] = (),
    unusable: Mapping[str, str] | None = None,
    loading: Callable[[str], None] = lambda _: None,
    answers: Answers | None = None,
) -> Loaded:
    """Load the target, then the data that fits it; search what the input means where that is open and labels are there.

    Args:
        request: what to audit.
        known: what an earlier session found that inputs mean, by the model's SHA-256.
        told: of a search, in words.
        inspecting: nothing will be attacked, so that token models load, and noise stands in for missing data.
        watch: notified of each call of a model.
        lost: samples that the model does not answer, which it is not measured on.
        unusable: auxiliary models that are not to be loaded, by their keys, and why.
        loading: told the name of each auxiliary model before it is loaded.
        answers: where all that an endpoint answers is kept.

    Raises:
        UsageError: the target, the data, or what is said of them cannot be used, in one sentence.
    """
    overrides = SpecOverrides(request.input_values, request.input_sources)
    source = _source(request)
    table = None if source is None else source.table
    unlabelled = None if source is None else source.doubt
    shape = None if source is None else source.shape
    opened = partial(
        load_target,
        request.model,
        overrides=overrides,
        interface=_interface(request, source),
        device=request.device,
        tokens=inspecting or table is not None or request.feature_ranges is not None,
        trust_model=request.trust_model,
        custom_ops=request.custom_ops,
        watch=watch,
        confined=not sandbox.is_free(),
        answers=answers,
    )
    try:
        target = opened(sample_shape=shape)
    except FreeSizeError:
        size = None if source is None else source.size()
        if size is None:
            raise
        values, sources = {**overrides.values, "resize": size}, {**overrides.sources, "resize": "data"}
        target = opened(sample_shape=shape, overrides=SpecOverrides(values, sources))
    except UsageError:
        if unlabelled is not None and table is not None and len(table.names) > 1:
            opened(sample_shape=(len(table.names) - 1,))  # fails in its own words, unless one column was too many
            raise unlabelled from None
        raise
    target.compiles = request.settings.compile
    table = table if table is None else table.fitted(target.spec.shape)
    if unlabelled is not None and table is not None and target.spec.shape != (len(table.names),):
        raise unlabelled  # one column too many, which may be the labels
    ranges = feature_ranges(request, source, table, target.spec)
    target.spec = defended(request, ranged(request, target.spec, ranges))
    target.dtype = target.dtype if target.spec.ranges is None else torch.float64
    if not inspecting:
        check_free(target.spec)
    sets = () if inspecting else fitted_sets(request.profile, target.spec)
    data, reference = _data(request, target, source, inspecting)
    watch.call_samples(data.ids.__getitem__)
    asked = min(request.profile.data.samples or len(data), len(data))
    draw = DistinctDraw(data, request.seed, target.fed, labels=reference == "labels")
    lazily = inspecting or request.until_decided
    drawn = data.draw(asked, request.seed) if lazily else sorted(draw.first(asked))
    goals = None if inspecting else _goals(request, target, data, source)
    check_class_gates(() if inspecting else request.profile.gates, data.class_names, target.num_classes)
    order = [index for index in data.spread(request.seed) if index not in lost]
    loaded = Loaded(
        target, data, draw, asked, drawn, reference, [], dict(unusable or {}), goals=goals, order=order, sets=sets
    )
    for auxiliary in auxiliaries(request):
        if inspecting and auxiliary.role == SURROGATE:  # nothing is attacked
            continue
        if auxiliary.key not in loaded.problems:
            loading(auxiliary.path.name)
            _load_beside(request, auxiliary, loaded, ranges, watch)
        if auxiliary.role == STAND_IN and auxiliary.key in loaded.problems:
            target.use_no_gradient(loaded.problems[auxiliary.key])

    def search(model: Target) -> None:
        meaning = (known or {}).get(model.sha256) or search_meaning(model, data, order, told, watch)
        if meaning is not None:
            apply_meaning(model, meaning)
            loaded.meanings.append(meaning)

    if reference == "labels":
        search(target)
        for other in list(loaded.beside):
            _guarded(loaded, other, search)
    return loaded


def measure_beside(loaded: Loaded, points: Tensor) -> None:
    """Measure and calibrate the auxiliary models on samples [N, *shape] in u-space; one that fails is dropped."""

    def measure(model: Target) -> None:
        model.measure(points.to(model.dtype))
        model.calibrate()
        if not model.gradient.available:
            raise UsageError(f"it has no gradient ({model.gradient.reason})")

    for other in list(loaded.beside):
        _guarded(loaded, other, measure)


def _guarded(loaded: Loaded, other: Beside, run: Callable[[Target], None]) -> None:
    """Do something with an auxiliary model, which is dropped where it fails."""
    try:
        with other.at_work():
            run(other.target)
    except FinalError:
        raise
    except Exception as error:  # odd files break runtimes in their own ways
        loaded.drop(other, _problem_of(other.auxiliary, error))


def _goals(request: AuditRequest, target: Target, data: Dataset, source: Source | None) -> Chooser | None:
    goal = parse_goal(request.profile.threat.goal)
    given = source.targets(data.ids) if goal.kind == "given" and source is not None else None
    return chooser(
        goal,
        seed=request.seed,
        classes=target.num_classes,
        names=data.class_names or request.classes or target.class_names,
        given=given,
        no_scores=target.no_scores,
    )


def _source(request: AuditRequest) -> Source | None:
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


def _interface(request: AuditRequest, source: Source | None) -> Interface:
    """With the number of classes, which declared names or the labels of arrays tell."""
    if request.classes:
        return replace(request.interface, classes=len(request.classes))
    return replace(request.interface, classes=None if source is None else source.classes)


def _data(
    request: AuditRequest, target: Target, source: Source | None, inspecting: bool
) -> tuple[Dataset, Literal["labels", "model"]]:
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


def _load_beside(
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
    except FinalError:
        raise
    except Exception as error:  # odd files break runtimes in their own ways
        loaded.problems[auxiliary.key] = _problem_of(auxiliary, error)


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

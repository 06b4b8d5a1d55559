"""Loads what a request names: the target, its data, the models beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.sets import fitted_sets
from robaudit.audit.journal.auxiliary import SURROGATE
from robaudit.audit.journal.records.session import MeaningFound
from robaudit.audit.plan.auxiliary import auxiliaries, surrogate_files
from robaudit.audit.session.beside import guarded, load_beside
from robaudit.audit.session.defending import defended
from robaudit.audit.session.feature_ranges import check_free, feature_ranges, ranged
from robaudit.audit.session.loaded import Opened
from robaudit.audit.session.meaning_search import search_meaning, with_meaning
from robaudit.audit.session.opening import allowed_by, fitted_data, goals_of, interface_of, open_data
from robaudit.audit.verdict.gates import check_class_gates
from robaudit.data.distinct import DistinctDraw
from robaudit.data.reader import Source
from robaudit.data.table import Table
from robaudit.errors import UsageError
from robaudit.target.files.remote.answers import Answers
from robaudit.target.inputs.discover import FreeSizeError
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["Before", "Told", "load"]


@dataclass(frozen=True)
class Before:
    """What is known before anything is loaded, as processes and sessions before this one found.

    Args:
        meanings: what searches found that inputs mean, by the model's SHA-256.
        lost: samples that the model does not answer, which it is not measured on.
        unusable: auxiliary models that are not to be loaded, by their keys, and why.
        answers: of an endpoint, and where its next ones are kept; None where the model is a file.
    """

    meanings: Mapping[str, MeaningFound] = field(default_factory=dict)
    lost: Collection[int] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    answers: Answers | None = None


@dataclass(frozen=True)
class Told:
    """Who is told of what is being done.

    Args:
        searching: what the input means, in words.
        loading: an auxiliary model, by name.
    """

    searching: Callable[[str], None] = lambda _: None
    loading: Callable[[str], None] = lambda _: None


NOTHING, NOBODY = Before(), Told()


def load(
    request: AuditRequest,
    *,
    inspecting: bool = False,
    before: Before = NOTHING,
    told: Told = NOBODY,
    watch: Watch = UNWATCHED,
) -> Opened:
    """Load the target, then the data that fits it; search what the input means where that is open and labels are there.

    Args:
        request: what to audit.
        inspecting: nothing will be attacked, so that token models load, and noise stands in for missing data.
        before: what is known already.
        told: who hears of progress.
        watch: notified of each call of a model.

    Raises:
        UsageError: the target, the data, or what is said of them cannot be used, in one sentence.
    """
    source = open_data(request)
    target, table = _load_target(request, source, before.answers, inspecting=inspecting, watch=watch)
    ranges = feature_ranges(request, source, table, target.spec)
    target = target.reread(spec=defended(request, ranged(request, target.spec, ranges)))
    target = target if target.spec.ranges is None else replace(target, dtype=torch.float64)
    if not inspecting:
        check_free(target.spec)
    loaded = _with_data(request, target, source, before, inspecting=inspecting, watch=watch)
    for auxiliary in auxiliaries(request):
        if inspecting and auxiliary.role == SURROGATE:  # nothing is attacked
            continue
        if auxiliary.key not in loaded.problems:
            told.loading(auxiliary.path.name)
            load_beside(request, auxiliary, loaded, ranges, watch)
    if loaded.reference == "labels":
        searched = partial(_searched, loaded, before, told, watch)
        loaded = replace(loaded, opened=searched(target))
        for other in list(loaded.beside):
            guarded(loaded, other, lambda model: model.reread(searched(model.opened)))
    return loaded


def _load_target(
    request: AuditRequest, source: Source | None, answers: Answers | None, *, inspecting: bool, watch: Watch
) -> tuple[OpenedTarget, Table | None]:
    """The target, and the rows of a table with the columns that it takes."""
    overrides = SpecOverrides(request.input_values, request.input_sources)
    table = None if source is None else source.table
    unlabelled = None if source is None else source.doubt
    shape = None if source is None else source.shape
    tokens = inspecting or table is not None or request.feature_ranges is not None
    opened = partial(
        open_target,
        request.model,
        overrides=overrides,
        interface=interface_of(request, source),
        device=request.settings.device,
        allowed=replace(allowed_by(request, tokens=tokens), answers=answers),
        watch=watch,
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
    table = table if table is None else table.fitted(target.spec.shape)
    if unlabelled is not None and table is not None and target.spec.shape != (len(table.names),):
        raise unlabelled  # one column too many, which may be the labels
    return target, table


def _with_data(
    request: AuditRequest,
    target: OpenedTarget,
    source: Source | None,
    before: Before,
    *,
    inspecting: bool,
    watch: Watch,
) -> Opened:
    """The target with its samples, those that are drawn among them, and what they are to be made to answer."""
    sets = () if inspecting else fitted_sets(request.profile, target.spec)
    data, reference = fitted_data(request, target, source, inspecting=inspecting)
    watch.call_samples(data.ids.__getitem__)
    asked = min(request.profile.data.samples or len(data), len(data))
    draw = DistinctDraw(data, request.settings.seed, target.fed, labels=reference == "labels")
    lazily = inspecting or request.settings.until_decided
    drawn = data.draw(asked, request.settings.seed) if lazily else sorted(draw.first(asked))
    goals = None if inspecting else goals_of(request, target, data, source)
    check_class_gates(() if inspecting else request.profile.gates, data.class_names, target.num_classes)
    order = [index for index in data.spread(request.settings.seed) if index not in before.lost]
    return Opened(
        target,
        data,
        draw,
        asked,
        drawn,
        reference,
        [],
        dict(before.unusable),
        goals=goals,
        order=order,
        sets=sets,
        compiles=request.settings.compile,
        surrogate_files=surrogate_files(request),
    )


def _searched(loaded: Opened, before: Before, told: Told, watch: Watch, model: OpenedTarget) -> OpenedTarget:
    """The model as a search found that its input is to be read, where that is open; one search for all sessions."""
    known = before.meanings.get(model.sha256)
    meaning = known or search_meaning(model, loaded.data, loaded.order, told.searching, watch)
    if meaning is None:
        return model
    loaded.meanings.append(meaning)
    return with_meaning(model, meaning)

"""``robaudit scan --dry-run``: what would be done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from robaudit.audit.process.persist import NOTHING, GivenUp
from robaudit.plural import counted, part_of
from robaudit.target.running.watch import UNWATCHED, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from robaudit.attacks.cost import Cost
    from robaudit.audit.config.profile import Profile
    from robaudit.audit.config.request import AuditRequest
    from robaudit.audit.session.loaded import Loaded

__all__ = ["preview"]


def preview(request: AuditRequest, folder: Path | None, *, fresh: bool, reports: Sequence[str] = ()) -> None:
    """Load model and data in a process of their own, and print the plan without attacking.

    Args:
        request: what would be audited.
        folder: the run directory that would be used; None: the default one.
        fresh: what it holds would be discarded.
        reports: files that would be written.

    Raises:
        UsageError: as the audit itself would; nothing is printed then.
        AuditError: likewise.
    """
    from robaudit.audit.plan.validate import validate
    from robaudit.audit.process.persist import persistently
    from robaudit.audit.run.identity import folder_of
    from robaudit.audit.run.limits import confinement_of
    from robaudit.audit.run.rundir import check_apart, claimable
    from robaudit.cli.output import model_says, write_lines

    validate(request)
    folder, identity = folder_of(request, folder)
    request = replace(request, files=identity.files)
    check_apart(folder, reports, request.data)
    claimable(folder, identity.run_id, fresh=fresh)
    write_lines(
        persistently(outline, request, confinement=confinement_of(request), about=request.model, told=model_says)
    )


def outline(request: AuditRequest, given_up: GivenUp = NOTHING, watch: Watch = UNWATCHED) -> list[str]:
    """What :func:`preview` prints, line by line."""
    from robaudit.audit.plan.auxiliary import given_up_names
    from robaudit.audit.plan.validate import validate_loaded
    from robaudit.audit.session.endpoint import answers_of
    from robaudit.audit.session.loading import Before, load
    from robaudit.audit.session.preparing import completed
    from robaudit.audit.session.sections import data_facts, set_sections, target_facts
    from robaudit.files import held_to
    from robaudit.target.reading.measured import unmeasured

    names = given_up_names(request, given_up.auxiliary)
    answers = answers_of(request)
    before = Before(lost=given_up.samples, unusable=names, answers=answers)
    with held_to(request.files):
        opened = load(request, before=before, watch=watch)
    with watch.about("its gradient was tried"):
        loaded = opened.loaded(completed(opened, unmeasured(opened.opened)))
    facts, source = target_facts(request, loaded), data_facts(request, loaded)
    validate_loaded(request, facts.section, source.section, set_sections(loaded))
    return [
        *_what_is_read(request, loaded),
        *_threat(request, loaded),
        *_attacks(request, loaded),
        *_certificates(request.profile),
        *([bill] if answers is not None and (bill := answers.bill()) else []),
        "nothing was attacked (--dry-run)",
    ]


def _what_is_read(request: AuditRequest, loaded: Loaded) -> Iterator[str]:
    """Model, output and data."""
    from robaudit.audit.session.sections import assumptions
    from robaudit.report.words import plain
    from robaudit.stats.looks import design

    target = loaded.target
    yield f"model    {plain(target.path)}, {target.format}, {target.num_classes} classes"
    yield f"output   {plain(target.choice.output.name)}: {plain(target.choice.why)}"
    yield f"data     {plain(loaded.data.source)}: {part_of(len(loaded.drawn), len(loaded.data), 'sample')}"
    if request.settings.until_decided:
        sizes = ", ".join(map(str, design(loaded.asked).sizes))
        yield f"looks    at {sizes} samples, until the gates are decided"
    for note in (*loaded.data.notes, *loaded.draw.notes(loaded.asked)):
        yield f"         {plain(note)}"
    for problem in loaded.problems.values():
        yield f"unused   {plain(problem)}"
    for sentence in assumptions(target):
        yield f"assumed  {sentence}"


def _threat(request: AuditRequest, loaded: Loaded) -> Iterator[str]:
    """Balls, goal, perturbation sets and profile."""
    from robaudit.audit.config.goals import parse_goal
    from robaudit.report.words import plain

    threat, target = request.profile.threat, loaded.target
    default = " (default)" if request.eps_default else ""
    goal = parse_goal(threat.goal)
    names = loaded.data.class_names or request.classes or target.class_names
    told = f": to be answered with {goal.said(names)}" if goal.targeted else ""
    yield f"threat   {threat.norm}, eps {threat.eps}{default}, {plain(threat.goal)}{plain(told)}"
    for other in threat.also:
        yield f"         {other.norm}, eps {other.eps}"
    for one in loaded.sets:
        yield f"         {plain(one.words(target.spec.shape))}"
        yield from (f"         {plain(note)}" for note in one.notes(target.spec.shape))
    yield f"profile  {plain(request.profile.name)}, seed {request.settings.seed}"


def _attacks(request: AuditRequest, loaded: Loaded) -> Iterator[str]:
    """Each attack with what it costs at most."""
    from robaudit.attacks.fitted import FittedSearch
    from robaudit.audit.config.goals import parse_goal
    from robaudit.audit.plan.costs import most_of_fit, most_of_sample
    from robaudit.audit.plan.fronts import plan_fronts
    from robaudit.report.words import plain
    from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint

    target = loaded.target
    classes, shape = target.num_classes, target.spec.shape
    fronts = plan_fronts(request.profile, loaded.traits)
    each = "sample and class" if parse_goal(request.profile.threat.goal).kind == "every" else "sample"
    queries = 0
    for of, planned in ((front, planned) for front in fronts for planned in front.attacks()):
        reason = f": {planned.reason}" if planned.reason else ""
        parameters = ", ".join(f"{k} {v}" for k, v in planned.parameters.items() if v is not None)
        yield f"  {planned.key:<21} {planned.status}{plain(reason)}   {plain(parameters)}"
        if planned.status == "ready":
            most = most_of_sample(of, planned, classes, shape)
            queries += 0 if most is None else most.queries * len(loaded.drawn)
            yield f"{'':24}at most, a {each}: {_cost(most)}"
            if isinstance(planned.attack, FittedSearch):
                count = len(loaded.others(planned.attack.fit_samples))
                cost = _cost(most_of_fit(of, planned, classes, shape, count))
                yield f"{'':24}once, to fit on {counted(count, 'other sample')}: {cost}"
    if is_endpoint(request.model) and (price := read_endpoint(request.model).price) is not None:
        yield f"  {'price':<22}at most {price.most(queries):,.2f} {price.currency} for these attacks on all samples"


def _cost(cost: Cost | None) -> str:
    from robaudit.report.words import evaluations_words

    return "unknown" if cost is None else evaluations_words(cost.forwards, cost.backwards, cost.queries)


def _certificates(profile: Profile) -> Iterator[str]:
    from robaudit.audit.plan.certificates import plan_certificates

    for entry in plan_certificates(profile):
        yield f"  {entry.key:<22}certificate, {entry.threat.norm} {entry.threat.eps:g}, a proof a sample"

"""``robaudit scan --dry-run``: what would be done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from robaudit.audit.process.persist import NOTHING, GivenUp
from robaudit.plural import counted, part_of
from robaudit.target.running.watch import UNWATCHED, Watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from robaudit.audit.config.request import AuditRequest

__all__ = ["preview"]


def preview(request: AuditRequest, folder: Path | None, fresh: bool, reports: Sequence[str] = ()) -> None:
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
    from robaudit.attacks.fitted import FittedAttack
    from robaudit.audit.config.goals import parse_goal
    from robaudit.audit.plan.auxiliary import given_up_names
    from robaudit.audit.plan.certificates import plan_certificates
    from robaudit.audit.plan.costs import most_of_fit, most_of_sample
    from robaudit.audit.plan.fronts import plan_fronts
    from robaudit.audit.plan.validate import validate_loaded
    from robaudit.audit.session.endpoint import answers_of
    from robaudit.audit.session.facts import assumptions, data_record, set_records, target_record
    from robaudit.audit.session.loading import load
    from robaudit.files import held_to
    from robaudit.report.words import evaluations_words, plain
    from robaudit.stats.looks import design

    unusable = given_up_names(request, given_up.auxiliary)
    with held_to(request.files):
        answers = answers_of(request)
        loaded = load(request, watch=watch, lost=given_up.samples, unusable=unusable, answers=answers)
    target, profile = loaded.target, request.profile
    with watch.about("its gradient was tried"):
        target.calibrate()
    validate_loaded(request, target_record(request, loaded), data_record(request, loaded), set_records(loaded))
    fronts = plan_fronts(
        profile,
        classes=target.num_classes,
        shape=target.spec.shape,
        no_gradient=None if target.gradient.available else target.gradient.reason,
        surrogates=len(loaded.surrogates),
        misfits=loaded.misfits,
        no_scores=target.no_scores,
        others=loaded.others,
    )
    lines: list[str] = []
    threat = profile.threat
    default = " (default)" if request.eps_default else ""
    lines.append(f"model    {plain(target.path)}, {target.format}, {target.num_classes} classes")
    lines.append(f"output   {plain(target.choice.output.name)}: {plain(target.choice.why)}")
    lines.append(f"data     {plain(loaded.data.source)}: {part_of(len(loaded.drawn), len(loaded.data), 'sample')}")
    if request.until_decided:
        sizes = ", ".join(map(str, design(loaded.asked).sizes))
        lines.append(f"looks    at {sizes} samples, until the gates are decided")
    for note in (*loaded.data.notes, *loaded.draw.notes(loaded.asked)):
        lines.append(f"         {plain(note)}")
    for problem in loaded.problems.values():
        lines.append(f"unused   {plain(problem)}")
    for sentence in assumptions(target):
        lines.append(f"assumed  {sentence}")
    goal = parse_goal(threat.goal)
    names = loaded.data.class_names or request.classes or target.class_names
    told = f": to be answered with {goal.said(names)}" if goal.targeted else ""
    lines.append(f"threat   {threat.norm}, eps {threat.eps}{default}, {plain(threat.goal)}{plain(told)}")
    for other in threat.also:
        lines.append(f"         {other.norm}, eps {other.eps}")
    for one in loaded.sets:
        lines.append(f"         {plain(one.words(target.spec.shape))}")
        lines += [f"         {plain(note)}" for note in one.notes(target.spec.shape)]
    lines.append(f"profile  {plain(profile.name)}, seed {request.seed}")
    each = "sample and class" if goal.kind == "every" else "sample"
    for of, planned in ((front, planned) for front in fronts for planned in front.attacks()):
        reason = f": {planned.reason}" if planned.reason else ""
        parameters = ", ".join(f"{k} {v}" for k, v in planned.parameters.items() if v is not None)
        lines.append(f"  {planned.key:<22}{planned.status}{plain(reason)}   {plain(parameters)}")
        if planned.status == "ready":
            cost = most_of_sample(of, planned, target.num_classes, target.spec.shape)
            words = "unknown" if cost is None else evaluations_words(cost.forwards, cost.backwards, cost.queries)
            lines.append(f"{'':24}at most, a {each}: {words}")
            if isinstance(planned.attack, FittedAttack):
                count = len(loaded.others(planned.attack.fit_samples))
                cost = most_of_fit(of, planned, target.num_classes, target.spec.shape, count)
                words = "unknown" if cost is None else evaluations_words(cost.forwards, cost.backwards, cost.queries)
                lines.append(f"{'':24}once, to fit on {counted(count, 'other sample')}: {words}")
    for entry in plan_certificates(profile):
        lines.append(f"  {entry.key:<22}certificate, {entry.threat.norm} {entry.threat.eps:g}, a proof a sample")
    lines.append("nothing was attacked (--dry-run)")
    return lines

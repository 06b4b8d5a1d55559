"""What a result says of what was asked, and of what was loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.keys import record_of
from robaudit.audit.config.places import repository_root, shown_path, without_machine
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.specs import AnswersSpec, ThreatSpec
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.session import ChosenSets, DataFacts, InputsSent, TargetFacts
from robaudit.audit.journal.tally import Tally
from robaudit.audit.outcome.sent import sent_details
from robaudit.audit.plan.attacks import threat_model
from robaudit.audit.result.derive import RAN
from robaudit.audit.result.sections.base import Access, Section
from robaudit.audit.result.sections.queries import Served
from robaudit.audit.result.sections.run import ProfileRecord
from robaudit.audit.result.sections.target import Data, Feature, Target
from robaudit.audit.result.sections.threat import Radius, Threat
from robaudit.plural import part_of
from robaudit.query_rate import parse_query_rate

__all__ = ["data_section", "profile_record", "target_section", "threat_section"]

S = TypeVar("S", bound=Section)
NUMBERS: dict[str, Literal["probabilities", "log-probabilities"]] = {
    "probabilities": "probabilities",
    "log-probabilities": "log-probabilities",
}
ACCESS: tuple[Access, ...] = ("white-box", "transfer", "scores", "labels")
"""In the order in which they are listed."""


def target_section(target: TargetFacts, sent: InputsSent | None) -> Target:
    """The file under audit, and what was sent to it; paths are cut to what others may see."""
    section = target.section
    if sent is not None:
        section = _changed(section, details={**section.details, **sent_details(sent)})
    origins = without_machine(section.input.provenance, repository_root(Path()))
    return _changed(section, file=shown_path(section.file), input=_changed(section.input, provenance=origins))


def data_section(request: AuditRequest, data: DataFacts, tally: Tally) -> Data:
    """The data, and what the goal left out of them."""
    left_out = tuple(
        f"{part_of(count, tally.drawn, 'sample', 'is/are')} left out, as the goal does not apply: {why}"
        for why, count in tally.left_out.items()
    )
    source = data.section.source if request.data is None else shown_path(request.data)
    return _changed(data.section, source=source, notes=(*data.section.notes, *left_out))


def threat_section(
    request: AuditRequest, tally: Tally, target: TargetFacts, data: DataFacts, journal: Journal
) -> Threat:
    """What the attacker might do, and the access that the attacks of the audit used."""
    threat, goal = threat_model(request.profile), parse_goal(request.profile.threat.goal)
    used = {attack.planned.access for attack in tally.attacks if attack.status in RAN}
    sets = journal.last(ChosenSets)
    return Threat(
        norm=threat.norm.value,
        eps=threat.eps,
        eps_text=str(request.profile.threat.eps),
        eps_default=request.eps_default,
        also=tuple(
            Radius(norm=other.norm, eps=other.radius, eps_text=other.eps) for other in request.profile.threat.also
        ),
        sets=() if sets is None else sets.sets,
        goal=request.profile.threat.goal,
        goal_words=goal.said(data.section.classes),
        attacker=request.profile.threat.access,
        access=tuple(name for name in ACCESS if name in used),
        queries=threat.queries,
        served=_served(request.profile.threat, target.section),
        domain=_domain(target.section.input.features),
    )


def _served(threat: ThreatSpec, target: Target) -> Served | None:
    """What an outsider gets; None: all, as usual."""
    answers = threat.answers
    if (answers, threat.duplicates, threat.rate) == (AnswersSpec(), "charged", None):
        return None
    return Served(
        numbers=NUMBERS.get(target.head, "scores"),
        **answers.model_dump(),
        duplicates=threat.duplicates,
        rate=threat.rate,
        per_second=None if threat.rate is None else parse_query_rate(threat.rate),
    )


def _domain(features: Sequence[Feature]) -> str:
    if not features:
        return "the box from the lowest to the highest value of the input's domain"
    fixed = sum(feature.immutable or feature.low == feature.high for feature in features)
    some = f", with {fixed} of {len(features)} features as they are" if fixed else ""
    return f"the box of the features' ranges{some}"


def profile_record(request: AuditRequest) -> ProfileRecord:
    """The profile as it was resolved, and where each of its settings was said."""
    root = repository_root(Path())
    return ProfileRecord(
        name=request.profile.name,
        source=without_machine(request.profile_source, root),
        sha256=request.profile.digest(),
        resolved=without_machine(request.profile.model_dump(mode="json"), root),
        settings=without_machine(record_of(request.settings), root),
        sources=without_machine(request.sources, root),
        places=request.places,
    )


def _changed(section: S, **changes: Any) -> S:
    """A section with other values, which are checked."""
    return type(section).model_validate({**dict(section), **changes})

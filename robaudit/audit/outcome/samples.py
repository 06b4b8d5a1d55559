"""What a result says of each sample: its clean answer, what broke it, how near."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from robaudit.audit.config.profile import Profile
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.findings import CheckEnded
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.records.session import DataFacts
from robaudit.audit.journal.tally import Tally, counts
from robaudit.audit.outcome.norms import breaches_of, nearest_of
from robaudit.audit.result import document as model
from robaudit.engine.units import UnitResult, cases
from robaudit.stats.chances import DRAWS

__all__ = ["build_samples"]


def build_samples(
    profile: Profile,
    data: DataFacts,
    clean: Mapping[int, CleanSample],
    tally: Tally,
    journal: Journal,
    proofs: Mapping[int, tuple[model.Proved, ...]],
) -> tuple[model.Sample, ...]:
    """A record of each sample drawn, in their order.

    Args:
        profile: of the audit.
        data: the journal's record of the data.
        clean: what the file answered to the samples without an attack, by index.
        tally: what the attacks did.
        journal: for the nearest adversarial examples, and what the check of the evidence measured.
        proofs: what certifiers found, by index.
    """
    found = []
    eight_bit, fooled = _eight_bit(journal), _fooled(journal)
    nearest = nearest_of(profile, tally, journal)
    for index, name in zip(data.indices, data.ids, strict=True):
        record = clean.get(index)
        goals = None if record is None else record.goals
        attack = tally.broken_by.get(index)
        winner = tally.best[attack][index] if attack is not None else None
        sought = cases(index, goals) if record else {}
        results = [best[index] for best in tally.best.values() if index in best]
        error = (
            sentence(Cause.ENDED)
            if record is None
            else record.error or next((r.error for r in results if r.error), None)
        )
        found.append(
            model.Sample(
                id=name,
                index=index,
                label=record.label if record else None,
                clean_prediction=record.prediction if record else None,
                copies=data.copies.get(str(index), 0),
                broken_by=attack,
                adversarial_prediction=winner.prediction if winner else None,
                distance=winner.distance if winner else None,
                nearest=nearest.get(index, ()),
                breaches=breaches_of(profile, tally, index),
                distance_8bit=eight_bit.get(str(winner.unit.sample)) if winner else None,
                targets=goals or (),
                reached=tuple(g for c, g in sought.items() if g >= 0 and c in tally.reached),
                left_out=record.left_out if record else None,
                certified=proofs.get(index, ()),
                queries=sum(r.queries for r in results),
                spent=tuple(_spent(key, best[index]) for key, best in tally.best.items() if _asked(best.get(index))),
                rejected=record is not None and record.rejected,
                draws=None if record is None else _drawn(record, fooled.get(str(index))),
                error=error,
                counted=record is not None and counts(record) and record.left_out is None,
            )
        )
    return tuple(found)


def _asked(result: UnitResult | None) -> bool:
    """Whether queries were asked."""
    return result is not None and result.queries > 0


def _spent(attack: str, result: UnitResult) -> model.Spent:
    return model.Spent(attack=attack, queries=result.queries, **asdict(result.seen))


def _drawn(record: CleanSample, fooled: int | None) -> model.Drawn | None:
    """What a random model's draws said; where attacks found no point, those of the sample itself."""
    if record.wrong is None:
        return None
    return model.Drawn(asked=DRAWS, wrong=record.wrong, fooled=record.wrong if fooled is None else fooled)


def _fooled(journal: Journal) -> dict[str, int]:
    """Of a random model, how many of the fresh draws were fooled at the best point of each sample."""
    record = journal.last(CheckEnded, id="evidence")
    found: dict[str, int] = {} if record is None else (record.measured or {}).get("fooled", {})
    return found


def _eight_bit(journal: Journal) -> dict[str, float | None]:
    """Distance of each adversarial example stored as an 8-bit image, by sample."""
    record = journal.last(CheckEnded, id="evidence")
    measured: dict[str, float | None] = {} if record is None else (record.measured or {}).get("eight_bit", {})
    return measured

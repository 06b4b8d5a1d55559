"""What a result says of surrogates, and of what attacks made on each fooled."""

from __future__ import annotations

from collections.abc import Iterator

from robaudit.audit.journal.fits import SURROGATES
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import FitRound, SurrogateKnown
from robaudit.audit.journal.tally import Tally
from robaudit.audit.result.sections.transfer import Matrix, MatrixCell, Surrogate, Transfer
from robaudit.audit.result.transfer import method_and_surrogate
from robaudit.stats.rates import rate

__all__ = ["transfer_section"]


def transfer_section(tally: Tally, journal: Journal) -> Transfer | None:
    """The surrogates of an audit, files first, and its matrix; None where it has neither."""
    known = sorted(journal.keyed(SurrogateKnown, "name").values(), key=lambda one: one.origin != "file")
    surrogates = tuple(_surrogate(journal, one) for one in known)
    matrices = tuple(_matrices(tally))
    if not surrogates and not matrices:
        return None
    return Transfer(surrogates=surrogates, matrices=matrices)


def _surrogate(journal: Journal, known: SurrogateKnown) -> Surrogate:
    fit = journal.last(FitRound, attack=SURROGATES + known.name)
    compared = known.on is not None
    return Surrogate(
        name=known.name,
        origin=known.origin,
        status=known.status,
        reason=known.reason,
        file=known.file,
        recipe=known.recipe,
        parameters=dict(known.parameters),
        sha256=known.sha256,
        agreement=rate(known.agreed, known.compared) if compared else None,
        agreement_on=known.on,
        trained_on=known.trained_on,
        queries=0 if fit is None else fit.queries,
        forwards=0 if fit is None else fit.forwards,
        backwards=0 if fit is None else fit.backwards,
        seconds=0.0 if fit is None else round(fit.seconds, 3),
    )


def _matrices(tally: Tally) -> Iterator[Matrix]:
    """The cells that name a surrogate, by norm; their rates follow from the samples."""
    cells: dict[str, list[MatrixCell]] = {}
    for attack in tally.attacks:
        planned = attack.planned
        named = method_and_surrogate(planned.id) if planned.phase == "matrix" else None
        if named is not None:
            method, surrogate = named
            fooled = tuple(sorted(sample for sample, found in tally.best[planned.id].items() if found.success))
            cell = MatrixCell(attack=planned.id, method=method, surrogate=surrogate, fooled=fooled)
            cells.setdefault(planned.norm, []).append(cell)
    for norm, found in cells.items():
        yield Matrix.model_validate({"norm": norm, "cells": tuple(found)})

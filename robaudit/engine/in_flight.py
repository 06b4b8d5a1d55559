"""The slots in flight, and what is reported of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.engine.judge import Verdicts
from robaudit.engine.ledger import NOTHING_SEEN
from robaudit.engine.rows import Account, Bill
from robaudit.engine.units import Unit, UnitResult

__all__ = ["InFlight", "judged_result", "result_of"]


@dataclass
class InFlight:
    """The slots in flight: parallel to ``units``."""

    units: list[Unit]
    problem: Problem
    state: Slots
    account: Account

    def take(self, keep: Tensor) -> InFlight:
        """The slots that are kept ([S] bool)."""
        index = keep.nonzero()[:, 0]
        return InFlight(
            [self.units[i] for i in index.tolist()],
            self.problem.take(index),
            self.state.take(index),
            self.account.take(index),
        )

    def join(self, other: InFlight) -> InFlight:
        """These slots followed by the other's."""
        return InFlight(
            self.units + other.units,
            self.problem.join(other.problem),
            self.state.join(other.state),
            self.account.join(other.account),
        )


def result_of(pool: InFlight, slot: int, bill: Bill, *, success: bool, **rest: Any) -> UnitResult:
    """A slot's result; ``rest`` are its further fields."""
    account = pool.account
    if account.luck is not None and not success and float(account.luck.share[slot]) > 0 and rest.get("point") is None:
        best = account.luck
        rest |= {"share": float(best.share[slot]), "point": best.points[slot].cpu().numpy()}
    return UnitResult(
        pool.units[slot],
        success,
        forwards=bill.forwards,
        backwards=bill.backwards,
        queries=bill.queries,
        judged=bill.judged,
        refused=bill.refused,
        seen=NOTHING_SEEN if account.ledgers is None else account.ledgers.of[slot].seen(),
        **rest,
    )


def judged_result(
    pool: InFlight, slot: int, bill: Bill, verdicts: Verdicts, row: int, error: str | None = None
) -> UnitResult:
    """A slot's result by the judge's verdict in a row; ``error`` is kept where it is no success."""
    fooled, success = bool(verdicts.fooled[row]), bool(verdicts.success[row])
    return result_of(
        pool,
        slot,
        bill,
        success=success,
        error=None if success else error,
        prediction=int(verdicts.prediction[row]),
        distance=float(verdicts.distance[row]) if fooled else None,
        share=float(verdicts.share[row]) if fooled and pool.account.luck is not None else None,
        point=verdicts.points[row].cpu().numpy() if fooled else None,
    )

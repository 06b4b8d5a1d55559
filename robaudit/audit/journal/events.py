"""What a running audit tells its observer: typed, frozen, picklable events, in the order they happen.

The worker sends them, the supervising process passes them on; a renderer turns them into a display. The audit
itself never prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from robaudit.attacks.cost import Cost

__all__ = [
    "LOADING",
    "AttackFinished",
    "AttackStarted",
    "CheckFinished",
    "Event",
    "Finished",
    "ModelOutput",
    "Note",
    "Observer",
    "Phase",
    "Plan",
    "PlannedAttack",
    "SampleError",
    "UnitsFinished",
    "silent",
]


LOADING = "loading"
"""The phase in which a model is loaded, of which there is one for each."""


@dataclass(frozen=True)
class Phase:
    """A stage of the audit begins, such as loading, clean predictions, attacks, checks."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class PlannedAttack:
    """An attack of the plan.

    Args:
        id: its name, ``access`` what it may ask.
        units: the most it can need, before samples fall to earlier attacks.
        most: evaluations of all of them; None: it cannot say.
    """

    id: str
    access: str
    units: int
    most: Cost | None = None


@dataclass(frozen=True)
class Plan:
    """All attacks in the order they will run, and the number of samples drawn."""

    attacks: tuple[PlannedAttack, ...]
    samples: int


@dataclass(frozen=True)
class AttackStarted:
    """An attack begins with this many units, (sample, restart, target), still to do."""

    id: str
    units: int
    access: str


@dataclass(frozen=True)
class UnitsFinished:
    """Progress of the running attack; all figures are running totals of that attack."""

    id: str
    done: int
    total: int
    broken: int
    queries: int


@dataclass(frozen=True)
class AttackFinished:
    """An attack ended; ``status`` as in the result, ``remaining`` samples stand."""

    id: str
    status: str
    broken: int
    newly_broken: int
    remaining: int
    reason: str = ""


@dataclass(frozen=True)
class CheckFinished:
    """A check reached its verdict."""

    id: str
    status: str
    message: str


@dataclass(frozen=True)
class Note:
    """Something the user should hear while it runs, such as a back-off after memory ran out."""

    message: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True)
class SampleError:
    """One sample could not be read or evaluated; it costs that sample alone."""

    sample_id: str
    message: str


@dataclass(frozen=True)
class ModelOutput:
    """A line that the process with the model in it printed, cleaned."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The last event of every audit, whatever its outcome."""


Event: TypeAlias = (
    Phase
    | Plan
    | AttackStarted
    | UnitsFinished
    | AttackFinished
    | CheckFinished
    | Note
    | SampleError
    | ModelOutput
    | Finished
)


class Observer(Protocol):
    """Anything that can be called with an event."""

    def __call__(self, event: Event, /) -> None:
        """Take note of an event; must not raise."""


def silent(event: Event, /) -> None:
    """An observer that ignores everything."""

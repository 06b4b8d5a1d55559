"""A look at a model that goes on, in another process, where the model hangs or crashes: without what it was asked then.

As in an audit the sample is known where the model was asked for one alone; else those asked together are suspects, each
of which the next process asks alone; where all of them are answered, the part of the work that it was is skipped. No
torch is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from robaudit.audit.process.calling import in_child
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.messages import CutOffError
from robaudit.target.running.watch import AtWork

__all__ = ["NOTHING", "GivenUp", "persistently"]

T = TypeVar("T")
MOST = 10
"""Processes started again for one look."""


@dataclass(frozen=True)
class GivenUp:
    """What the processes before this one ended on.

    Args:
        samples: that the model hangs or crashes on, by index, with the sentence that says so.
        suspects: one of these is such a sample.
        parts: of the work, likewise; ``auxiliary``: models beside the one looked at, by their keys.
    """

    samples: Mapping[int, str] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()
    parts: Mapping[str, str] = field(default_factory=dict)
    auxiliary: Mapping[str, str] = field(default_factory=dict)

    def after(self, at_work: AtWork, why: str) -> GivenUp | None:
        """With what a process was at that ended on it; None where nothing can be spared."""
        if at_work.auxiliary and at_work.auxiliary not in self.auxiliary:
            return replace(self, auxiliary={**self.auxiliary, at_work.auxiliary: why})
        samples = frozenset(at_work.samples) - self.samples.keys()
        if len(samples) == 1:
            (sample,) = samples
            return replace(self, samples={**self.samples, sample: why}, suspects=self.suspects - samples)
        if samples and not samples <= self.suspects:
            return replace(self, suspects=samples)
        if at_work.part and at_work.part not in self.parts:
            return replace(self, parts={**self.parts, at_work.part: why})
        return None


NOTHING = GivenUp()


def persistently(
    function: Callable[..., T],
    request: Any,
    *,
    confinement: Confinement,
    about: object,
    told: Callable[[str], None] = lambda _: None,
) -> T:
    """Call ``function(request, given_up, watch=watch)`` in a process of its own, again without what it hung on.

    Args:
        function: found by name; ``request`` and what it returns are picklable.
        confinement: for each process.
        about: the file that it is about, for errors.
        told: of each line that a process prints.

    Raises:
        UsageError: the function raised it.
        AuditError: it failed otherwise, or nothing can be spared.
    """
    given_up = NOTHING
    for _ in range(MOST):
        try:
            return in_child(function, request, given_up, confinement=confinement, about=about, told=told, watched=True)
        except CutOffError as error:
            following = given_up.after(error.at_work, error.why)
            if following is None:
                raise
            given_up = following
    return in_child(function, request, given_up, confinement=confinement, about=about, told=told, watched=True)

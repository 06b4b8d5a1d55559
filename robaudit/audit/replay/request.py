"""What a replay is asked, and what it asks of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from robaudit.audit.result.document import Result
from robaudit.audit.stored.signing import Trusted
from robaudit.stats.chances import hardly, mostly
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.threat.goals import reached

__all__ = ["Answer", "ReplayRequest", "Said", "by_draws", "least_confidence"]


@dataclass(frozen=True)
class Said:
    """An answer.

    Args:
        label: the class; None where the answer names none.
        rejected: whether the service of the audit rejects the input, as the file's top probability is too low, or its
            detector does.
        scores: [K] of the classes, from which a detector takes their probabilities; None: not told.
        drawn: of a random model, the class of each further draw, None where it names none or is rejected; ``label`` is
            then the most common one. What most draws said once is refuted here at one chance in a thousand.
    """

    label: int | None
    rejected: bool = False
    scores: NDArray[Any] | None = None
    drawn: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, answers: Sequence[Said]) -> Said:
        """Of the draws of a random model."""
        drawn = tuple(None if answer.rejected else answer.label for answer in answers)
        return cls(Counter(drawn).most_common(1)[0][0], drawn=drawn)

    def is_right(self, label: int) -> bool:
        """Whether it is the label; of draws, whether no other class is more common for sure."""
        if not self.drawn:
            return self.label == label and not self.rejected
        mine, most = self.drawn.count(label), max(Counter(self.drawn).values())
        return mine == most or not hardly(mine, mine + most, AMONG)

    def fools(self, label: int, goal: int | None) -> bool:
        """Whether it fools, of a sample with this label that is to be answered so; ``goal`` None: any wrong class."""
        aim = -1 if goal is None else goal
        if self.drawn:  # it was judged so; here it must not be refuted
            hits = sum(bool(reached(-1 if said is None else said, label, aim)) for said in self.drawn)
            return not hardly(hits, len(self.drawn), AMONG)
        said = -1 if self.label is None else self.label
        return bool(reached(said, label, aim, self.rejected))

    def mostly_fools(self, label: int, goal: int | None) -> bool:
        """As a judge says who sees it for the first time: of draws, whether most fool for sure."""
        if not self.drawn:
            return self.fools(label, goal)
        aim = -1 if goal is None else goal
        hits = sum(bool(reached(-1 if said is None else said, label, aim)) for said in self.drawn)
        return mostly(hits, len(self.drawn))


AMONG = 50
"""Shares out an error of 5 %: of so many examples, none is to be refuted by chance."""
Answer: TypeAlias = Callable[[NDArray[Any]], Said]
"""What a file answers to [*shape] in u-space, alone."""


def least_confidence(result: Result) -> float | None:
    """Top probability below which the service of an audit rejects an input; None: it rejects none."""
    served = result.threat_model.served
    return None if served is None else served.reject_below


@dataclass(frozen=True)
class ReplayRequest:
    """What to replay.

    Args:
        run: run directory, or a result's JSON with the evidence beside it.
        model: file to ask; None: the audited one, as the result names it.
        inputs: values of inputs that are not attacked, by name, in place of the audit's.
        device: cpu or cuda.
        trust_model: load TorchScript code that is not known to be harmless, and torch.export archives.
        custom_ops: libraries of custom operators for ONNX Runtime.
        data: of the audit, to prove its certificates on; None: what the run directory, or the result, names.
        all_proofs: prove all certificates again, however long it takes.
        trusted: keys, one of which must have signed the result; None: it need not be signed.
        once: ask a random model once for an answer, and not for many draws.
    """

    run: Path
    model: Path | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    trust_model: bool = False
    custom_ops: tuple[Path, ...] = ()
    data: Path | None = None
    all_proofs: bool = False
    trusted: Trusted | None = None
    once: bool = False


def by_draws(request: ReplayRequest, result: Result, meaning: InputMeaning) -> bool:
    """Whether an answer is that of many draws: the audited file, or what stands before it now, is random."""
    return not request.once and (result.target.random == "file" or meaning.draws)

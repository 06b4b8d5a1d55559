"""What a replay is asked, and what it asks of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from robaudit.audit.result.document import Result
from robaudit.audit.stored.signing import Trusted
from robaudit.threat.goals import reached

__all__ = ["Answer", "ReplayRequest", "Said", "least_confidence"]


@dataclass(frozen=True)
class Said:
    """An answer.

    Args:
        label: the class; None where the answer names none.
        rejected: whether the service of the audit rejects the input, as the file's top probability is too low, or its
            detector does.
        scores: [K] of the classes, from which a detector takes their probabilities; None: not told.
    """

    label: int | None
    rejected: bool = False
    scores: NDArray[Any] | None = None

    def fools(self, label: int, goal: int | None) -> bool:
        """Whether it fools, of a sample with this label that is to be answered so; ``goal`` None: any wrong class."""
        said = -1 if self.label is None else self.label
        return bool(reached(said, label, -1 if goal is None else goal, self.rejected))


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

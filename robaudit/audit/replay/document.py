"""What a replay found, as it is reported and written as JSON."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, FiniteFloat

__all__ = ["LostProof", "ProofStatus", "Proofs", "Replay", "ReplayStatus", "Replayed"]

ReplayStatus: TypeAlias = Literal[
    "fools", "no longer fools", "rejected", "outside", "original wrong", "other distance", "not answered"
]
ProofStatus: TypeAlias = Literal["not proved", "smaller margin"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class Replayed(_Document):
    """One adversarial example, asked again."""

    sample: str
    """Name of the sample."""
    index: int
    """Position in the data source."""
    attack: str
    """The attack that found it."""
    norm: str
    """Norm of its ball."""
    eps: FiniteFloat
    """Radius of its ball."""
    nearest: bool = False
    """Whether a curve rests on it: then it may lie outside of the ball."""
    distance: FiniteFloat | None
    """Its distance from the original, measured again in float64; null where it is no number."""
    label: int
    """Reference class."""
    target: int | None = None
    """Class that it was to be made to answer; null where any wrong one counts."""
    original: int | None
    """What the file answers to the original; null where its answer names no class."""
    recorded: int
    """What the audited file answered to the adversarial example."""
    prediction: int | None
    """What the file answers to it now; null where its answer names no class."""
    status: ReplayStatus
    """fools; no longer fools; rejected (by the service of the audit, as its top probability is too low now); outside
    (of its ball, the box or a mask, or a feature moved that must stay); original wrong (the file misses the original,
    or the service rejects it, so that the example shows nothing); other distance (than the result tells); not
    answered (the file refuses the example or its original, or hangs or crashes on them)."""
    reason: str | None = None
    """Why it is not answered; null where it is."""


class LostProof(_Document):
    """A proof of the result that does not hold."""

    sample: str
    """Name of the sample."""
    index: int
    """Position in the data source."""
    certificate: str
    """The certificate, by id."""
    claimed: FiniteFloat | None
    """The margin in the result, in logits; null where it tells none."""
    margin: FiniteFloat | None
    """The margin that is proved now; null where nothing bounds it."""
    status: ProofStatus
    """not proved; smaller margin (it is proved, with less than the result tells)."""
    reason: str | None = None
    """Why the proof could not be carried out, or null."""


class Proofs(_Document):
    """The certificates of a result, proved again on its data."""

    claimed: int
    """Proofs in the result: one for each sample and certificate."""
    tried: int
    """Of those, proofs that were carried out again."""
    held: int
    """Of those, proofs that hold."""
    lost: tuple[LostProof, ...] = ()
    """Those that do not."""
    reason: str | None = None
    """Why not all of them were carried out again; null where they were."""


class Replay(_Document):
    """A replay of a run's evidence."""

    version: str
    """Version of robaudit that replayed."""
    run: str
    """Id of the run."""
    model: str
    """The file that was asked."""
    sha256: str
    """Its digest."""
    same_model: bool
    """Whether it is the audited file, with the files that it keeps weights in."""
    judge: str
    """Runtime that answered."""
    evidence: str
    """The archive, relative to the result."""
    evidence_sha256: str
    """Its digest."""
    count: int
    """Adversarial examples, those that a curve rests on among them."""
    fooled: int
    """Of those, examples that hold up."""
    classes: tuple[str, ...] | None = None
    """Class names, or null."""
    examples: tuple[Replayed, ...] = ()
    """All of them."""
    artefacts: dict[str, tuple[int, ...]] = {}
    """What attacks were fitted to: arrays in the archive, by name, with their shapes."""
    proofs: Proofs | None = None
    """The certificates, proved again; null where the result has none."""

    @property
    def holds(self) -> bool:
        """Whether every example still fools the file, and every proof that was tried again holds."""
        return self.fooled == self.count and (self.proofs is None or not self.proofs.lost)

    @property
    def exit_code(self) -> int:
        """0 if it holds, 3 if all that is wrong is that the file does not answer, else 1."""
        if self.holds:
            return 0
        if self.proofs is not None and self.proofs.lost:
            return 1
        return 3 if all(row.status in ("fools", "not answered") for row in self.examples) else 1

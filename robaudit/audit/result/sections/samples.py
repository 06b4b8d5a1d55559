"""What became of each sample, as a result records it."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import Norm, Number, Section
from robaudit.audit.result.sections.certified import Proved
from robaudit.audit.result.sections.queries import Spent
from robaudit.audit.result.sections.secrecy import Price
from robaudit.threat.goals import is_right

__all__ = ["Drawn", "Nearest", "Sample", "SampleBreach"]


class SampleBreach(Section):
    """How a sample fell in one norm."""

    norm: Norm
    """The norm."""
    attack: str
    """The first attack that broke it there."""
    distance: Number
    """Distance of the adversarial example, in that norm."""
    prediction: int
    """What the file answers to it."""


class Nearest(Section):
    """The nearest verified adversarial example that an attack found for a sample."""

    attack: str
    """The attack."""
    distance: FiniteFloat
    """Its distance in the attack's norm; with a curve it may lie outside of the ball."""


class Drawn(Section):
    """What a random model answers to a sample, over draws that no attack has seen."""

    asked: int = Field(ge=1)
    """Answers to each point."""
    wrong: int = Field(ge=0)
    """Of those to the sample itself, how many are not its reference class."""
    fooled: int = Field(ge=0)
    """Of those to the point at which attacks fooled most draws, how many fool: to the sample itself where they found no
    better."""


class Sample(Section):
    """What became of one sample."""

    id: str
    """Name of the sample, such as its file's path in the data folder."""
    index: int
    """Position in the data source."""
    label: int | None
    """Reference class; null where it could not be read."""
    clean_prediction: int | None
    """What the file answers unperturbed; null where it gave no finite answer."""
    copies: int = Field(default=0, ge=0)
    """Copies of its input, with its label, that fill up a draw for which the data hold too few distinct inputs: samples
    that clean accuracy counts, and no further evidence."""
    broken_by: str | None = None
    """The first attack that broke it, or null; of several norms in the order of the audit."""
    adversarial_prediction: int | None = None
    """What the file answers to the adversarial example, or null."""
    distance: Number = None
    """Distance of the adversarial example, or null."""
    smallest_distance: Number = None
    """With a curve: the smallest distance of a verified adversarial example, outside of the ball too, or null; of
    several norms in the first."""
    smallest_by: str | None = None
    """The first attack of the audit that found it, or null."""
    nearest: tuple[Nearest, ...] = ()
    """With a curve, or the goal ``every``: each attack that found a verified adversarial example, in the order of the
    audit; all curves and the attacks' own figures follow from these. Else empty: then ``broken_by`` and ``breaches``
    say it all."""
    breaches: tuple[SampleBreach, ...] = ()
    """With several threat models: how it fell in each norm that broke it."""
    distance_8bit: Number = None
    """The same after rounding to 8 bits towards the original, if that still fools; else null."""
    targets: tuple[int, ...] = ()
    """Classes that it was to be made to answer; none in an untargeted audit, or where the goal leaves it out."""
    reached: tuple[int, ...] = ()
    """Of those, classes that it was made to answer."""
    left_out: str | None = None
    """Why the goal does not apply to it, or null."""
    prices: tuple[Price, ...] = ()
    """Where an access has a curve of accuracy against queries: what the sample cost those who got through, by rising
    access, norm after norm; all these curves follow from them. Left out where there is none."""
    certified: tuple[Proved, ...] = ()
    """What certifiers found of it, in the order of the audit; left out where nothing was tried."""
    queries: int = 0
    """Score and label queries spent on it, by all attacks."""
    spent: tuple[Spent, ...] = ()
    """The same attack by attack, in the order of the audit, of those that asked any; left out where none did."""
    rejected: bool = False
    """Whether the service rejects it unperturbed, as its top probability is too low: then it is not answered
    correctly."""
    draws: Drawn | None = None
    """Of a random model; left out where it is not, or was not asked."""
    error: str | None = None
    """Why it could not be audited, or null. It counts as not answered correctly all the same."""
    counted: bool = True
    """Whether the figures count it: the data gives it a label (or none is needed), and the goal applies to it."""

    def proved(self, by: str) -> bool:
        """Whether a certifier proved it."""
        return any(entry.by == by and entry.proved for entry in self.certified)

    @property
    def correct(self) -> bool:
        """Whether the file answers it correctly without an attack, and the service does not reject it."""
        return self.clean_prediction is not None and bool(is_right(self.clean_prediction, self.label, self.rejected))

    @property
    def stands(self) -> bool:
        """Whether it is answered correctly, and nothing broke it."""
        return self.counted and self.correct and self.broken_by is None

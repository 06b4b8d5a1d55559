"""The contract of a defense that changes what a model is shown.

A defended target is a target: every attack, check and gate works on it unchanged. The ball is measured before the
defense, where the attacker is; the judge asks the file behind it. Several stand in a row: an input meets them in order,
and its gradient comes back through their stand-ins in reverse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["Defense"]


class Defense(ABC):
    """A defense. A subclass is a frozen pydantic dataclass whose fields are its parameters.

    Class attributes:
        id: name in settings and reports.
        files: parameters that name files, whose content counts and not their place.
    """

    id: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """Why it does not apply to inputs of this meaning, as a clause, or None."""
        return None

    def ready(self, meaning: InputMeaning, *, trust: bool = False) -> Defense:
        """It, with all loaded that it needs for inputs of this meaning; itself unless told.

        Args:
            meaning: of the input that it stands before, which it suits.
            trust: TorchScript code that is not known to be harmless may be loaded.

        Raises:
            UsageError: a file cannot be used.
        """
        return self

    @abstractmethod
    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """What the model is shown of [N, *shape] in u-space, each row by itself: the defense itself, in NumPy.

        It is the one definition: the file is asked, and evidence is replayed, with it.
        """

    def forward(self, u: Tensor) -> Tensor:
        """:meth:`shown` of a tensor, to the bit; to be overridden where torch does it without leaving a GPU."""
        return u.new_tensor(self.shown(u.detach().cpu().numpy()))

    def backward_path(self, u: Tensor) -> Tensor:
        """A differentiable stand-in for :meth:`shown`, [N, *shape] to [N, *shape]; the identity unless told.

        The gradient is taken through it, at the very values that :meth:`shown` gives: backward pass differentiable
        approximation (Athalye, Carlini, Wagner 2018, "Obfuscated Gradients Give a False Sense of Security", section
        4.1.2).
        """
        return u

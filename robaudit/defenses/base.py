"""The contract of a defense that changes what a model is shown.

A defended target is a target: every attack, check and gate works on it unchanged. The ball is measured before the
defense, where the attacker is; the judge asks the file behind it. Several stand in a row: an input meets them in order,
and its gradient comes back through their stand-ins in reverse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robaudit.target.inputs.drawing import keys_at, of_place
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["Defense", "RandomDefense", "VotingDefense"]


VOTES = -1
"""Number of the draw that votes are keyed by; those of random defenses are not negative."""


class Defense(ABC):
    """A defense. A subclass is a frozen pydantic dataclass whose fields are its parameters.

    Class attributes:
        id: name in settings and reports.
        files: parameters that name files, whose content counts and not their place.
        random: whether it draws; see :class:`RandomDefense`.
        copies: inputs that the model is shown for each; more than 1: see :class:`VotingDefense`.
    """

    id: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()
    random: ClassVar[bool] = False

    @property
    def copies(self) -> int:
        """How many inputs the model is shown for one."""
        return 1

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


class RandomDefense(Defense):
    """A defense that draws anew each time it is asked. What it draws follows from a key for each row alone.

    A judge asks for many draws of the same input, each by its number, so that a replay repeats them
    (:func:`robaudit.target.inputs.drawing.keys_at`); searches take whatever keys come next. Rows draw with
    ``numpy.random.Generator(numpy.random.Philox(key))``, or by any other pure function of the key.
    """

    random = True

    @abstractmethod
    def drawn(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """What the model is shown of [N, *shape] in u-space at the draws of keys [N], each row by itself, in NumPy."""

    def drawn_forward(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """:meth:`drawn` of a tensor, to the bit; to be overridden where torch does it without leaving a GPU."""
        return u.new_tensor(self.drawn(u.detach().cpu().numpy(), keys))

    def drawn_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """A differentiable stand-in for :meth:`drawn` at the same draws; the identity unless overridden."""
        return u

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """The first draw of each row."""
        return self.drawn(u, keys_at(u, 0))


class VotingDefense(Defense):
    """A defense that shows the model many inputs for one, and answers what most of its answers say.

    It is no random one: what it shows follows from the input's content, so that the same input has the same answer. The
    scores behind it are votes; a gradient is that of the mean of the softmaxes. A chain holds at most one.
    """

    @property
    @abstractmethod
    def copies(self) -> int:
        """M, how many vote."""

    @abstractmethod
    def cast(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """What is shown of [N, *shape] in u-space at the draws of keys [N], each row by itself, in NumPy."""

    def cast_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """A differentiable stand-in for :meth:`cast` at the same draws; the identity unless overridden."""
        return u

    def names(self, votes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N] whether votes [N, K] for the classes name one: where any is cast, unless overridden."""
        found: NDArray[np.bool_] = votes.sum(1) > 0
        return found

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """[N * M, *shape], those of each row one after the other."""
        return self.cast(np.repeat(u, self.copies, 0), self._keys(u))

    def backward_path(self, u: Tensor) -> Tensor:
        """The same of a stand-in."""
        return self.cast_path(u.repeat_interleave(self.copies, 0), self._keys(u.detach().cpu().numpy()))

    def _keys(self, u: NDArray[Any]) -> NDArray[np.uint64]:
        first = keys_at(u, VOTES)
        return np.stack([of_place(first, place) for place in range(1, self.copies + 1)], 1).reshape(-1)

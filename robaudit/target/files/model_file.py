"""What a target asks of a loaded file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from robaudit.target.inputs.several import DeclaredInput
from robaudit.target.onnx import OnnxModule
from robaudit.target.outputs.bounds import Interval
from robaudit.target.outputs.declared import Choice, FileOutput
from robaudit.target.outputs.peel import Tail
from robaudit.target.outputs.wiring import Wiring
from robaudit.target.running.smooth import Smooth
from robaudit.target.running.trainable import Learner
from robaudit.target.running.watch import Watch

__all__ = ["Fixed", "ModelFile"]


class Fixed(Protocol):
    """An input that keeps its value."""

    @property
    def declared(self) -> DeclaredInput:
        """The input."""
        ...

    @property
    def text(self) -> str:
        """Its value as it was given."""
        ...


class ModelFile(Protocol):
    """A loaded file; x has the file's layout and units."""

    path: Path
    sha256: str
    size: int
    external: dict[str, str]
    format: str
    metadata: dict[str, str]
    no_gradient: str | None
    outputs: list[FileOutput]
    training: tuple[str, ...]
    drawing: tuple[str, ...]
    """Operators that draw random numbers, as the file names them; none where that is not known."""
    watch: Watch

    @property
    def wiring(self) -> Wiring | None:
        """The ONNX graph; None where there is none."""
        ...

    @property
    def fixed(self) -> Sequence[Fixed]:
        """Inputs that keep their values."""
        ...

    @property
    def twin(self) -> OnnxModule | None:
        """What is differentiated in the file's place; None where the file is its own twin, or has none."""
        ...

    @property
    def cutting(self) -> tuple[str, ...]:
        """Operators without a useful derivative in a file that is its own twin, by name."""
        ...

    @property
    def bounds(self) -> Interval | None:
        """Lowest and highest number that the chosen output can hold, where its last operators tell."""
        ...

    def answers(self, x: Tensor, width: int) -> list[dict[str, Any]]:
        """Every output to each input, asked alone."""
        ...

    def choose_output(self, choice: Choice, values: tuple[Any, ...] | None) -> None:
        """Settle what ``run`` reads."""
        ...

    def decides(self, name: str) -> bool:
        """Whether an output is known to be a decision: the place of the largest of some numbers, or the like."""
        ...

    def find_tail(self, choice: Choice) -> tuple[Tail | None, tuple[Any, ...] | None]:
        """(where the twin ends, what the file calls its classes); None for a label whose decision is not found."""
        ...

    def import_twin(self, tail: Tail) -> None:
        """Build what is differentiated."""
        ...

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """[N, ...] chosen output at file precision, without gradient.

        ``width``: rows of one call, each of which holds one input repeated; None: all inputs in one call.
        """
        ...

    def plain(self, x: Tensor, *, width: int | None = None) -> Tensor | None:
        """As ``run``, by a runtime without optimisations; None where there is none."""
        ...

    def differentiable(self, x: Tensor) -> Tensor:
        """The twin's tensor, with a gradient."""
        ...

    @property
    def unsmooth(self) -> str | None:
        """Why there is no twin with a smooth backward, as a clause; None: there is one."""
        ...

    def smoothly(self, x: Tensor, smooth: Smooth) -> Tensor:
        """As ``differentiable``, with a smooth backward."""
        ...

    def features(self, *, smooth: bool = False) -> Callable[[Tensor], Tensor] | None:
        """What is differentiated without its last linear layer: [N, ...] inputs to the features [N, ...] from which
        scores before a softmax follow linearly; None where no such layer is found at its end.

        ``smooth``: with a smooth backward, where there is one.
        """
        ...

    def fresh(self) -> ModelFile:
        """The file loaded again, without what calls have left in this one."""
        ...

    def start_afresh(self) -> None:
        """From now on undo before each call what calls leave behind; to be said before the first."""
        ...

    def as_written(self) -> OnnxModule | None:
        """The graph in float64, operator by operator as the file has it; None where there is none to read.

        Raises:
            UnsupportedOperatorError: an operator has no translation.
        """
        ...

    def learner(self, sample: Tensor) -> Learner:
        """The model as a function of its weights, up to where it is differentiated; ``sample``: [1, ...] any input.

        Raises:
            Untrainable: why it is none.
        """
        ...

    def other_inputs(self) -> dict[str, Tensor]:
        """The inputs that keep their values, by name, as that graph takes them."""
        ...

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        ...

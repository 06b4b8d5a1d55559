"""What a target asks of a loaded file, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from robaudit.target.bounds import Interval
from robaudit.target.inputs import DeclaredInput
from robaudit.target.onnx import OnnxModule
from robaudit.target.outputs import FileOutput

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

    format: str
    no_gradient: str | None
    outputs: list[FileOutput]

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

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """[N, ...] output at file precision, without gradient.

        ``width``: rows of one call, each of which holds one input repeated; None: all inputs in one call.
        """
        ...

    def differentiable(self, x: Tensor) -> Tensor:
        """The output with a gradient."""
        ...

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        ...

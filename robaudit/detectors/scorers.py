"""Detectors as ONNX files: ONNX Runtime and NumPy alone, so that evidence is replayed without torch."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import RobauditError, UsageError
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OnnxScorer", "Scorer"]

PROBES = (0.25, 0.5, 0.75)
"""Grey inputs on which a file is tried."""


class Scorer(ABC):
    """A file from inputs to one float number each, loaded and tried.

    Args:
        path: of the file.
        meaning: of the model's input.
        unit: it takes points of u-space, and not what the model takes.

    Raises:
        UsageError: it cannot be loaded, takes other inputs, gives no score, or answers otherwise each time.
    """

    def __init__(self, path: Path, meaning: InputMeaning, *, unit: bool) -> None:
        self.path, self._meaning, self._unit = path, meaning, unit
        self._open()
        tried = np.stack([np.full(meaning.shape, value, dtype=meaning.precision) for value in PROBES])
        try:
            first = self.scores(tried)
        except UsageError:
            raise
        except RobauditError as error:
            words = "x".join(map(str, self._prepared(tried).shape[1:]))
            raise UsageError(f"the detector {path} does not take inputs of {words}: {error}") from error
        if not np.array_equal(first, self.scores(tried), equal_nan=True):
            raise UsageError(f"the detector {path} answers otherwise each time; random detectors are not supported")

    @abstractmethod
    def _open(self) -> None:
        """Load the file."""

    @abstractmethod
    def _asked(self, x: NDArray[Any]) -> NDArray[Any]:
        """What the file answers to one input [1, ...]."""

    @abstractmethod
    def _function(self) -> Callable[[Tensor], Tensor]:
        """The file's function in torch; may raise anything where there is none."""

    def _prepared(self, u: NDArray[Any]) -> NDArray[Any]:
        """[N, ...] as the file takes points of u-space."""
        return u if self._unit else self._meaning.file_array(u)

    def scores(self, u: NDArray[Any]) -> NDArray[np.float64]:
        """[N] of points [N, *shape], each asked alone."""
        found = []
        for row in self._prepared(u):
            answer = np.asarray(self._asked(row[None]))
            if answer.dtype.kind != "f":
                raise UsageError(
                    f"the detector {self.path} gives {answer.dtype} of an input; a score is one float number"
                )
            if answer.size != 1:
                raise UsageError(f"the detector {self.path} gives {answer.size} numbers of an input; a score is one")
            found.append(float(answer.reshape(-1)[0]))
        return np.array(found, dtype=np.float64)

    def slope(self, u: Tensor) -> Tensor | None:
        """[N] the same of a tensor, with the gradient of the file; None where it has none."""
        return None if self._differentiable is None else self._through(self._differentiable, u)

    def _through(self, function: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
        x = u
        if not self._unit:
            from dataclasses import fields

            from robaudit.target.inputs.spec import InputSpec

            spec = InputSpec(**{entry.name: getattr(self._meaning, entry.name) for entry in fields(InputSpec)})
            x = spec.to_file(u)
        return function(x.float()).reshape(len(u)).to(u.dtype)

    @functools.cached_property
    def _differentiable(self) -> Callable[[Tensor], Tensor] | None:
        """The file's function where its gradient is finite and not all zero, and its values are the file's."""
        try:
            import torch

            function = self._function()
            ramp = torch.linspace(0, 1, int(np.prod(self._meaning.shape)))
            u = torch.stack([ramp, ramp.flip(0) * 0.5 + 0.25]).reshape(2, *self._meaning.shape)
            u = u.to(getattr(torch, self._meaning.precision)).requires_grad_()
            found = self._through(function, u)
            (gradient,) = torch.autograd.grad(found.sum(), u)
            same = np.allclose(found.detach().numpy(), self.scores(u.detach().numpy()), rtol=1e-3, atol=1e-4)
            good = bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any())
        except Exception:  # odd graphs break importers in their own ways
            return None
        return function if good and same else None


class OnnxScorer(Scorer):
    """A detector in ONNX Runtime, and its torch twin for gradients."""

    def _open(self) -> None:
        from robaudit.target.files.onnx.piece import OnnxPiece

        self._piece = OnnxPiece(self.path, "detector")

    def _asked(self, x: NDArray[Any]) -> NDArray[Any]:
        return self._piece.ask(x)

    def _function(self) -> Callable[[Tensor], Tensor]:
        twin = self._piece.twin()

        def run(x: Tensor) -> Tensor:
            found: Tensor = twin.to(x.device)(x)
            return found

        return run

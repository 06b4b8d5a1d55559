"""Purifiers as ONNX files: ONNX Runtime and NumPy alone, so that evidence is replayed without torch."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import RobauditError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["OnnxPurifier", "PurifierFile"]

PROBES = (0.25, 0.5, 0.75)
"""Grey images on which a file is tried."""


class PurifierFile(ABC):
    """A file from images to images of the same shape, loaded and tried.

    Args:
        path: of the file.
        shape: [C, H, W] of an image.

    Raises:
        UsageError: it cannot be loaded, takes or gives another shape, or answers otherwise each time.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self._shape = path, shape
        self._last = False
        self._open()
        self._last = self._settled()
        tried = np.stack([np.full(shape, value, dtype=np.float32) for value in PROBES])
        if not np.array_equal(self.purified(tried), self.purified(tried)):
            raise UsageError(f"the purifier {path} answers otherwise each time; random defenses are not supported yet")

    @abstractmethod
    def _open(self) -> None:
        """Load the file."""

    @abstractmethod
    def _asked(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """What the file answers to one image [1, ...]."""

    @abstractmethod
    def _module(self) -> nn.Module:
        """The file's function in torch; may raise anything where there is none."""

    def purified(self, u: NDArray[Any]) -> NDArray[Any]:
        """[N, C, H, W], each image asked alone, in [0, 1]."""
        rows = []
        for image in np.asarray(u, dtype=np.float32):
            x = np.ascontiguousarray(np.moveaxis(image, 0, -1) if self._last else image)[None]
            y = np.asarray(self._asked(x))
            if y.shape != x.shape:
                told = f"makes {_words(y.shape)} of {_words(x.shape)}"
                raise UsageError(f"the purifier {self.path} {told}; both must be equal")
            rows.append(np.moveaxis(y[0], -1, 0) if self._last else y[0])
        found = np.clip(np.nan_to_num(np.stack(rows).astype(np.float64)), 0, 1)
        return np.ascontiguousarray(found, dtype=u.dtype)

    def differentiable(self, u: Tensor) -> Tensor | None:
        """The same of a tensor, with the gradient of the file; None where it has none."""
        return None if self._slope is None else self._through(self._slope, u)

    def _through(self, slope: nn.Module, u: Tensor) -> Tensor:
        x = u.float().permute(0, 2, 3, 1) if self._last else u.float()
        y = slope.to(u.device)(x)
        found: Tensor = (y.permute(0, 3, 1, 2) if self._last else y).to(u.dtype)
        return found

    def _settled(self) -> bool:
        """Whether the file takes channels last: where it does not take them first."""
        refused: list[str] = []
        for self._last in (False, True):
            try:
                self.purified(np.full((1, *self._shape), 0.5, dtype=np.float32))
                return self._last
            except RobauditError as error:
                refused.append(str(error))
        raise UsageError(
            f"the purifier {self.path} does not take images of {_words(self._shape)}, as the model does: {refused[0]}"
        )

    @functools.cached_property
    def _slope(self) -> nn.Module | None:
        """The file's function where its gradient is finite and not all zero, and its values are the file's; found when
        a gradient is asked for, as replays ask for none."""
        try:
            import torch

            slope = self._module()
            ramp = torch.linspace(0, 1, int(np.prod(self._shape)))
            u = torch.stack([ramp, ramp.flip(0) * 0.5 + 0.25]).reshape(2, *self._shape).requires_grad_()
            found = self._through(slope, u)
            (gradient,) = torch.autograd.grad(found.pow(2).sum(), u)
            same = np.allclose(found.detach().clamp(0, 1).numpy(), self.purified(u.detach().numpy()), atol=1e-3)
            good = bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any())
        except Exception:  # odd graphs break importers in their own ways
            return None
        return slope if good and same else None


class OnnxPurifier(PurifierFile):
    """A purifier in ONNX Runtime, and its torch twin for gradients."""

    def _open(self) -> None:
        from robaudit.target.files.onnx.piece import OnnxPiece

        self._piece = OnnxPiece(self.path, "purifier")

    def _asked(self, x: NDArray[np.float32]) -> NDArray[Any]:
        return self._piece.ask(x)[:1]

    def _module(self) -> nn.Module:
        return self._piece.twin()


def _words(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

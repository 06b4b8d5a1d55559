"""Image quilting."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from robaudit.attacks.parameters import Natural, attack_parameters
from robaudit.defenses._seams import joined
from robaudit.defenses.base import Defense, RandomDefense
from robaudit.defenses.suited import no_images
from robaudit.errors import UsageError
from robaudit.target.inputs.meaning import InputMeaning

__all__ = ["Quilting"]


@attack_parameters
class Quilting(Defense):
    """Builds the image anew of patches of other, clean images, so that of a perturbation only the choice is left.

    The image is cut into overlapping patches; for each the nearest of a database stands in, or one drawn among the
    nearest, and neighbours are joined along the cut where they differ least. On the way back the identity stands for
    it. The database is an `.npz` file with `patches` [N, C, size, size] in [0, 1], which `robaudit train-purifier
    --recipe patches` makes of the data. Sources: Guo, Rana, Cisse, van der Maaten 2018, "Countering Adversarial Images
    using Input Transformations"; Efros, Freeman 2001, "Image Quilting for Texture Synthesis and Transfer", whose
    minimum error boundary cut joins patches of a row here, and then whole rows.

    Args:
        file: the database.
        overlap: of neighbours, in pixels; more than half of a patch counts as half.
        nearest: patches among which one is drawn anew for each answer; 1: the nearest one stands in, always.
    """

    id = "quilting"
    files = ("file",)

    file: str
    overlap: Annotated[Natural, Field(le=32)] = 2
    nearest: Annotated[int, Field(ge=1, le=100)] = 1

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images; whether its patches fit them, the file tells."""
        return no_images(meaning)

    def ready(self, meaning: InputMeaning, *, trust: bool = False) -> Defense:
        """The same with its patches."""
        patches = _patches(Path(self.file), meaning.shape)
        overlap = min(self.overlap, patches.shape[-1] // 2)
        if self.nearest > len(patches):
            raise UsageError(
                f"{self.file} has {len(patches)} patches, of which the nearest {self.nearest} were asked for"
            )
        if self.nearest > 1:
            return Choosing(patches, overlap, self.nearest)
        return Stocked(patches, overlap)

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """Nothing before :meth:`ready`."""
        raise UsageError(f"the patches {self.file} were not loaded")


class Stocked(Defense):
    """Quilting with its patches.

    Args:
        patches: [P, C, S, S] float32.
        overlap: of neighbours.
    """

    def __init__(self, patches: NDArray[np.float32], overlap: int) -> None:
        self._quilt = _Quilt(patches, overlap, 1)

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """[N, C, H, W] to the same."""
        return self._quilt.of(np.asarray(u, np.float64)).astype(u.dtype)


class Choosing(RandomDefense):
    """The same of patches that are drawn among the nearest ones.

    Args:
        patches: see :class:`Stocked`; ``overlap`` likewise.
        overlap: see there.
        nearest: how many one is drawn among.
    """

    def __init__(self, patches: NDArray[np.float32], overlap: int, nearest: int) -> None:
        self._quilt = _Quilt(patches, overlap, nearest)

    def drawn(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """[N, C, H, W] to the same, each by draws of its own."""
        draws = [np.random.Generator(np.random.Philox(key)) for key in keys]
        return self._quilt.of(np.asarray(u, np.float64), draws).astype(u.dtype)


class _Quilt:
    def __init__(self, patches: NDArray[np.float32], overlap: int, nearest: int) -> None:
        self._patches, self._overlap, self._count = patches, overlap, nearest
        flat = patches.reshape(len(patches), -1).astype(np.float64)
        self._mean = flat.mean(0)
        # distances are the same along the principal axes, and a tree that splits these looks at fewer patches
        _, self._axes = np.linalg.eigh((flat - self._mean).T @ (flat - self._mean))
        self._tree = cKDTree((flat - self._mean) @ self._axes)

    def of(self, images: NDArray[np.float64], draws: Sequence[np.random.Generator] = ()) -> NDArray[np.float64]:
        """[N, C, H, W], mirrored at the lower right until patches fill them; ``draws``: choose among the nearest."""
        size, step = self._patches.shape[-1], self._patches.shape[-1] - self._overlap
        high, wide = images.shape[2:]
        more = [max(0, -(-(length - size) // step)) * step + size - length for length in (high, wide)]
        padded = np.pad(images, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))[:, :, ::step, ::step]
        rows, columns = windows.shape[2:4]
        wanted = np.moveaxis(windows, 1, 3).reshape(len(images), rows * columns, -1)
        ranks = np.stack([draw.integers(self._count, size=rows * columns) for draw in draws]) if draws else None
        chosen = self._patches[self._nearest(wanted, ranks)]
        chosen = chosen.reshape(len(images), rows, columns, *self._patches.shape[1:])
        return joined(chosen.astype(np.float64), self._overlap)[:, :, :high, :wide]

    def _nearest(self, wanted: NDArray[np.float64], ranks: NDArray[np.int64] | None) -> NDArray[np.intp]:
        """[N, M, C * S * S] patches to the places [N, M] of those nearest to them in the database, or of those of these
        ranks [N, M] among the nearest, in the order of their places."""
        rows = (wanted.reshape(-1, wanted.shape[-1]) - self._mean) @ self._axes
        _, found = self._tree.query(rows, k=self._count)
        if ranks is not None:
            found = np.sort(found.reshape(len(rows), -1), 1)[np.arange(len(rows)), ranks.reshape(-1)]
        return np.asarray(found, dtype=np.intp).reshape(wanted.shape[:2])


def _patches(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """[P, C, S, S] of a file, for images of a shape [C, H, W].

    Raises:
        UsageError: it cannot be read, or holds no such patches.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = np.asarray(file["patches"])
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no .npz file with an array `patches`, which quilting needs") from error
    if found.ndim != 4 or not len(found) or found.shape[2] != found.shape[3] or found.dtype.kind != "f":
        told = "x".join(map(str, found.shape)) or "one number"
        raise UsageError(f"the patches of {path} are {told} of {found.dtype}, and must be NxCxSxS of floats")
    if found.shape[1] != shape[0] or found.shape[2] < 2 or found.shape[2] > min(shape[1:]):
        told = "x".join(map(str, found.shape[1:]))
        raise UsageError(f"the patches of {path} are {told}, and the model's images {'x'.join(map(str, shape))}")
    if not np.isfinite(found).all() or found.min() < 0 or found.max() > 1:
        raise UsageError(f"the patches of {path} are not all in [0, 1]")
    return np.ascontiguousarray(found, dtype=np.float32)

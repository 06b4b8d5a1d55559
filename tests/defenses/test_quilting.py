"""Image quilting: patches from a database, joined along the cut where they differ least."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from wrapper_kit import SHAPE, images, meaning

from robaudit.defenses._seams import _cuts, joined
from robaudit.defenses.base import Defense
from robaudit.defenses.registry import fitted, make_defense
from robaudit.errors import UsageError


def database(path: Path, patches: np.ndarray) -> Path:
    np.savez(path, patches=patches)
    return path


def windows(u: np.ndarray, size: int) -> np.ndarray:
    """All patches [P, C, size, size] of images."""
    found = np.lib.stride_tricks.sliding_window_view(u, (size, size), axis=(2, 3))
    return np.ascontiguousarray(np.moveaxis(found, 1, 3).reshape(-1, u.shape[1], size, size))


def ready(path: Path, shape: tuple[int, ...] = SHAPE, **more: object) -> Defense:
    return fitted(make_defense("quilting", {"file": str(path), **more}), meaning(shape))


@pytest.mark.parametrize(("size", "overlap"), [(4, 2), (4, 0), (5, 2), (3, 9)])
def test_an_image_whose_patches_are_all_there_stays_as_it_is(tmp_path: Path, size: int, overlap: int) -> None:
    u = images(2)
    padded = np.pad(u, ((0, 0), (0, 0), (0, size), (0, size)), mode="symmetric")
    defense = ready(database(tmp_path / "p.npz", windows(padded, size)), overlap=overlap)
    np.testing.assert_allclose(defense.shown(u), u, atol=1e-6)


def test_each_row_is_made_by_itself_of_the_nearest_patches(tmp_path: Path) -> None:
    levels = np.stack([np.full((3, 4, 4), level, np.float32) for level in (0.3, 0.5, 0.7)])
    defense = ready(database(tmp_path / "p.npz", levels))
    u = images(3)
    found = defense.shown(u)
    assert set(np.unique(found)) == {np.float32(0.3), np.float32(0.5), np.float32(0.7)}
    for row, alone in zip(u, found, strict=True):
        assert defense.shown(row[None])[0].tobytes() == alone.tobytes()
    flat = np.full((1, *SHAPE), 0.58, np.float32)
    assert (defense.shown(flat) == np.float32(0.5)).all()
    assert defense.forward(torch.from_numpy(u)).numpy().tobytes() == found.tobytes()
    leaf = torch.from_numpy(u).requires_grad_()
    assert torch.equal(torch.autograd.grad(defense.backward_path(leaf).sum(), leaf)[0], torch.ones_like(leaf))


def test_the_cut_is_the_path_of_least_sum() -> None:
    error = np.random.default_rng(0).random((20, 5, 4))
    found = _cuts(error)
    for rows, cut in zip(error, found, strict=True):
        assert (abs(np.diff(cut)) <= 1).all()
        paths = [p for p in itertools.product(range(4), repeat=5) if (abs(np.diff(p)) <= 1).all()]
        least = min(sum(rows[y, x] for y, x in enumerate(path)) for path in paths)
        assert sum(rows[y, x] for y, x in enumerate(cut)) == pytest.approx(least)


def test_neighbours_meet_where_they_agree() -> None:
    left, right = np.zeros((2, 1, 4, 4))
    right[:] = 1
    left[:, :, 3] = 1  # they agree in the second of the two columns that overlap
    found = joined(np.stack([left, right])[None, None], 2)[0]
    assert found.shape == (1, 4, 6)
    np.testing.assert_array_equal(found[0, 0], [0, 0, 0, 1, 1, 1])
    turned = joined(np.stack([left.swapaxes(1, 2), right])[None, :, None], 2)[0]
    np.testing.assert_array_equal(turned[0], found[0].T)


@pytest.mark.parametrize(
    ("patches", "more", "words"),
    [
        (np.zeros((9, 1, 4, 4), np.float32), {}, "are 1x4x4, and the model's images 3x12x10"),
        (np.zeros((9, 3, 11, 11), np.float32), {}, "are 3x11x11, and the model's images 3x12x10"),
        (np.zeros((9, 3, 4), np.float32), {}, "are 9x3x4 of float32, and must be NxCxSxS of floats"),
        (np.zeros((9, 3, 4, 4), np.uint8), {}, "of uint8, and must be NxCxSxS of floats"),
        (np.zeros((0, 3, 4, 4), np.float32), {}, "must be NxCxSxS of floats"),
        (np.full((9, 3, 4, 4), 2, np.float32), {}, "are not all in [0, 1]"),
        (np.full((9, 3, 4, 4), np.nan, np.float32), {}, "are not all in [0, 1]"),
        (np.zeros((9, 3, 4, 4), np.float32), {"nearest": 10}, "has 9 patches, of which the nearest 10 were asked for"),
    ],
)
def test_patches_that_do_not_fit_are_refused(tmp_path: Path, patches: np.ndarray, more, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        ready(database(tmp_path / "p.npz", patches), **more)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_holds_no_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        ready(tmp_path / "p.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "text.npz").write_text("patches")
    np.save(tmp_path / "one.npy", np.zeros((9, 3, 4, 4), np.float32))
    for name in ("other.npz", "text.npz", "one.npy"):
        with pytest.raises(UsageError, match=r"is no \.npz file with an array `patches`"):
            ready(tmp_path / name)
    table = meaning((5,))
    with pytest.raises(UsageError, match="it needs images, and the model takes 5 features"):
        fitted(make_defense("quilting", {"file": "p.npz"}), table)

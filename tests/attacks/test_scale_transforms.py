"""Smoothed gradients, darker copies and mixed images, each beside the plain formula of its paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor
from transform_rows import KEYS, copies, images

from robaudit.attacks.transforms.admix import Admix
from robaudit.attacks.transforms.scale_invariance import ScaleInvariance
from robaudit.attacks.transforms.translation_invariance import TranslationInvariance


@pytest.mark.parametrize("shape", [(3, 20, 31), (1, 6, 5), (2, 1, 40)])
@pytest.mark.parametrize(("radius", "deviations"), [(7, 3.0), (2, 1.5)])
def test_gradients_are_smoothed_by_a_gaussian_with_zeros_beyond_the_edges(
    shape: tuple[int, ...], radius: int, deviations: float
) -> None:
    gradient = images(*shape) - 0.5
    density = stats.norm.pdf(np.linspace(-deviations, deviations, 2 * radius + 1))
    kernel = np.outer(density, density) / density.sum() ** 2
    expected = [[ndimage.convolve(plane, kernel, mode="constant") for plane in row] for row in gradient.numpy()]
    found = TranslationInvariance(radius=radius, deviations=deviations).smoothed(gradient)
    torch.testing.assert_close(found, torch.from_numpy(np.array(expected)))


def test_smoothing_leaves_the_points_and_costs_no_copy() -> None:
    change, points = TranslationInvariance(), images(3, 9, 9)
    assert change.apply(points, copies()) is points
    assert not change.moves
    assert change.copies == 1


def test_each_copy_is_half_as_bright_as_the_one_before() -> None:
    change, points = ScaleInvariance(scales=3), images(2, 5, 4)
    assert change.copies == 3
    found = change.apply(points, copies(number=torch.tensor([0, 1, 2, 1, 0])))
    for row, factor in enumerate((1, 1 / 2, 1 / 4, 1 / 2, 1)):
        assert torch.equal(found[row], points[row] * factor)


def others() -> tuple[Tensor, Tensor]:
    return images(2, 5, 4).flip(0), torch.tensor([0, 1, 1, 0, 2])


def test_a_share_of_another_class_is_added_before_the_scale() -> None:
    change, points = Admix(images=2, scales=3, strength=0.25), images(2, 5, 4)
    assert change.copies == 6
    pool, labels = others()
    label, seen = torch.tensor([0, 1, 2, 0, 3]), [set() for _ in range(5)]
    for step in range(60):
        number = torch.tensor([step % 6] * 5)
        found = change.apply(points, copies(step, number=number, label=label, points=pool, labels=labels))
        for row in range(5):
            added = (found[row] * 2 ** (step % 3) - points[row]) / 0.25
            (which,) = (i for i in range(5) if torch.allclose(added, pool[i]))
            seen[row].add(which)
    classes = [{int(labels[i]) for i in found} for found in seen]
    assert classes == [{1, 2}, {0, 2}, {0, 1}, {1, 2}, {0, 1, 2}]
    assert all(found == {i for i in range(5) if labels[i] != y} for found, y in zip(seen, label, strict=True))


def test_nothing_is_added_where_there_is_no_other_class() -> None:
    change, points = Admix(), images(2, 5, 4)
    expected = points / 2
    pool = images(2, 5, 4)
    alone = copies(number=1, points=pool, labels=torch.zeros(5, dtype=torch.int64))
    assert torch.equal(change.apply(points, alone), expected)
    nothing = copies(number=1, points=pool[:0], labels=torch.zeros(0, dtype=torch.int64))
    assert torch.equal(change.apply(points, nothing), expected)


def test_each_other_sample_is_as_likely() -> None:
    keys = KEYS.repeat(400)
    pool = torch.arange(4.0)[:, None, None, None]
    rows = copies(torch.arange(2000), keys, points=pool, labels=torch.tensor([0, 1, 2, 3]))
    drawn, found = rows.others("admix")
    count = torch.bincount(drawn.flatten().long(), minlength=4)
    assert bool(found.all())
    assert count[0] == 0
    assert stats.chisquare(count[1:].numpy()).pvalue > 1e-4

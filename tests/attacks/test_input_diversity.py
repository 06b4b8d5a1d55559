"""Input diversity: what an image becomes, and that nothing else in the batch decides it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transform_rows import KEYS, copies, images

from robaudit.attacks.transforms.input_diversity import InputDiversity
from robaudit.threat.random import Draws


def by_hand(image: Tensor, change: InputDiversity, draw: list[float]) -> Tensor:
    """One image [C, H, W], step by step: resized by PyTorch, then padded."""
    chance, size, top, left = draw
    if chance >= change.probability:
        return image
    sides, before = [], []
    for length, place in zip(image.shape[1:], (top, left), strict=True):
        least = int(change.smallest * length)
        sides.append(least + math.floor(size * (length - least)))
        before.append(math.floor(place * (length - sides[-1] + 1)))
    small = functional.interpolate(image[None], sides, mode="bilinear", align_corners=False)[0]
    (height, width), (above, ahead) = sides, before
    padding = (ahead, image.shape[2] - width - ahead, above, image.shape[1] - height - above)
    return functional.pad(small, padding, value=change.fill)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 20), (2, 5, 9)])
@pytest.mark.parametrize("smallest", [0.9, 0.6])
def test_images_are_resized_and_padded_as_by_hand(shape: tuple[int, ...], smallest: float) -> None:
    change = InputDiversity(probability=0.7, smallest=smallest, fill=0.25)
    points, seen = images(*shape), set()
    for number in range(8):
        step = torch.full((5,), number)
        changed = change.apply(points, copies(step))
        for row, draw in enumerate(Draws(KEYS).uniform("input diversity", step, (4,)).tolist()):
            expected = by_hand(points[row], change, draw)
            torch.testing.assert_close(changed[row], expected, rtol=0, atol=1e-12)
            seen.add(torch.equal(expected, points[row]))
    assert seen == {True, False}


@pytest.mark.parametrize("change", [InputDiversity(probability=0.0), InputDiversity(probability=1.0, smallest=1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_change_is_the_identity_to_the_last_bit(change: InputDiversity, dtype: torch.dtype) -> None:
    points = images(3, 17, 19, dtype=dtype)
    assert torch.equal(change.apply(points, copies(torch.arange(5))), points)


def test_a_row_is_changed_alike_in_any_batch_and_order() -> None:
    change, points, step = InputDiversity(probability=1.0), images(3, 32, 32), torch.tensor([4, 0, 9, 1, 2])
    together = change.apply(points, copies(step))
    order = torch.tensor([3, 0, 4])
    assert torch.equal(change.apply(points[order], copies(step[order], KEYS[order])), together[order])
    for row in range(5):
        alone = change.apply(points[row : row + 1], copies(step[row : row + 1], KEYS[row : row + 1]))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-15)
    assert not torch.allclose(change.apply(points, copies(step + 1)), together)


def test_float32_and_float64_are_changed_by_the_same_draws() -> None:
    change, points = InputDiversity(probability=1.0, smallest=0.5), images(3, 40, 40)
    single = change.apply(points.float(), copies(torch.arange(5)))
    torch.testing.assert_close(single.double(), change.apply(points, copies(torch.arange(5))), rtol=0, atol=1e-5)


def test_every_pixel_has_a_gradient_and_a_constant_image_keeps_its_value() -> None:
    change = InputDiversity(probability=1.0, fill=1.0)
    points = torch.full((5, 1, 30, 30), 0.5, dtype=torch.float64, requires_grad=True)
    changed = change.apply(points, copies(torch.arange(5)))
    assert set(changed.detach().mul(2).round(decimals=12).unique().tolist()) == {1.0, 2.0}  # the image, the padding
    (slope,) = torch.autograd.grad(changed.sum(), points)
    assert bool((slope > 0).all())
    inside = (changed == 0.5).flatten(1).sum(1).to(slope)
    torch.testing.assert_close(slope.flatten(1).sum(1), inside)  # weights of a pixel of the smaller image add up to 1


def test_what_is_no_image_is_refused() -> None:
    change = InputDiversity()
    assert change.unsuited((3, 32, 32)) is None
    for shape in ((12,), (3, 1, 8), (1, 3, 8, 8)):
        assert "resizes images" in str(change.unsuited(shape))

"""What holds of every transform: shapes, slopes, and that nothing but the row itself decides what becomes of it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from transform_rows import KEYS, copies, images

from robaudit.attacks.registry import transform_classes
from robaudit.attacks.transforms.base import Copies, Transform

SHAPES = [(3, 12, 12), (1, 7, 5), (2, 4, 9), (1, 1, 9), (2, 6, 1), (1, 2, 3), (1, 1, 1)]
FIXED = {"di": {"fill": 0.5}}
"""Parameters with which the value of a transform has the slope that is taken: that of what di pads with is left out."""
NUMBERS = torch.tensor([0, 1, 2, 0, 1])


def known(change: Transform, shape: tuple[int, ...], order: Tensor | None = None) -> Copies:
    """Rows with other samples to draw on, or some of them."""
    order = torch.arange(5) if order is None else order
    others = torch.rand(6, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return copies(
        torch.tensor([4, 0, 9, 1, 2])[order],
        KEYS[order],
        (NUMBERS % change.copies)[order],
        label=torch.tensor([0, 1, 1, 2, 0])[order],
        points=others,
        labels=torch.tensor([0, 0, 1, 1, 2, 3]),
    )


def changed(change: Transform, points: Tensor, rows: Copies) -> Tensor:
    return change.smoothed(change.apply(points, rows))


@pytest.mark.parametrize("id", transform_classes())
@pytest.mark.parametrize("shape", SHAPES)
def test_any_image_keeps_its_shape_and_has_the_slope_of_its_value(id: str, shape: tuple[int, ...]) -> None:
    change = transform_classes()[id](**FIXED.get(id, {}))
    if (why := change.unsuited(shape)) is not None:
        assert id == "di"
        assert "x".join(map(str, shape)) in why
        assert 1 in shape[1:]
        return
    points = images(*shape).requires_grad_()
    assert changed(change, points, known(change, shape)).shape == points.shape
    if points.numel() < 200:
        assert torch.autograd.gradcheck(lambda x: change.apply(x, known(change, shape)), (points,))


@pytest.mark.parametrize("id", transform_classes())
@pytest.mark.parametrize("shape", [(12,), (4, 6), (2, 3, 4, 5)])
def test_what_is_no_image_is_skipped_with_the_reason(id: str, shape: tuple[int, ...]) -> None:
    why = transform_classes()[id]().unsuited(shape)
    if id == "vr":  # it suits tables too
        assert why is None
        return
    assert why is not None
    assert why.startswith(f"{id} ")
    assert why.endswith(f"samples of shape {'x'.join(map(str, shape))} are none")


@pytest.mark.parametrize("id", transform_classes())
def test_a_row_is_changed_alike_in_any_batch_and_order(id: str) -> None:
    change, points = transform_classes()[id](), images(3, 11, 13)
    together = changed(change, points, known(change, (3, 11, 13)))
    for order in (torch.tensor([3, 0, 4]), torch.tensor([2]), torch.tensor([4, 3, 2, 1, 0])):
        part = changed(change, points[order], known(change, (3, 11, 13), order))
        torch.testing.assert_close(part, together[order], rtol=0, atol=1e-13)


@pytest.mark.parametrize("id", sorted(set(transform_classes()) - {"ti", "si"}))
def test_another_step_is_another_draw(id: str) -> None:
    change, points = transform_classes()[id](), images(3, 11, 13)
    rows = known(change, (3, 11, 13))
    other = dataclasses.replace(rows, step=rows.step + 5)
    assert not torch.allclose(change.apply(points, rows), change.apply(points, other))


@pytest.mark.parametrize("id", transform_classes())
def test_float32_and_float64_are_changed_by_the_same_draws(id: str) -> None:
    change, points = transform_classes()[id](), images(3, 20, 17)
    rows = known(change, (3, 20, 17))
    single = changed(change, points.float(), rows)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), changed(change, points, rows), rtol=0, atol=2e-5)

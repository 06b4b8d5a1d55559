from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from robaudit.attacks.frequencies import cosines, from_low_frequencies, low_shape, to_low_frequencies


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 9), (2, 1, 7)])
def test_the_transform_is_that_of_scipy(shape: tuple[int, ...]) -> None:
    image = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = dctn(image.numpy(), axes=(-2, -1), norm="ortho")
    found = to_low_frequencies(image, shape, 1.0)
    assert np.allclose(found.numpy(), expected)
    assert torch.allclose(from_low_frequencies(found, shape), image)
    part = to_low_frequencies(image, shape, 0.5)
    assert tuple(part.shape[1:]) == low_shape(shape, 0.5)
    assert np.allclose(part.numpy(), expected[..., : part.shape[-2], : part.shape[-1]])


def test_low_frequencies_keep_lengths() -> None:
    coefficients = torch.randn(4, 2, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    image = from_low_frequencies(coefficients, (2, 9, 12))
    assert image.shape == (4, 2, 9, 12)
    assert torch.allclose(image.flatten(1).norm(dim=1), coefficients.flatten(1).norm(dim=1))
    basis = cosines(9, 4, image)
    assert torch.allclose(basis @ basis.T, torch.eye(4, dtype=torch.float64))


def test_what_is_no_image_keeps_all_its_features() -> None:
    row = torch.rand(3, 7)
    assert low_shape((7,), 0.25) == (7,)
    assert torch.equal(from_low_frequencies(row, (7,)), row)
    assert torch.equal(to_low_frequencies(row, (7,), 0.25), row)

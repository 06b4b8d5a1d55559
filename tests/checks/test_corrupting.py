"""Common corruptions: by their definitions, within the box, harsher from severity to severity."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from robaudit.checks.corrupting import CONSTANTS, corruptions_of

SEVERITIES = range(1, 6)


def photo(shape: tuple[int, ...] = (3, 32, 32)) -> np.ndarray:
    """Smooth colours with some detail."""
    random = np.random.default_rng(0)
    rows, columns = np.linspace(0, 1, shape[1])[:, None], np.linspace(0, 1, shape[2])
    waves = [0.5 + 0.3 * np.sin(5 * rows + place) * np.cos(7 * columns) for place in range(shape[0])]
    return (np.stack(waves) + 0.05 * random.normal(size=shape)).clip(0, 1).astype(np.float32)


def corrupted(name: str, u: np.ndarray, severity: int = 5, seed: int = 0) -> np.ndarray:
    return corruptions_of(u.shape)[name](u, severity, np.random.default_rng(seed))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 20, 33), (1, 8, 8), (3, 96, 80)])
@pytest.mark.parametrize("name", [name for name in CONSTANTS if name != "saturation"])
def test_every_corruption_changes_images_of_any_size_within_the_box(name: str, shape: tuple[int, ...]) -> None:
    u = photo(shape)
    for severity in SEVERITIES:
        found = corrupted(name, u, severity)
        assert (found.shape, found.dtype) == (u.shape, u.dtype)
        assert 0 <= found.min() <= found.max() <= 1
    assert not np.array_equal(found, u)
    np.testing.assert_array_equal(found, corrupted(name, u))


@pytest.mark.parametrize(
    "name", [name for name in CONSTANTS if name not in ("saturation", "fog", "pixelation", "jpeg")]
)
def test_the_harshest_changes_more_than_the_mildest(name: str) -> None:
    u = photo()
    mild, harsh = (np.abs(corrupted(name, u, severity) - u).mean() for severity in (1, 5))
    assert harsh > 1.2 * mild


def test_noise_has_its_published_size() -> None:
    grey = np.full((1, 64, 64), 0.5, np.float32)
    assert corrupted("gaussian noise", grey, 3).std() == pytest.approx(0.08, rel=0.05)
    assert corrupted("shot noise", grey, 3).std() == pytest.approx(np.sqrt(0.5 / 100), rel=0.05)
    assert corrupted("speckle noise", grey, 3).std() == pytest.approx(0.5 * 0.12, rel=0.05)
    salted = corrupted("impulse noise", grey, 5)
    assert (salted != 0.5).mean() == pytest.approx(0.07, rel=0.2)
    assert (salted == 1).sum() == pytest.approx((salted == 0).sum(), rel=0.3)
    large = np.full((1, 128, 128), 0.5, np.float32)
    assert corrupted("gaussian noise", large, 1).std() == pytest.approx(0.08, rel=0.05)  # ImageNet-C's


def test_contrast_shrinks_each_channel_to_its_mean() -> None:
    u = photo()
    mean = u.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(corrupted("contrast", u), mean + 0.15 * (u - mean), atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_and_saturation_are_those_of_hsv(severity: int) -> None:
    u = photo()
    u[:, 0, 0], u[:, 0, 1], u[:, 0, 2] = 0, 0.4, (1, 0, 0)  # black, grey, red
    raised, (factor, shift) = (CONSTANTS[n]["small"][severity - 1] for n in ("brightness", "saturation"))
    bright, saturated = corrupted("brightness", u, severity), corrupted("saturation", u, severity)
    for row, column in [(0, 0), (0, 1), (0, 2), (5, 7), (20, 3)]:
        h, s, v = colorsys.rgb_to_hsv(*u[:, row, column].astype(float))
        expected = colorsys.hsv_to_rgb(h, s, min(v + raised, 1))
        np.testing.assert_allclose(bright[:, row, column], expected, atol=1e-6)
        expected = colorsys.hsv_to_rgb(h, min(s * factor + shift, 1), v)
        np.testing.assert_allclose(saturated[:, row, column], expected, atol=1e-6)
    grey = np.full((1, 8, 8), 0.5, np.float32)
    assert "saturation" not in corruptions_of(grey.shape)
    np.testing.assert_allclose(corrupted("brightness", grey, severity), 0.5 + raised, atol=1e-6)


@pytest.mark.parametrize("name", ["gaussian blur", "defocus blur", "zoom blur", "pixelation", "fog", "contrast"])
def test_a_plain_image_stays_plain_where_nothing_is_added(name: str) -> None:
    found = corrupted(name, np.full((1, 32, 32), 0.4, np.float32))
    if name == "fog":
        assert found.std() > 0.01
    else:
        np.testing.assert_allclose(found, 0.4, atol=0.003)


def test_a_blur_keeps_the_brightness_of_a_point() -> None:
    point = np.zeros((1, 33, 33), np.float32)
    point[0, 16, 16] = 1
    for name in ("gaussian blur", "defocus blur"):
        found = corrupted(name, point)
        assert found.sum() == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(found, found.swapaxes(1, 2), atol=1e-6)
        assert found.max() < 0.5

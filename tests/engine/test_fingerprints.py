"""Fingerprints of inputs, and what a stateful detector makes of a search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robaudit.engine.blacklight import HASHES, THRESHOLD, Detector, fingerprint, salt, watches
from robaudit.engine.fingerprints import _by_torch, fingerprints


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8])
@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (2, 4)])
def test_equal_inputs_alone_have_the_same_fingerprint(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    points = (torch.rand(200, *shape, generator=torch.Generator().manual_seed(1)) * 100).to(dtype)
    found = fingerprints(points).tolist()
    assert found == fingerprints(points.clone()).tolist()
    assert len(set(found)) == len({tuple(row) for row in points.flatten(1).tolist()})
    assert found[3:5] == fingerprints(points[3:5]).tolist()  # whatever is beside


def test_values_that_differ_in_their_highest_bits_alone_are_told_apart() -> None:
    corners = torch.tensor([[float(i >> k & 1) for k in range(14)] for i in range(2**14)])
    assert len(set(fingerprints(corners).tolist())) == 2**14
    swapped = torch.tensor([[0.0, 1.0, 0.5, 0.5], [1.0, 0.0, 0.5, 0.5], [0.5, 0.5, 0.0, 1.0]])
    assert len(set(fingerprints(swapped).tolist())) == 3


def test_every_device_computes_the_same() -> None:
    points = torch.rand(5, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    words = torch.nn.functional.pad(points.flatten(1).view(torch.uint8), (0, 4)).view(torch.int64)
    assert _by_torch(words).tolist() == fingerprints(points).tolist()


def image(seed: int, shape: tuple[int, ...] = (3, 32, 32)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize(("shape", "window"), [((1, 12, 12), 50), ((3, 8, 8), 20)])
def test_a_fingerprint_holds_the_highest_hashes_of_all_windows(shape: tuple[int, ...], window: int) -> None:
    """By the definition: every window's polynomial hash, one by one."""
    from robaudit.engine.blacklight import BASE, MIX, WORDS

    picture = image(0, shape)
    picture.flat[3] = 1.0
    values = zip(picture.transpose(1, 2, 0).ravel(), salt(shape).transpose(1, 2, 0).ravel(), strict=True)
    levels = [round((float(v) + float(s)) * 255 % 255 / 50) for v, s in values]
    assert set(levels) == set(range(6))
    hashes = set()
    for start in range(len(levels) - window + 1):
        value = sum(levels[start + j] * pow(BASE, j, WORDS) for j in range(window)) % WORDS
        hashes.add((value ^ value >> 15) * MIX % WORDS)
    assert fingerprint(picture).tolist() == sorted(hashes)[-HASHES:]


def test_the_salt_spreads_over_the_range_of_pixels() -> None:
    found = np.sort(salt((3, 64, 64)).ravel())
    assert np.abs(found - (np.arange(found.size) + 0.5) / found.size).max() < 0.02  # Kolmogorov and Smirnov's distance
    assert np.array_equal(salt((3, 64, 64)), salt((3, 64, 64)))


def test_large_images_are_hashed_in_parts_as_if_they_were_one() -> None:
    from robaudit.engine.blacklight import BASE, MIX, PART, WIDE_WINDOW

    picture = image(1, (3, 128, 150))
    salted = (picture + salt(picture.shape)).transpose(1, 2, 0).ravel()
    levels = np.rint(np.mod(salted.astype(np.float64) * 255, 255) / 50).astype(np.uint32)
    assert len(levels) > PART
    powers = np.array([pow(BASE, j, 2**32) for j in range(WIDE_WINDOW)], np.uint32)
    sums = (np.lib.stride_tricks.sliding_window_view(levels, WIDE_WINDOW) * powers).sum(1, dtype=np.uint32)
    hashes = (sums ^ sums >> np.uint32(15)) * np.uint32(MIX)
    assert fingerprint(picture).tolist() == np.unique(hashes)[-HASHES:].tolist()


def test_a_search_is_flagged_and_other_images_are_not() -> None:
    detector = Detector()
    assert not any(detector.flags(image(seed)) for seed in range(5))
    near = image(2)
    near[:, 5:9, 5:9] = 1.0
    assert detector.flags(near)
    assert detector.flags(near)
    assert not detector.flags(image(9))


def test_less_than_half_of_the_hashes_in_common_is_not_enough() -> None:
    detector = Detector()
    first = image(1)
    detector.flags(first)
    half = first.transpose(1, 2, 0).reshape(-1).copy()
    half[len(half) // 8 :] = image(2).reshape(-1)[len(half) // 8 :]
    other = half.reshape(32, 32, 3).transpose(2, 0, 1)
    common = len(np.intersect1d(fingerprint(first), fingerprint(other)))
    assert 0 < common <= THRESHOLD
    assert not detector.flags(other)


def test_plain_images_are_told_from_each_other_by_the_salt() -> None:
    """Without it a plain image has one hash alone, and a search around it is not seen."""
    flat = np.zeros((3, 32, 32), np.float32)
    assert len(fingerprint(flat)) == HASHES
    detector = Detector()
    assert [detector.flags(flat), detector.flags(flat + np.float32(0.5)), detector.flags(flat)] == [False, False, True]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((3, 32, 32), True), ((1, 28, 28), True), ((1, 8, 8), False), ((13,), False), ((5, 40, 40), False)],
)
def test_only_images_are_watched(shape: tuple[int, ...], expected: bool) -> None:
    assert watches(shape) is expected

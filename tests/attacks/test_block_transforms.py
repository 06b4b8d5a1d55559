"""Images changed block by block, each beside the same done by hand, one image and one block at a time."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from scipy import fft
from torch import Tensor
from torch.nn import functional
from transform_rows import KEYS, copies, images

from robaudit.attacks.transforms.base import Copies
from robaudit.attacks.transforms.block_shuffle import BlockShuffle
from robaudit.attacks.transforms.structure_invariance import OPERATIONS, StructureInvariance

SHAPES = [(3, 24, 24), (1, 17, 11), (2, 5, 8)]


def parts(rows: Copies, row: int, name: str, times: int, length: int, blocks: int) -> list[list[tuple[int, int]]]:
    """First and last pixels of parts of a side, in their new order, so many times."""
    drawn = rows.uniform(f"{name} lengths", (times, blocks))[row].double()
    order = rows.uniform(f"{name} order", (times, blocks))[row].argsort(1).tolist()
    found = []
    for share, places in zip(2 - drawn, order, strict=True):
        cuts = share.cumsum(0)
        ends = [round(float(cut / cuts[-1] * length)) for cut in cuts]
        found.append([([0, *ends][i], ends[i]) for i in places])
    return found


def turned(strip: Tensor, angle: float) -> Tensor:
    """[C, h, w] about its middle, bilinear, 0 beyond its edges."""
    height, width = strip.shape[1:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    row, column = y * math.cos(angle) - x * math.sin(angle), y * math.sin(angle) + x * math.cos(angle)
    grid = torch.stack([2 * column / width, 2 * row / height], 2)
    return functional.grid_sample(strip[None], grid[None], "bilinear", "zeros", align_corners=False)[0]


def shuffled(image: Tensor, change: BlockShuffle, rows: Copies, row: int) -> Tensor:
    across = bool(rows.uniform("across", (1,))[row] < 0.5)
    name, image = ("across", image) if across else ("down", image.mT)
    length, breadth, count = image.shape[1], image.shape[2], change.blocks
    (strips,) = parts(rows, row, name, 1, length, count)
    within = parts(rows, row, f"{name} within", count, breadth, count)
    angles = (rows.uniform(f"{name} turn", (count,))[row].double() * 2 - 1) * 2 * math.pi * change.turn
    done = []
    for (first, last), blocks, angle in zip(strips, within, angles, strict=True):
        if first == last:
            continue
        strip = turned(image[:, first:last], float(angle))
        done.append(torch.cat([strip[:, :, begin:end] for begin, end in blocks], 2))
    found = torch.cat(done, 1)
    return found if across else found.mT


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blocks", [3, 2, 9])
def test_strips_are_shuffled_turned_and_cut_as_by_hand(shape: tuple[int, ...], blocks: int) -> None:
    change, points = BlockShuffle(blocks=blocks), images(*shape)
    for step in range(4):
        rows = copies(step)
        found = change.apply(points, rows)
        for row in range(5):
            torch.testing.assert_close(found[row], shuffled(points[row], change, rows, row), rtol=0, atol=1e-10)


def test_without_a_turn_every_pixel_is_still_there() -> None:
    change = BlockShuffle(turn=0.0)
    for shape in [(3, 24, 24), (1, 17, 11), (1, 1, 30), (1, 2, 2)]:
        points, ways = images(*shape), set()
        for step in range(6):
            found = change.apply(points, copies(step))
            torch.testing.assert_close(found.flatten(2).sort(2).values, points.flatten(2).sort(2).values)
            ways.update(found.flatten(1).argsort(1)[0, :4].tolist())
        assert len(ways) > 1 or shape == (1, 2, 2)


def cut(chance: Tensor, length: int, count: int) -> list[int]:
    """First pixels of the parts of a side, and its end."""
    chosen = chance[1:].argsort(descending=True)[: min(count, length) - 1] + 1
    return [0, *sorted(chosen.tolist()), length]


def by_name(name: str, block: Tensor, amount: float, noise: Tensor, channels: Tensor) -> Tensor:
    """One block [C, h, w] after one operation."""
    height, width = block.shape[1:]
    match name:
        case "down":
            return block.roll(int(amount * height), 1)
        case "across":
            return block.roll(int(amount * width), 2)
        case "upside down":
            return block.flip(1)
        case "mirror":
            return block.flip(2)
        case "turn":
            return block.rot90(2, (1, 2))
        case "scale":
            return block * amount
        case "noise":
            return block + noise
        case "resize":
            small = functional.interpolate(
                block[None], [int(0.8 * height) + 1, int(0.8 * width) + 1], mode="bilinear", align_corners=False
            )
            return functional.interpolate(small, [height, width], mode="bilinear", align_corners=False)[0]
        case "frequencies":
            wave = fft.dctn(block.numpy(), axes=(1, 2))
            wave[:, height - int(0.4 * height) :] = 0
            wave[:, :, width - int(0.4 * width) :] = 0
            return torch.from_numpy(fft.idctn(wave, axes=(1, 2)))
        case _:
            return block * ((channels >= 0.1).double() / 0.9)[:, None, None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blocks", [3, 7])
def test_each_block_is_changed_as_by_hand(shape: tuple[int, ...], blocks: int) -> None:
    change, points, seen = StructureInvariance(blocks=blocks, noise=0.1), images(*shape), Counter[str]()
    channels, height, width = shape
    for step in range(8):
        rows = copies(step)
        found = change.apply(points, rows)
        for row in range(5):
            tops = cut(rows.uniform("rows", (height,))[row], height, blocks)
            sides = cut(rows.uniform("columns", (width,))[row], width, blocks)
            count = (len(tops) - 1) * (len(sides) - 1)
            chosen = rows.uniform("operation", (count,))[row].double() * 10
            noise = (2 * rows.uniform("noise", shape)[row].double() - 1) * 0.1
            lost = rows.uniform("dropout", (channels, count))[row]
            place = 0
            for top, bottom in pairwise(tops):
                for left, right in pairwise(sides):
                    name, window = OPERATIONS[int(chosen[place])], (slice(None), slice(top, bottom), slice(left, right))
                    drawn = rows.uniform(name, (count,))[row] if name in ("down", "across", "scale") else None
                    amount = 0.0 if drawn is None else float(drawn[place])
                    expected = by_name(name, points[row][window], amount, noise[window], lost[:, place])
                    torch.testing.assert_close(found[row][window], expected, rtol=0, atol=1e-9, msg=name)
                    seen[name] += 1
                    place += 1
    assert set(seen) == set(OPERATIONS)


def test_operations_are_as_likely_as_each_other() -> None:
    keys = torch.arange(3000) * 7919
    rows = copies(0, keys)
    chosen = (rows.uniform("operation", (9,)).double() * len(OPERATIONS)).long().flatten()
    share = torch.bincount(chosen, minlength=10) / chosen.numel()
    assert bool(((share - 0.1).abs() < 0.01).all())
    assert len(KEYS) == 5

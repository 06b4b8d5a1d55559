"""Draws of distinct inputs: what nothing repeats in is drawn as it was, and copies count once."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from data_kit import open_dataset
from numpy.typing import NDArray
from PIL import Image

from robaudit.data.arrays import ArrayDataset
from robaudit.data.distinct import DistinctDraw, values_key
from robaudit.data.images import open_folder
from robaudit.data.reader import Fit, Wanted
from robaudit.data.source import Dataset, keyed_draw, keyed_order
from robaudit.data.table import read_table
from robaudit.data.tabular import open_table


class Counted(ArrayDataset):
    """Counts what is read of it."""

    loaded = 0

    def load(self, index: int) -> NDArray[np.float32]:
        self.loaded += 1
        return super().load(index)


def arrays(x: NDArray[np.float32], labels: list[int] | None = None) -> Counted:
    names = [str(i) for i in range(len(x))]
    y = None if labels is None else np.array(labels)
    return Counted(x, 0.0, 1.0, source="d", kind="array", ids=names, labels=y, digest="d")


def drawn(data: Dataset, count: int, seed: int = 0) -> tuple[list[int], DistinctDraw]:
    draw = DistinctDraw(data, seed, lambda u: u)
    return draw.first(count), draw


@pytest.mark.parametrize("seed", range(4))
def test_without_repeats_it_is_the_keyed_draw(seed: int) -> None:
    data = arrays(np.random.default_rng(seed).random((50, 3), dtype=np.float32))
    found, draw = drawn(data, 20, seed)
    assert sorted(found) == keyed_draw(50, 20, seed)
    assert data.loaded == 20
    assert (draw.repeats, draw.contradictions, draw.notes(20)) == (0, 0, [])


@pytest.mark.parametrize("seed", range(4))
def test_copies_are_replaced_by_the_next_of_the_order(seed: int) -> None:
    distinct = np.random.default_rng(seed).random((30, 3), dtype=np.float32)
    which = np.random.default_rng(seed + 99).integers(0, 30, 400)
    data = arrays(distinct[which])
    found, draw = drawn(data, 20, seed)
    first: dict[int, int] = {}
    for index in keyed_order(range(400), seed):
        first.setdefault(int(which[index]), index)
    assert found == list(first.values())[:20]
    assert draw.repeats == data.loaded - 20 < 100  # nothing is read that the draw did not come to
    assert found[:7] == drawn(data, 7, seed)[0]
    assert "distinct inputs" not in draw.notes(20)[0]
    whole, draw = drawn(data, 400, seed)
    assert (len(whole), draw.repeats) == (30, 370)
    assert "the data hold 30 distinct inputs, and 400 were asked for" in draw.notes(400)[0]
    counts = np.bincount(which, minlength=30)
    assert draw.copies(400) == {first[c]: int(counts[c]) - 1 for c in first if counts[c] > 1}
    assert sum(draw.copies(100).values()) == 70
    assert draw.copies(30) == {}


def test_contradicting_labels_are_counted_once_each() -> None:
    x = np.repeat(np.arange(4, dtype=np.float32)[:, None] / 4, 6, 0)
    labels = [0, 1, 2, 0, 1, 2, *[1] * 6, 0, 0, 0, 0, 0, 1, *[3] * 6]
    found, draw = drawn(arrays(x, labels), 24)
    assert len(found) == 4
    assert (draw.repeats, draw.contradictions) == (20, 2)
    assert draw.notes(24)[1].startswith("2 inputs occur with different labels, of which at most one can be right")
    assert DistinctDraw(arrays(x, labels), 0, lambda u: u, labels=False).contradictions == 0
    # the label of a copy is as likely to count as it is frequent
    kept = [labels[next(i for i in drawn(arrays(x, labels), 24, seed)[0] if i // 6 == 2)] for seed in range(300)]
    assert 0.08 < np.mean(kept) < 0.27


def test_inputs_are_told_apart_by_what_the_model_is_fed() -> None:
    x = np.array([[0.2], [0.2001], [0.7]], dtype=np.float32)
    rounded = DistinctDraw(arrays(x), 0, lambda u: np.rint(u * 255).astype(np.uint8))
    assert len(rounded.first(3)) == 2
    assert len(drawn(arrays(x), 3)[0]) == 3
    assert values_key(np.array([0.0, -0.0])) == values_key(np.array([-0.0, 0.0]))
    assert values_key(np.array([0.0, 1.0])) != values_key(np.array([1.0, 0.0]))


def test_copies_of_what_cannot_be_read_are_one_sample_too(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((6, 2)).astype(np.float32)
    x[[1, 3, 5]] = [np.nan, 0.5]
    np.savez(tmp_path / "d.npz", x=x)
    data = open_dataset(tmp_path / "d.npz", shape=(2,))
    found, draw = drawn(data, 6)
    assert (len(found), draw.repeats) == (4, 2)

    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in (("a", b"broken"), ("b", b"broken"), ("c", b"also broken")):
        (folder / f"{name}.png").write_bytes(content)
    for name, level in (("d", 10), ("e", 10), ("f", 200)):
        Image.new("L", (8, 8), level).save(folder / f"{name}.png")
    Image.new("L", (20, 20), 10).save(folder / "g.bmp")  # the same after resizing
    images = open_folder(folder, Fit((1, 8, 8)), Wanted())
    found, draw = drawn(images, 7)
    assert (len(found), draw.repeats) == (4, 3)


def test_rows_of_a_table_are_told_apart_by_their_features(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,label\n1,2,0\n1,2,1\n1,2,\n1,2,\n2,1,0\n,1,0\n,1,0\n")
    table = read_table(tmp_path / "d.csv", label_column="label")
    data = open_table(table, Fit((2,), 0, 2, num_classes=2))
    found, draw = drawn(data, 7)
    # (1, 2) with a label, (1, 2) without one, (2, 1), and the row that lacks a value
    assert (len(found), draw.repeats, draw.contradictions) == (4, 3, 1)


def test_the_draw_ends_where_none_is_new_for_long_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robaudit.data.distinct.PATIENCE", 50)
    data = arrays(np.tile(np.array([[0.25], [0.75]], np.float32), (5000, 1)))
    found, draw = drawn(data, 20)
    assert len(found) == 2
    assert data.loaded < 100
    assert draw.repeats == data.loaded - 2 == sum(draw.copies(10_000).values())
    [note] = draw.notes(20)
    assert note.endswith(
        "; no more of the 10,000 samples were looked at, as the last 50 brought no new input: 2 distinct inputs were "
        "found, and 20 were asked for"
    )
    assert draw.first(30) == found  # a larger draw stops at the same place
    assert data.loaded == draw.repeats + 2


def test_a_new_input_lets_the_draw_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robaudit.data.distinct.PATIENCE", 50)
    x = np.zeros((400, 1), np.float32)
    order = keyed_order(range(400), 0)
    x[order[::40]] = np.linspace(0.1, 1.0, 10, dtype=np.float32)[:, None]  # every 40th is new
    found, draw = drawn(arrays(x), 400)
    assert len(found) == 11
    assert draw.notes(400)[0].endswith("the data hold 11 distinct inputs, and 400 were asked for")


@pytest.mark.parametrize("labelled", [False, True])
def test_orders_are_those_of_hashes_one_by_one(labelled: bool) -> None:
    rng = np.random.default_rng(1)
    data = arrays(rng.random((60, 1), dtype=np.float32), rng.integers(-1, 3, 60).tolist() if labelled else None)

    def rank(*parts: object) -> tuple[bytes, int]:
        return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest(), int(str(parts[-1]))

    assert keyed_order(range(60), 7) == sorted(range(60), key=lambda i: rank("draw", 7, i))
    keyed = sorted(range(60), key=lambda i: rank("spread", 7, data.ids[i]))
    if data.labels is not None:
        seen: Counter[int] = Counter()
        turns = {}
        for index in keyed:
            label = int(data.labels[index])
            turns[index] = (label < 0, seen[label])
            seen[label] += 1
        keyed.sort(key=turns.__getitem__)
    assert data.spread(7) == keyed

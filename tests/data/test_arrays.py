from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from data_kit import open_dataset
from hypothesis import given
from hypothesis import strategies as st

from robaudit.data.label_arrays import array_labels
from robaudit.data.labels import Labels
from robaudit.data.reader import Fit, Wanted
from robaudit.data.registry import open_source
from robaudit.data.source import Dataset, keyed_draw
from robaudit.errors import UnreadableSampleError, UsageError


def save(folder: Path, name: str = "d.npz", **arrays: object) -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def open_it(path: Path, shape: tuple[int, ...] = (3, 4, 5), lo: float = 0.0, hi: float = 1.0, k: int = 10) -> Dataset:
    return open_dataset(path, shape=shape, lo=lo, hi=hi, num_classes=k)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_bytes_are_0_to_255_whatever_the_domain(tmp_path):
    x = pixels(6, 3, 4, 5)
    for lo, hi in ((0.0, 1.0), (-1.0, 1.0)):
        data = open_it(save(tmp_path, x=x, y=np.arange(6)), lo=lo, hi=hi)
        assert data.load(2).dtype == np.float32
        np.testing.assert_array_equal(data.load(2), x[2].astype(np.float32) / np.float32(255))
    assert data.labels.tolist() == list(range(6))
    assert (len(data), data.ids[1], data.kind, data.notes) == (6, "d.npz[1]", "array", [])
    assert data.digest == hashlib.sha256((tmp_path / "d.npz").read_bytes()).hexdigest()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_floats_lie_in_the_domain(tmp_path, dtype):
    x = np.array([[-2, 0, 6], [2, 2, 2]]).astype(dtype)
    data = open_it(save(tmp_path, x=x), shape=(3,), lo=-2, hi=6)
    np.testing.assert_allclose(data.load(0), [0, 0.25, 1])
    assert data.labels is None


@pytest.mark.parametrize("value", [1.01, -0.01, 255.0])
def test_floats_outside_of_the_domain_are_refused(tmp_path, value):
    path = save(tmp_path, x=np.array([[0.5, value, 0.5]]))
    with pytest.raises(
        UsageError, match=r"outside of the domain \[0, 1\]; give each feature its own range with --feat"
    ):
        open_it(path, shape=(3,))
    path = save(tmp_path, x=np.full((1, 1, 3, 3), value))
    with pytest.raises(UsageError, match=r"outside of the domain \[0, 1\]; give --domain"):
        open_it(path, shape=(1, 3, 3))


def test_rounding_noise_outside_of_the_domain_is_clipped(tmp_path):
    assert open_it(save(tmp_path, x=np.array([[1 + 1e-8, -1e-8]])), shape=(2,)).load(0).tolist() == [1.0, 0.0]


def test_range_is_checked_in_every_part(tmp_path, monkeypatch):
    monkeypatch.setattr("robaudit.data.arrays.CHUNK", 6)
    x = np.full((10, 3), 0.5)
    x[9, 2] = 7
    with pytest.raises(UsageError, match=r"from 0\.5 to 7"):
        open_it(save(tmp_path, x=x), shape=(3,))


def test_channels_last_are_moved_and_said(tmp_path):
    x = pixels(2, 4, 5, 3)
    data = open_it(save(tmp_path, x=x))
    np.testing.assert_allclose(data.load(1) * 255, np.moveaxis(x[1], -1, 0), atol=1e-4)
    assert data.notes == ["the channels were moved from last to first"]


def test_a_missing_channel_is_added_and_said(tmp_path):
    data = open_it(save(tmp_path, x=pixels(2, 4, 5)), shape=(1, 4, 5))
    assert data.load(0).shape == (1, 4, 5)
    assert data.notes == ["a channel dimension was added"]


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 1, 4, 5), (2, 4, 5), (2, 60)])
def test_arrays_are_never_resized(tmp_path, shape):
    with pytest.raises(UsageError, match="the model takes 3x4x5; arrays are never resized"):
        open_it(save(tmp_path, x=pixels(*shape)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_costs_itself(tmp_path, bad):
    x = np.full((3, 4), 0.5)
    x[1, 2] = bad
    data = open_it(save(tmp_path, x=x), shape=(4,))
    with pytest.raises(UnreadableSampleError, match="sample 1 holds NaN or infinity"):
        data.load(1)
    assert data.load(2).tolist() == [0.5] * 4


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((2, 3))}, r"no array x \(it holds: images\)"),
        ({}, r"it holds: nothing"),
        ({"x": np.zeros(3)}, "samples first"),
        ({"x": np.zeros((0, 3))}, "at least one"),
        ({"x": np.full((2, 3), np.nan)}, "no finite value"),
        ({"x": np.array([["a", "b", "c"]])}, "must hold numbers"),
        ({"x": np.zeros((1, 3), complex)}, "must hold numbers"),
        ({"x": np.zeros((2, 3)), "y": np.arange(3)}, "2 samples and 3 labels"),
        ({"x": np.zeros((2, 3)), "y": np.eye(2)}, "one-hot in 2 columns, and the model has 10 classes"),
        ({"x": np.array([[{}, {}, {}]], dtype=object)}, "no readable .npz"),
    ],
)
def test_what_an_archive_must_hold(tmp_path, arrays, words):
    with pytest.raises(UsageError, match=words):
        open_it(save(tmp_path, **arrays), shape=(3,))


def test_files_that_are_no_archives(tmp_path):
    good = save(tmp_path, x=pixels(50, 3, 4, 5)).read_bytes()
    np.save(tmp_path / "alone.npy", np.zeros(3))
    damaged = bytearray(good)
    damaged[200:400] = b"\xff" * 200
    contents = {
        "empty": b"",
        "short": good[: len(good) // 2],
        "damaged": bytes(damaged),
        "lone": (tmp_path / "alone.npy").read_bytes(),
        "noise": np.random.default_rng(1).bytes(999),
        "pickle": b"\x80\x04K\x01.",
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=f"{name}.npz is no readable .npz archive: ."):
            open_it(path)
    with pytest.raises(UsageError, match="there is no data at"):
        open_it(tmp_path / "nothing.npz")


def test_an_archive_tells_the_shape_of_its_samples_and_is_opened_once(tmp_path):
    shapes = {(7, 3, 4, 5): (3, 4, 5), (7, 8, 9, 3): (3, 8, 9), (7, 28, 28): (1, 28, 28), (7, 17): (17,)}
    for number, (shape, expected) in enumerate(shapes.items()):
        path = save(tmp_path, f"{number}.npz", x=pixels(*shape), y=np.zeros(7))
        source = open_source(path, Wanted())
        assert source.shape == expected
        path.unlink()
        assert len(source.samples(Fit(expected))) == 7
    assert open_source(tmp_path, Wanted()).shape is None


def labels(y: object, declared: list[str] | None = None, k: int | None = 3) -> Labels:
    values = np.asarray(y)
    return array_labels(values, len(np.atleast_1d(values)), declared=declared, num_classes=k, where="d.npz")


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([0, 1, -1], "go from -1 to 1: -1 can be one of the 3 classes, or no label"),
        ([1, 2, 3], "label 3 .*; do they start at 1"),
        ([0, 7, 8], "label 8 .* out of range: the model has 3 classes$"),
        ([0, -7, -8], "label -8 .* out of range: the model has 3 classes$"),
        ([0.0, 1.5, 2], "number 1 is 1.5"),
        ([0.0, np.inf], "number 1 is inf"),
        ([-1, -1], "every label in d.npz is -1"),
        ([np.nan, np.nan], "holds no label"),
        (["a"], "has 1 classes by name and the model has 3"),
        ([True, False], "has 2 classes by name and the model has 3"),
        (3, "one number or name a sample"),
        (np.zeros((2, 3, 2)), "one number or name a sample"),
        (np.full((2, 3), 1 / 3), "not one-hot"),
        (np.ones((2, 3)), "several classes for 2 of 2"),
        (np.eye(2), "one-hot in 2 columns, and the model has 3 classes"),
        (np.zeros((2, 3)), "holds no label"),
    ],
)
def test_labels_that_cannot_be(y, words):
    with pytest.raises(UsageError, match=words):
        labels(y)


@pytest.mark.parametrize("y", [[0, 2], [0.0, 2.0], [[0], [2]], np.array([0, 2], np.uint64), np.eye(3)[[0, 2]]])
def test_labels_that_can(y):
    found = labels(y)
    assert found.index.dtype == np.int64
    assert (found.index.tolist(), found.order, found.problems) == ([0, 2], "numeric", {})


@pytest.mark.parametrize(
    ("y", "declared", "expected"),
    [
        ([1, 2, 3, 1], ["1", "2", "3"], [0, 1, 2, 0]),
        ([2.0, 1.0], ["1", "2", "3"], [1, 0]),
        (["3", "1"], ["1", "2", "3"], [2, 0]),
        ([30, 10], ["10", "20", "30"], [2, 0]),
        ([b"cat", b"ant"], ["ant", "bee", "cat"], [2, 0]),
        (["cat", "ant"], ["ant", "bee", "cat"], [2, 0]),
        ([2, 0], ["ant", "bee", "cat"], [2, 0]),
        (np.eye(3, dtype=bool)[[2, 0]], ["1", "2", "3"], [2, 0]),
    ],
)
def test_labels_go_through_the_declared_classes(y, declared, expected):
    found = labels(y, declared)
    assert (found.index.tolist(), found.names) == (expected, declared)


def test_a_label_that_is_not_declared_and_can_be_an_index_is_refused():
    with pytest.raises(UsageError, match=r"the label 0 in d\.npz is not declared: the declared classes are 1, 2, 3"):
        labels([0, 1, 2], ["1", "2", "3"])


@pytest.mark.parametrize(
    ("y", "k", "expected", "order"),
    [
        ([True, False, True], 2, [1, 0, 1], "numeric"),
        (["TRUE", "FALSE"], 2, [1, 0], "numeric"),
        ([True, True], 2, [1, 1], "numeric"),
        ([-1, 1, 1], 2, [0, 1, 1], "sorted, assumed"),
        (["no", "yes"], 2, [0, 1], "sorted, assumed"),
        ([2, 10, 9, 0], 11, [2, 10, 9, 0], "numeric"),
        (["2", "10", "0.0", "+1"], 11, [2, 10, 0, 1], "numeric"),
    ],
)
def test_labels_of_all_kinds(y, k, expected, order):
    found = labels(y, k=k)
    assert (found.index.tolist(), found.order) == (expected, order)
    assert bool(found.notes) == order.endswith("assumed")


def test_a_label_that_cannot_be_costs_its_sample_alone():
    found = labels([0.0, 1, 2, 7, -1, np.nan, *[1.0] * 6])
    assert found.index.tolist() == [0, 1, 2, -1, -1, -1, *[1] * 6]
    assert found.problems == {
        3: "has the label 7, and the model has 3 classes",
        4: "has the label -1, which means none",
        5: "has no label",
    }


def test_a_sample_without_a_usable_label_is_lost_counted_and_named(tmp_path):
    path = save(tmp_path, x=np.zeros((5, 3)), y=np.array([0, 1, 2, -1, 9]))
    data = open_it(path, shape=(3,), k=3)
    assert data.notes == [
        "2 of 5 samples cannot be audited: d.npz[3] has the label -1, which means none; d.npz[4] has the label 9, and "
        "the model has 3 classes"
    ]
    assert data.load(2).tolist() == [0, 0, 0]
    with pytest.raises(UnreadableSampleError, match=r"d.npz\[3\] has the label -1"):
        data.load(3)


def test_the_number_of_classes_that_labels_tell(tmp_path):
    cases = [([0, 4, 2], 5), (np.eye(4)[[1, 2]], 4), (["0", "3"], 4), (["a", "b"], None), ([0.0, np.nan], None)]
    for number, (y, expected) in enumerate(cases):
        path = save(tmp_path, f"{number}.npz", x=np.zeros((len(y), 3)), y=np.array(y))
        assert open_source(path, Wanted()).classes == expected
    assert open_source(save(tmp_path, x=np.zeros((2, 3))), Wanted()).classes is None
    assert open_source(tmp_path, Wanted()).classes is None


def test_labels_stored_as_objects_are_named(tmp_path):
    path = save(tmp_path, x=np.zeros((2, 3)), y=np.array(["a", "b"], dtype=object))
    with pytest.raises(UsageError, match=r"y in .* is stored as Python objects, .*store y.astype\(str\)"):
        open_it(path, shape=(3,))


def test_labels_are_left_alone_where_the_model_is_the_reference(tmp_path):
    path = save(tmp_path, x=np.zeros((2, 3)), y=np.array([77, 99]))
    kwargs = {"shape": (3,), "lo": 0.0, "hi": 1.0, "crop": 1.0, "interpolation": "bicubic", "num_classes": 3}
    data = open_dataset(path, **kwargs, class_names=None, labels=None, labelled=False)
    assert data.labels is None
    with pytest.raises(UsageError, match="into it as y"):
        open_dataset(path, **kwargs, class_names=None, labels=tmp_path / "l.csv")
    (tmp_path / "d.txt").write_text("1,2")
    with pytest.raises(UsageError, match=r"neither a table \(.csv, .tsv\), an image folder nor an .npz"):
        open_dataset(tmp_path / "d.txt", **kwargs, class_names=None, labels=None)
    with pytest.raises(UsageError, match="there is no data at"):
        open_dataset(tmp_path / "gone", **kwargs, class_names=None, labels=None)


@given(size=st.integers(0, 200), count=st.none() | st.integers(1, 250), seed=st.integers(0, 2**63 - 1))
def test_a_draw_is_seeded_distinct_and_in_data_order(size, count, seed):
    drawn = keyed_draw(size, count, seed)
    assert drawn == keyed_draw(size, count, seed)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == (size if count is None else min(size, count))
    assert all(0 <= i < size for i in drawn)


def test_a_draw_depends_on_the_seed_and_is_even():
    assert keyed_draw(1000, 20, 0) != keyed_draw(1000, 20, 1)
    hits = np.bincount([i for seed in range(400) for i in keyed_draw(50, 10, seed)], minlength=50)
    assert hits.min() > 45
    assert hits.max() < 120

"""The input as NumPy computes it for a replay has the bits that torch gave the audit."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.data.ranges import Ranges
from robaudit.target.inputs.spec import InputSpec

numbers = st.floats(-300, 300, allow_nan=False, width=32)
positive = st.floats(2**-10, 300, width=32)


@st.composite
def images(draw) -> InputSpec:
    channels = draw(st.sampled_from([1, 2, 3, 4]))
    shape = (channels, draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    layout = draw(st.sampled_from(["nchw", "nhwc"]))
    count = draw(st.sampled_from([0, 1, channels]))
    low = draw(st.sampled_from([0.0, -1.0, 0.1]))
    return InputSpec(
        name="x",
        file_shape=shape if layout == "nchw" else (*shape[1:], channels),
        shape=shape,
        kind="image",
        layout=layout,
        dtype=draw(st.sampled_from(["float32", "float16", "float64", "uint8"])),
        lo=low,
        hi=low + draw(st.sampled_from([1.0, 2.0, 255.0, 0.7])),
        scale=draw(st.sampled_from([1.0, 255.0, 0.3])),
        mean=tuple(draw(st.lists(numbers, min_size=count, max_size=count))),
        std=tuple(draw(st.lists(positive, min_size=count, max_size=count))),
        channels=draw(st.sampled_from(["rgb", "bgr"])),
    )


@st.composite
def tables(draw) -> InputSpec:
    size = draw(st.integers(1, 5))
    low = draw(st.lists(numbers, min_size=size, max_size=size))
    width = draw(st.lists(st.one_of(st.just(0.0), positive), min_size=size, max_size=size))
    flags = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    ranges = Ranges(
        tuple(map(str, range(size))), tuple(low), tuple(np.add(low, width).tolist()), (False,) * size, tuple(flags)
    )
    return InputSpec(
        name="x",
        file_shape=(size,),
        shape=(size,),
        kind="vector",
        layout="none",
        dtype=draw(st.sampled_from(["float32", "float64", "int64"])),
        ranges=ranges,
        scale=draw(st.sampled_from([1.0, 0.5])),
        mean=draw(st.sampled_from([(), (0.3,), tuple(low)])),
        std=draw(st.sampled_from([(), (0.7,)])),
    )


@settings(deadline=None, max_examples=300)
@given(st.one_of(images(), tables()), st.integers(0, 2**32 - 1))
def test_numpy_and_torch_prepare_the_same_bits(spec, seed) -> None:
    u = np.random.default_rng(seed).random((3, *spec.shape)).astype(spec.precision)
    u[0] = np.rint(u[0])
    found = spec.file_array(u)
    expected = spec.to_file(torch.from_numpy(u)).numpy()
    assert found.dtype == expected.dtype
    assert found.shape == (3, *spec.file_shape)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_snapped_whole_numbers_arrive_whole() -> None:
    ranges = Ranges(("a", "b"), (0.0, 0.0), (7.0, 1.0), (False, False), (True, False))
    spec = InputSpec("x", (2,), (2,), "vector", "none", ranges=ranges)
    found = spec.file_array(np.array([[3 / 7, 0.25]]))
    assert found.dtype == np.float32
    assert found[0, 0] == 3
    assert math.isclose(found[0, 1], 0.25)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robaudit.data.ranges import Ranges
from robaudit.target.inputs.spec import InputSpec


def make(shape: tuple[int, ...] = (3, 4, 5), **values: Any) -> InputSpec:
    vector = len(shape) != 3
    nhwc = values.get("layout") == "nhwc"
    file_shape = (shape[1], shape[2], shape[0]) if nhwc else shape
    layout = "none" if vector else "nchw"
    kind = "vector" if vector else "image"
    return InputSpec(
        **({"name": "x", "file_shape": file_shape, "shape": shape, "kind": kind, "layout": layout} | values)
    )


def by_hand(spec: InputSpec, u: np.ndarray) -> np.ndarray:
    """One feature after the other, in float64."""
    out = np.zeros((len(u), *spec.file_shape))
    for n, c, i, j in np.ndindex(*u.shape):
        x = spec.lo + u[n, c, i, j] * (spec.hi - spec.lo)
        mean = spec.mean[c % len(spec.mean)] if spec.mean else 0.0
        std = spec.std[c % len(spec.std)] if spec.std else 1.0
        y = (x * spec.scale - mean) / std
        place = c
        if spec.channels == "bgr" and c < 3 and spec.shape[0] > 1:
            place = 2 - c
        out[(n, i, j, place) if spec.layout == "nhwc" else (n, place, i, j)] = y
    return out


numbers = st.floats(-3, 3).map(lambda v: round(v, 3))
stds = st.floats(0.05, 4).map(lambda v: round(v, 3))


@settings(max_examples=60, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 4]),
    layout=st.sampled_from(["nchw", "nhwc"]),
    order=st.sampled_from(["rgb", "bgr"]),
    scale=st.sampled_from([1.0, 255.0, 2.0]),
    domain=st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]),
    data=st.data(),
)
def test_to_file_is_the_hand_computation(channels, layout, order, scale, domain, data):
    count = data.draw(st.sampled_from([0, 1, channels]))
    spec = make(
        (channels, 3, 2),
        layout=layout,
        channels="rgb" if channels == 1 else order,
        scale=scale,
        lo=domain[0],
        hi=domain[1],
        mean=tuple(data.draw(st.lists(numbers, min_size=count, max_size=count))),
        std=tuple(data.draw(st.lists(stds, min_size=count, max_size=count))),
    )
    u = torch.rand(2, channels, 3, 2, dtype=torch.float64)
    found = spec.to_file(u)
    assert found.shape == (2, *spec.file_shape)
    np.testing.assert_allclose(found.numpy(), by_hand(spec, u.numpy()), rtol=1e-12, atol=1e-9)


def test_to_file_is_differentiable():
    spec = make(layout="nhwc", channels="bgr", scale=255.0, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    u = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(spec.to_file(u).sum(), u)
    expected = torch.tensor([255 / 2, 255 / 4, 255 / 8], dtype=torch.float64).reshape(1, 3, 1, 1)
    torch.testing.assert_close(gradient, expected.expand(2, 3, 4, 5))


def test_vector_with_a_mean_for_each_feature():
    spec = make((3,), mean=(1.0, 2.0, 3.0), std=(2.0,))
    torch.testing.assert_close(spec.to_file(torch.ones(1, 3)), torch.tensor([[0.0, -0.5, -1.0]]))


def test_constants_survive_inference_mode():
    spec = make(mean=(0.123,), std=(7.5,))
    with torch.inference_mode():
        spec.to_file(torch.rand(1, 3, 4, 5))
    u = torch.rand(1, 3, 4, 5, requires_grad=True)
    torch.autograd.grad(spec.to_file(u).sum(), u)


def test_float_inputs_are_not_snapped():
    u = torch.rand(2, 3, 4, 5)
    assert make().snap(u, torch.zeros_like(u)) is u


@settings(max_examples=100, deadline=None)
@given(
    mean=st.sampled_from([(), (128.0,), (1.0, 2.0, 3.0)]),
    std=st.sampled_from([(), (2.0,), (1.0, 0.5, 2.0)]),
    eps=st.floats(0.0005, 0.3),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_snap_stays_in_ball_and_box_and_lands_on_the_grid(mean, std, eps, seed, dtype):
    spec = make(dtype="uint8", scale=255.0, mean=mean, std=std)
    generator = torch.Generator().manual_seed(seed)
    per_channel = torch.tensor(std or (1.0,), dtype=torch.float64).reshape(-1, 1, 1)
    steps = (255 / per_channel).floor().expand(3, 4, 5)
    origin = ((torch.rand(2, 3, 4, 5, generator=generator) * (steps + 1)).floor().clamp_max(steps)) / (
        255 / per_channel
    )
    origin = origin.to(dtype)
    noise = (2 * torch.rand(2, 3, 4, 5, generator=generator).to(dtype) - 1) * eps
    u = (origin + noise).clamp(0, 1)
    snapped = spec.snap(u, origin)
    assert snapped.dtype == dtype
    assert snapped.min() >= 0
    assert snapped.max() <= 1
    moved, before = (snapped - origin).double().abs(), (u - origin).double().abs()
    assert bool((moved <= before + 1e-6).all())
    grid = (snapped.double() - origin.double()) * (255 / per_channel)
    assert (grid - grid.round()).abs().max() < 1e-3
    assert (u - snapped).double().abs().max() < float((per_channel / 255).max()) + 1e-6


def test_a_point_of_the_grid_stays_where_it_is():
    spec = make(dtype="uint8", scale=255.0)
    origin = torch.randint(0, 256, (50, 3, 4, 5)).float() / 255
    other = torch.randint(0, 256, (50, 3, 4, 5)).float() / 255
    torch.testing.assert_close(spec.snap(other, origin), other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("provenance", "expected"), [({"mean": "assumed", "crop": "assumed"}, ("mean",)), ({}, ())])
def test_assumed_names_what_decides_the_input(provenance, expected):
    assert make(provenance=provenance).assumed == expected


RANGES = Ranges(
    ("age", "income", "kind", "site"),
    (18.0, -5.0, 0.0, 7.0),
    (98.0, 995.0, 3.0, 7.0),
    (False, True, False, False),
    (True, False, True, False),
)


def table(**values: Any) -> InputSpec:
    open_fields = dict.fromkeys(("mean", "std", "scale", "domain"), "assumed")
    return make((4,), provenance=open_fields, **values).with_ranges(RANGES, "flag --feature-ranges")


def test_each_feature_has_its_own_range():
    spec = table()
    found = spec.to_file(torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.5, 0.25, 1 / 3, 0.9]]))
    torch.testing.assert_close(found, torch.tensor([[18.0, -5, 0, 7], [98, 995, 3, 7], [58, 245, 1, 7]]))
    assert spec.fixed == (1, 3)
    assert spec.assumed == ()
    assert spec.provenance["mean"] == "flag --feature-ranges"
    observed = make((4,), provenance={"domain": "assumed", "mean": "assumed"}).with_ranges(RANGES, "assumed: data")
    assert (observed.assumed, observed.provenance["mean"]) == (("domain",), "table")


def test_ranges_stand_before_a_declared_normalisation():
    given = {"mean": "flag --mean", "std": "flag --std", "scale": "flag --mean", "domain": "flag --mean"}
    spec = make((4,), mean=(18.0, 0.0, 0.0, 0.0), std=(2.0,), provenance=given).with_ranges(RANGES, "flag")
    torch.testing.assert_close(spec.to_file(torch.zeros(1, 4)), torch.tensor([[0.0, -2.5, 0.0, 3.5]]))


def test_whole_numbers_of_an_integer_file_are_no_pixels():
    spec = make((4,), dtype="int16", scale=255.0, provenance={"scale": "integer type", "mean": "integer type"})
    assert spec.with_ranges(RANGES, "flag").to_file(torch.ones(1, 4)).tolist() == [[98, 995, 3, 7]]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), eps=st.floats(0.001, 1), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_only_whole_numbered_features_are_snapped(seed, eps, dtype):
    spec = table()
    generator = torch.Generator().manual_seed(seed)
    whole = torch.stack(
        [torch.randint(18, 99, (8,), generator=generator), torch.randint(0, 4, (8,), generator=generator)]
    )
    origin = torch.rand(8, 4, generator=generator).to(dtype)
    origin[:, 0], origin[:, 2] = (whole[0] - 18) / 80, whole[1] / 3
    u = (origin + (2 * torch.rand(8, 4, generator=generator).to(dtype) - 1) * eps).clamp(0, 1)
    snapped = spec.snap(u, origin)
    assert snapped.dtype == dtype
    assert torch.equal(snapped[:, [1, 3]], u[:, [1, 3]])
    assert bool(((snapped - origin).abs() <= (u - origin).abs() + 1e-6).all())
    file = spec.to_file(snapped)[:, [0, 2]]
    assert torch.equal(file, file.round()), "exactly whole in the file"


def test_snapped_features_keep_their_gradient():
    u = torch.full((1, 4), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(table().to_file(u).sum(), u)
    assert gradient.tolist() == [[80.0, 1000.0, 3.0, 0.0]]

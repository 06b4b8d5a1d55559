from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from robaudit.target.inputs.candidates import ANY, COLOUR, SMALL_COLOUR, candidates, near, searched
from robaudit.target.inputs.spec import InputSpec

OPEN = dict.fromkeys(("mean", "std", "scale", "domain", "channels"), "assumed")


def make(shape: tuple[int, ...] = (3, 8, 8), **values: Any) -> InputSpec:
    fields: dict[str, Any] = {"name": "x", "file_shape": shape, "shape": shape, "layout": "nchw", "kind": "image"}
    return InputSpec(**(fields | {"provenance": {**OPEN, "layout": "shape"}} | values))


def by_name(spec: InputSpec) -> dict[str, InputSpec]:
    return {c.name: c.spec(spec) for c in candidates(spec)}


def ends(spec: InputSpec) -> tuple[list[float], list[float]]:
    """What black and white become, by channel of the file."""
    file = spec.to_file(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, *spec.shape))
    return file[0, :, 0, 0].tolist(), file[1, :, 0, 0].tolist()


def test_the_first_candidate_is_what_the_spec_says_now():
    spec = make()
    assert candidates(spec)[0].spec(spec) == spec


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("[0, 1], RGB", [0, 0, 0], [1, 1, 1]),
        ("[-1, 1], RGB", [-1, -1, -1], [1, 1, 1]),
        ("(255x - 127) / 128, BGR", [-127 / 128] * 3, [1, 1, 1]),
        ("0 to 255, RGB", [0, 0, 0], [255, 255, 255]),
        ("ImageNet mean and std, RGB", [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], [2.2489, 2.4286, 2.64]),
        ("0 to 255 less the ImageNet mean, BGR", [-103.939, -116.779, -123.68], [151.061, 138.221, 131.32]),
    ],
)
def test_what_black_and_white_become(name, low, high):
    found = ends(by_name(make())[name])
    torch.testing.assert_close(
        torch.tensor(found), torch.tensor([low, high], dtype=torch.float32), atol=1e-4, rtol=1e-4
    )


def test_a_declared_domain_is_kept_and_candidates_mean_the_same():
    spec = make(lo=0.0, hi=255.0, provenance={**OPEN, "domain": "flag --domain", "layout": "shape"})
    assert "domain" not in searched(spec)
    wide, narrow = by_name(spec), by_name(make())
    assert next(iter(wide)) == "[0, 255], RGB"
    assert "0 to 255, RGB" not in wide
    for name in ("[0, 1], RGB", "[-1, 1], BGR", "ImageNet mean and std, RGB"):
        torch.testing.assert_close(torch.tensor(ends(wide[name])), torch.tensor(ends(narrow[name])))
    signed = make(lo=-1.0, hi=1.0, provenance={**OPEN, "domain": "flag --domain", "layout": "shape"})
    assert "0 to 255, RGB" in by_name(signed)
    torch.testing.assert_close(
        torch.tensor(ends(by_name(signed)["0 to 255, RGB"])), torch.tensor([[0.0] * 3, [255.0] * 3])
    )


@pytest.mark.parametrize(
    ("spec", "fields", "count"),
    [
        (make(), ("mean", "std", "scale", "domain", "channels"), 12),
        (make((3, 32, 32)), ("mean", "std", "scale", "domain", "channels"), 14),
        (make((1, 28, 28), provenance={**OPEN, "channels": "shape"}), ("mean", "std", "scale", "domain"), 6),
        (make(provenance={"channels": "assumed"}), ("channels",), 2),
        (make(provenance={**OPEN, "mean": "flag --mean", "std": "assumed"}), ("channels",), 2),
        (make(provenance={"layout": "assumed"}), ("layout",), 2),
        (make(provenance={}), (), 1),
        (make((7,), kind="vector", layout="none"), (), 1),
    ],
)
def test_only_what_nobody_declared_is_searched(spec, fields, count):
    assert searched(spec) == fields
    found = candidates(spec)
    assert len(found) == count
    names = {c.name for c in found}
    assert len(names) == count
    for candidate in found:
        changed = {
            f.name for f in dataclasses.fields(spec) if getattr(spec, f.name) != getattr(candidate.spec(spec), f.name)
        }
        assert changed <= {*fields, "file_shape"}


def test_a_layout_that_could_be_either_keeps_the_canonical_shape():
    spec = make((3, 5, 6), provenance={"layout": "assumed"})
    assert [c.spec(spec).file_shape for c in candidates(spec)] == [(3, 5, 6), (5, 6, 3)]
    assert {c.spec(spec).shape for c in candidates(spec)} == {(3, 5, 6)}


def test_close_relatives():
    _, signed, lite, full = ANY
    imagenet, caffe = COLOUR
    assert near(signed, lite)
    assert near(imagenet, SMALL_COLOUR[0])
    assert near(None, None)
    others = (ANY[0], signed, full, imagenet, caffe)
    assert not any(near(a, b) for i, a in enumerate(others) for b in others[i + 1 :])

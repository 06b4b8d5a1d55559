"""Perturbation sets: what lies in them, what is kept of them, and how they are found."""

from __future__ import annotations

import base64
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robaudit.errors import UsageError
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.threat.admissible import admissible
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.sets.base import PerturbationSet
from robaudit.threat.sets.features import FixedFeatures
from robaudit.threat.sets.mask import Mask
from robaudit.threat.sets.registry import make_set, set_classes

SHAPE = (2, 3, 4)
IMAGE = InputMeaning("x", SHAPE, SHAPE, "image", "nchw")
PLACE = np.zeros(SHAPE[1:], dtype=bool)
PLACE[1, 1:3] = True


def mask(folder: Path, place: NDArray[np.bool_] = PLACE, name: str = "m.npy") -> Mask:
    np.save(folder / name, place)
    return Mask(str(folder / name)).fitted(IMAGE)


def test_a_mask_tells_what_it_holds(tmp_path: Path) -> None:
    one = mask(tmp_path)
    still = one.fixed(SHAPE)
    assert still is not None
    assert np.array_equal(still, ~np.broadcast_to(PLACE, SHAPE))
    assert one.measure(SHAPE) == 4
    assert one.words(SHAPE) == "only 4 of 24 features may change (mask m.npy)"
    assert one.notes(SHAPE) == []
    assert one.file == "m.npy"  # no path of the machine
    assert hash(one) == hash(pickle.loads(pickle.dumps(one)))


def test_a_point_lies_in_it_to_within_the_tolerance(tmp_path: Path) -> None:
    one = mask(tmp_path)
    origin = np.full((4, *SHAPE), 0.5)
    point = origin.copy()
    point[:, :, 1, 1] = 1.0
    point[1, 0, 0, 0] += 0.9e-6
    point[2, 0, 0, 0] += 1.1e-6
    point[3, 1, 2, 3] = np.nan
    assert one.contains(point, origin).tolist() == [True, True, False, False]
    size = np.full(4, 0.5)
    assert admissible(point, origin, size, 0.5, (one,)).tolist() == [True, True, False, False]
    assert admissible(point, origin, size, 0.4, (one,)).tolist() == [False] * 4
    assert np.array_equal(one.project(point, origin)[2], point[0])
    torch_says, _ = ThreatModel(Norm.LINF, 0.5, sets=(one,)).admissible(
        torch.from_numpy(origin), torch.from_numpy(point)
    )
    assert torch_says.tolist() == [True, True, False, False]


def test_several_sets_hold_together(tmp_path: Path) -> None:
    one, other = mask(tmp_path), FixedFeatures((5,))  # the pixel (1, 1) of the first channel
    threat = ThreatModel(Norm.L0, 24, sets=(one, other))
    found = threat.mask(torch.zeros(2, *SHAPE))
    assert found is not None
    assert (~found[0]).flatten().nonzero().flatten().tolist() == [6, 17, 18]
    assert ThreatModel(Norm.L0, 24, sets=(FixedFeatures(()),)).mask(torch.zeros(1, *SHAPE)) is None


def test_a_result_keeps_all_of_it(tmp_path: Path) -> None:
    one = mask(tmp_path)
    again = make_set(one.id, one.content())
    assert again == one
    assert again.digest() == one.digest()
    assert mask(tmp_path, name="other.npy").digest() == one.digest()
    moved = mask(tmp_path, np.roll(PLACE, 1, 0))
    assert moved.measure(SHAPE) == 4
    assert moved.digest() != one.digest()


@pytest.mark.parametrize(
    "bits",
    [
        "not base64!",
        base64.b64encode(b"junk").decode(),
        base64.b64encode(zlib.compress(b"\0\0")).decode(),
        base64.b64encode(zlib.compress(bytes(10**7))).decode(),
    ],
)
def test_a_damaged_mask_is_refused_and_a_bomb_is_not_unpacked(bits: str) -> None:
    with pytest.raises(ValueError, match="the mask is damaged"):
        Mask("m", SHAPE, bits).fixed(SHAPE)


def test_an_empty_mask_is_refused_and_a_full_one_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lets nothing change: all of it is 0, and 1 is what may change"):
        mask(tmp_path, np.zeros_like(PLACE))
    full = mask(tmp_path, np.ones_like(PLACE))
    assert full.notes(SHAPE) == ["the mask m.npy lets everything change, as if there were none"]
    assert full.words(SHAPE) == "all 24 features may change (mask m.npy)"


def test_sets_are_made_by_name() -> None:
    assert {"mask", "features"} <= set(set_classes())
    for id, parameters, words in (
        ("masc", {}, "unknown perturbation set 'masc'; did you mean 'mask'"),
        ("features", {"places": [1]}, "unknown perturbation set"),  # those of tables are not for profiles
        ("mask", {"fil": "x"}, "has no parameter 'fil'; did you mean 'file'"),
        ("mask", {}, "parameter 'file'"),
        ("mask", {"file": 3}, "parameter 'file'"),
    ):
        with pytest.raises(UsageError, match=words):
            make_set(id, parameters)


def test_what_stands_in_the_base_suits_a_set_that_restricts_nothing() -> None:
    class Anything(PerturbationSet):
        """Anything."""

        id = "anything"

    one, point = Anything(), np.zeros((2, *SHAPE))
    assert one.fixed(SHAPE) is None
    assert one.contains(point, point).tolist() == [True, True]
    assert one.project(point, point) is point
    assert not one.joint

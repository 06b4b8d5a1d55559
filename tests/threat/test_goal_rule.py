"""The rule of what fools, the same for tensors, arrays and single classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robaudit.threat.goals import is_right, reached

CASES = [  # prediction, label, goal, rejected, fools
    (1, 0, -1, False, True),
    (0, 0, -1, False, False),
    (-1, 0, -1, False, False),
    (2, 0, 2, False, True),
    (1, 0, 2, False, False),
    (-1, 0, 2, False, False),
    (1, 0, -1, True, False),
    (2, 0, 2, True, False),
]


@pytest.mark.parametrize(("prediction", "label", "goal", "rejected", "fools"), CASES)
def test_what_fools(prediction: int, label: int, goal: int, rejected: bool, fools: bool) -> None:
    assert reached(prediction, label, goal, rejected) is fools
    if not rejected:
        assert reached(prediction, label, goal) is fools


def test_what_is_right() -> None:
    assert is_right(1, 1) is True
    assert is_right(1, 0) is False
    assert is_right(-1, -1) is False
    assert is_right(1, 1, rejected=True) is False


CLASSES = st.integers(-1, 4)


@given(st.lists(st.tuples(CLASSES, st.integers(0, 4), CLASSES, st.booleans()), min_size=1, max_size=20))
def test_tensors_and_arrays_say_the_same_as_single_classes(rows: list[tuple[int, int, int, bool]]) -> None:
    single = [reached(*row) for row in rows]
    columns = list(zip(*rows, strict=True))
    assert reached(*map(np.array, columns)).tolist() == single
    assert reached(*map(torch.tensor, columns)).tolist() == single
    assert reached(*map(torch.tensor, columns[:3])).dtype == torch.bool
    right = [is_right(prediction, label, rejected) for prediction, label, _, rejected in rows]
    prediction, label, _, rejected = map(torch.tensor, columns)
    assert is_right(prediction, label, rejected).tolist() == right

"""What a report says of transfer beside white box."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from robaudit.report.transfer import matrix_sentences


def result_of(white: set[int], status: str = "done", count: int = 40) -> Any:
    samples = [
        SimpleNamespace(index=i, counted=True, correct=True, broken_by="pgd" if i in white else None, breaches=())
        for i in range(count)
    ]
    attacks = [
        SimpleNamespace(id="pgd", access="white-box", norm="linf", status=status),
        SimpleNamespace(id="l2/pgd", access="white-box", norm="l2", status="done"),
    ]
    return SimpleNamespace(samples=samples, attacks=attacks)


def matrix_of(fooled: set[int]) -> Any:
    cell = SimpleNamespace(fooled=tuple(sorted(fooled)), surrogate="a", method="transfer-mef", success=None)
    return SimpleNamespace(norm="linf", cells=(cell,), gains=())


@pytest.mark.parametrize(
    ("white", "moved", "told"),
    [
        (range(30), range(4), True),
        (range(30), range(20), False),  # transfer reaches most of it
        (range(5), range(2), False),  # a few samples say little
        (range(4), range(30), False),
    ],
)
def test_a_model_that_withstands_transfer_alone_is_told(white: range, moved: range, told: bool) -> None:
    first, *_ = matrix_sentences(result_of(set(white)), matrix_of(set(moved)))
    assert first.startswith(f"White box broke {len(white)} samples, attacks made on surrogates fooled {len(moved)}")
    assert ("withstand transfer alone" in first) is told
    if told:
        assert f"{len(white) - len(moved)} samples withstand" in first


def test_nothing_is_said_where_no_white_box_attack_ran_to_its_end() -> None:
    assert not any("White box" in one for one in matrix_sentences(result_of({1}, status="failed"), matrix_of({1})))

"""Counts in sentences go with their nouns and verbs."""

from __future__ import annotations

import pytest

from robaudit.plural import counted, part_of


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 copies hold"), (1, "1 copy holds"), (2, "2 copies hold"), (1000, "1000 copies hold")],
)
def test_noun_and_verb_go_with_the_count(count: int, told: str) -> None:
    assert counted(count, "copy/copies", "holds/hold") == told


def test_of_some_of_all_the_noun_goes_with_all_and_the_verb_with_some() -> None:
    assert part_of(1, 20, "row", "lacks/lack") == "1 of 20 rows lacks"
    assert part_of(2, 20, "row", "lacks/lack") == "2 of 20 rows lack"
    assert part_of(1, 1, "row", "lacks/lack") == "1 of 1 row lacks"
    assert (counted(1, "attack"), part_of(0, 1, "attack")) == ("1 attack", "0 of 1 attack")

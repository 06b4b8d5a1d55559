"""From what each attack made on a surrogate fooled to the matrix of surrogates and attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from robaudit.audit.result.sections.findings import Attack
from robaudit.audit.result.sections.transfer import Gain, Matrix, MatrixCell, Transfer
from robaudit.stats.rates import Rate

if TYPE_CHECKING:  # the document imports this module
    from robaudit.audit.result.document import Result

__all__ = [
    "ALL",
    "LITTLE",
    "MATRIX",
    "cell_key",
    "derive_transfer",
    "fallen_to_white_box",
    "for_the_matrix",
    "method_and_surrogate",
]

MATRIX = "matrix/"
"""Begins the keys of attacks that run for the matrix."""
LITTLE = 0.3
"""Agreement with the target below which a surrogate tells little of it."""
ALL = "all"
"""In place of a surrogate's name: all together."""


def cell_key(method: str, surrogate: str | None) -> str:
    """Key of an attack of the matrix; None: it is made on no surrogate, as it cannot run."""
    return f"{MATRIX}{method}" + ("" if surrogate is None else f"@{surrogate}")


def method_and_surrogate(key: str) -> tuple[str, str] | None:
    """What a cell's key says; None where it names no surrogate."""
    method, sign, surrogate = key.partition(MATRIX)[2].partition("@")
    return (method, surrogate) if sign else None


def for_the_matrix(attack: Attack) -> bool:
    """Whether an attack ran on every sample for the matrix of surrogates and attacks."""
    return f"/{MATRIX}" in f"/{attack.id}"


def derive_transfer(
    transfer: Transfer, attacks: Mapping[str, Attack], attacked: int, of: Callable[[int, int], Rate]
) -> Transfer:
    """The section with its rates and gains, whatever it held in their places.

    Args:
        transfer: whose cells tell what each fooled.
        attacks: of the result, by id.
        attacked: samples answered correctly.
        of: the rate of k of n, with its interval.
    """

    def cell(one: MatrixCell) -> MatrixCell:
        attack = attacks.get(one.attack)
        saw_all = attack is not None and attack.status == "done"
        return one.model_copy(update={"success": of(len(one.fooled), attacked) if saw_all else None})

    names = [surrogate.name for surrogate in transfer.surrogates]

    def whole(matrix: Matrix) -> Matrix:
        cells = tuple(map(cell, matrix.cells))
        gains = tuple(_gains(names, cells, attacked, of))
        return matrix.model_copy(update={"cells": cells, "gains": gains})

    return transfer.model_copy(update={"matrices": tuple(map(whole, transfer.matrices))})


def _gains(
    names: Sequence[str], cells: Sequence[MatrixCell], attacked: int, of: Callable[[int, int], Rate]
) -> Iterator[Gain]:
    """What each surrogate adds to those before it, over all attacks."""
    known: set[int] = set()
    for name in names:
        mine = [one for one in cells if one.surrogate == name]
        if not mine:
            continue
        fooled = {index for one in mine for index in one.fooled}
        newly = len(fooled - known)
        known |= fooled
        yield Gain(surrogate=name, success=of(len(known), attacked), newly=newly)


def fallen_to_white_box(result: Result, norm: str) -> set[int] | None:
    """Indices of samples that white-box attacks were the first to break in a norm; None where none ran to its end."""
    white = {a.id for a in result.attacks if a.access == "white-box" and a.norm == norm and a.status == "done"}
    if not white:
        return None
    return {
        sample.index
        for sample in result.samples
        if sample.broken_by in white or any(breach.attack in white for breach in sample.breaches)
    }

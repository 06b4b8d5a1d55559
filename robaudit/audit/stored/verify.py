"""Whether a stored result says what its own samples say.

A result's digest guards against accidents: who can edit the file can write a new digest. So nothing that follows from
the samples is believed as it stands: all of it is derived again, by the code that derived it for the audit, and the
facts are checked against each other. What remains to be trusted are the facts themselves, which evidence replays and a
signature confirms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from itertools import product
from typing import Any, get_args

from robaudit.audit.result.derive import derived
from robaudit.audit.result.document import Rate, Result, Section
from robaudit.audit.stored.consistent import contradictions
from robaudit.audit.stored.consistent_pairs import retold
from robaudit.audit.verdict.conclusion import FailOn, OnInconclusive, conclude
from robaudit.audit.verdict.gates import specs_of
from robaudit.audit.verdict.limitations import limitations
from robaudit.errors import UsageError

__all__ = ["verified"]

SENTENCES = ("headline", "reasons", "next_steps", "message", "limitations")
"""Fields that hold words."""
CONCLUSIONS = ("verdict", "gates")
"""Fields that are compared last, so that the figure is named which they rest on."""
LONGEST = 100
CLOSE = 1e-9
"""Relative difference that is still the same figure: another build of the mathematics may differ in the last bits."""


def verified(result: Result, name: str, *, older: bool = False) -> Result:
    """The result, if all that it says fits its samples; its sentences are not believed, but written anew.

    Args:
        result: as it was read.
        name: what to call it in an error.
        older: it was written with an older minor of the schema, so that fields which it lacks are not compared.

    Raises:
        UsageError: the first figure that does not fit.
    """
    found = next(contradictions(result), None)
    if found is None:
        again = _again(result)
        found = next(_differences(result, again, older=older), None)
        if found is None:
            return again
    raise UsageError(
        f"{name} contradicts itself: {found}; it is not what an audit wrote: take the original, or audit again"
    )


def _again(result: Result) -> Result:
    """The result with everything derived anew; how gates were to count, which it does not tell, as it fits best."""
    draft = derived(result)
    draft = draft.model_copy(update={"limitations": limitations(draft), "comparison": retold(result.comparison)})
    gates, judged = specs_of(result), result.verdict.judged
    day = None if judged is None else date.fromisoformat(judged)
    best = None
    for undecided, binding in product(get_args(OnInconclusive), get_args(FailOn)):
        again = conclude(draft, gates, undecided, binding, day)
        if again.verdict == result.verdict:
            return again
        told, given = again.verdict, result.verdict
        if best is None or (told.exit_code, told.status) == (given.exit_code, given.status):
            best = again
    assert best is not None
    return best


def _differences(stored: Any, again: Any, path: str = "", *, older: bool) -> Iterator[str]:
    """Where a result is not what its samples give, sentences apart; and, of an older one, fields that it lacks."""
    name = path.rpartition(".")[2].rstrip("0123456789[]")
    if stored is again or name in SENTENCES:
        return
    if isinstance(again, Section) and type(stored) is type(again):
        for field in sorted(type(again).model_fields, key=CONCLUSIONS.__contains__):
            if not older or field in stored.model_fields_set:
                yield from _differences(
                    getattr(stored, field), getattr(again, field), older=older, path=f"{path}.{field}"
                )
    elif isinstance(again, Rate) and isinstance(stored, Rate):
        for entry in fields(again):
            pair = getattr(stored, entry.name), getattr(again, entry.name)
            yield from _differences(*pair, f"{path}.{entry.name}", older=older)
    elif isinstance(again, tuple) and isinstance(stored, tuple) and len(stored) == len(again):
        for place, (one, other) in enumerate(zip(stored, again, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]", older=older)
    elif not _same(stored, again):
        short = [_short(value) for value in (stored, again)]
        yield f"{path.lstrip('.')} is {short[0]}, and its samples give {short[1]}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int) and not isinstance(other, bool):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-12)
    return bool(one == other)


def _short(value: Any) -> str:
    if isinstance(value, Rate):
        return f"{value.k} of {value.n}"
    if isinstance(value, tuple):
        return f"a list of {len(value)}"
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"

"""A look at a model goes on without what the model hangs or crashes on."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.messages import CutOffError
from robaudit.audit.process.persist import NOTHING, GivenUp, persistently
from robaudit.errors import AuditError
from robaudit.target.running.watch import UNWATCHED, AtWork, Watch

LIMIT = Confinement(call=1.0, seconds=60.0)


def hang() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


def look(bad: dict[str, object], given_up: GivenUp, watch: Watch = UNWATCHED) -> dict[str, object]:
    """Asks 8 samples together, then takes two parts; hangs or crashes where it is told to."""
    with watch.about("it was loaded"), watch.call(1, "file"):
        if bad.get("load"):
            hang()
    samples = [index for index in range(8) if index not in given_up.samples]
    for index in sorted(given_up.suspects):
        with watch.about("", [index]), watch.call(1, "file"):
            if index == bad.get("sample"):
                hang()
    done = []
    for part in ("measurement", "speed"):
        if part in given_up.parts:
            continue
        with watch.about(f"it was looked at ({part})", samples, part=part), watch.call(1, "file"):
            if bad.get("sample") in samples or bad.get("part") == part:
                hang()
            if bad.get("crash") == part:
                os.kill(os.getpid(), signal.SIGSEGV)
        done.append(part)
    return {"done": done, "samples": dict(given_up.samples), "parts": dict(given_up.parts)}


def test_a_sample_is_found_among_others_and_left_aside() -> None:
    found = persistently(look, {"sample": 5}, confinement=LIMIT, about="m")
    assert found["done"] == ["measurement", "speed"]
    assert list(found["samples"]) == [5]  # type: ignore[call-overload]
    assert "did not answer within 1 s on the sample number 5" in found["samples"][5]  # type: ignore[index]
    assert not found["parts"]


@pytest.mark.parametrize("way", ["part", "crash"])
def test_a_part_that_no_sample_explains_is_skipped(way: str) -> None:
    found = persistently(look, {way: "measurement"}, confinement=LIMIT, about="m")
    assert found["done"] == ["speed"]
    why = str(found["parts"]["measurement"])  # type: ignore[index]
    assert "while it was looked at (measurement)" in why
    assert ("did not answer" if way == "part" else "SIGSEGV") in why


def test_a_hang_while_loading_is_told() -> None:
    with pytest.raises(AuditError, match=r"m: the model did not answer within 1 s while it was loaded"):
        persistently(look, {"load": True}, confinement=LIMIT, about="m")


def test_what_is_spared() -> None:
    many, one = AtWork("x", samples=(1, 2, 3), part="speed"), AtWork("x", samples=(2,))
    first = NOTHING.after(many, "why")
    assert first is not None
    assert first == GivenUp(suspects=frozenset({1, 2, 3}))
    assert first.after(one, "2 hangs") == GivenUp({2: "2 hangs"}, frozenset({1, 3}))
    assert first.after(many, "why") == GivenUp(suspects=frozenset({1, 2, 3}), parts={"speed": "why"})
    assert NOTHING.after(AtWork("it was loaded"), "why") is None
    assert GivenUp(parts={"speed": "why"}).after(AtWork(part="speed"), "why") is None


def late(_: object, given_up: GivenUp, watch: Watch = UNWATCHED) -> None:
    with watch.about("it was loaded"), watch.call(1, "file"):
        hang()


def test_loading_that_takes_too_long_names_what_it_was_at(tmp_path: Path) -> None:
    confinement = Confinement(call=50.0, seconds=4.0)
    told = r"m was not loaded and run once within 4 s \(it did not answer, while it was loaded\); .*--load-timeout"
    with pytest.raises(AuditError, match=told) as caught:
        persistently(late, None, confinement=confinement, about="m")
    assert not isinstance(caught.value, CutOffError)

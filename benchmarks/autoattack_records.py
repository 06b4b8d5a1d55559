"""What autoattack.py has measured already: JSON lines, an outcome each, so that nothing is measured twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoattack_sides import Case, Data, Outcome

import robaudit

AUTHORS = "AutoAttack, the authors' code"


class Records:
    """Outcomes by what they depend on; in a file where there is one.

    Args:
        path: JSON lines, read now and appended to; None: nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.is_file() else []
        self._known: dict[str, dict[str, Any]] = {line["key"]: line for line in map(json.loads, lines)}

    def outcome(self, facts: dict[str, Any], on: tuple[str, ...], measure: Callable[[], Outcome]) -> Outcome:
        """The outcome that depends on these; measured where it is not known.

        Args:
            facts: case, seed, side, images and correct ones, for people.
            on: what else it depends on.
            measure: runs the side.
        """
        key = hashlib.sha256("\n".join([str(facts["seed"]), facts["side"], *on]).encode()).hexdigest()
        if (found := self._known.get(key)) is None:
            made = measure()
            found = facts | {"left": sorted(made.left), "evaluations": made.evaluations}
            found |= {"seconds": round(made.seconds, 2), "cpu_seconds": round(made.processor, 2), "key": key}
            self._known[key] = found
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as out:
                    out.write(json.dumps(found) + "\n")
        return Outcome(set(found["left"]), found["evaluations"], found["seconds"], found["cpu_seconds"])


def left_by_most(found: list[set[int]]) -> set[int]:
    """The images that most of several runs leave."""
    return {i for one in found for i in one if 2 * sum(i in other for other in found) > len(found)}


def identity(case: Case, data: Data) -> tuple[str, ...]:
    """Of the model, the inputs and the threat."""
    target, x, y = data
    rows = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()
    return str(target.sha256), rows, case.norm, str(case.threat.radius)


def code_digest() -> str:
    """Of robaudit's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(robaudit.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()

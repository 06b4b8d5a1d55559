"""What a random model's draws come to, in sentences."""

from __future__ import annotations

from robaudit.audit.result.document import Result
from robaudit.plural import counted

__all__ = ["CHANCES", "chance_lines"]

CHANCES = "Chances to survive"


def chance_lines(result: Result) -> list[str]:
    """The rule by which a random model is judged, and the mean chances to survive; none where it is not random."""
    chances = result.chances
    if chances is None:
        return []
    what = "the defense" if result.target.random == "defense" else "the model"
    found = [
        f"{what} is random: a sample falls where, with 95% confidence from {chances.draws} answers drawn after the "
        "search, a point fools more often than not"
    ]
    for one in chances.survival:
        found.append(
            f"{counted(one.tries, 'try/tries')}: no answer is fooled with a mean chance of {one.attacked:.1%} (without "
            f"an attack, {one.clean:.1%})"
        )
    return found

"""Masked gradients in sentences: what told of them, where they are hidden, what was done."""

from __future__ import annotations

from robaudit.audit.result.document import HiddenAt, Result
from robaudit.plural import counted, part_of

__all__ = ["MASKING", "masking_lines"]

MASKING = "Masked gradients"
NAMED = 4
WHY = {
    "no derivative": "has no derivative",
    "random": "draws anew each time",
    "saturated": "is left out of the gradient, as it may saturate",
    "lost": "loses it",
}


def masking_lines(result: Result) -> list[str]:
    """All that is known of masked gradients; none where nothing told of them."""
    masking = result.masking
    if masking is None:
        return []
    found = [f"told by the checks: {', '.join(masking.signs)}"]
    found += [_place(place) for place in masking.hidden]
    if not masking.hidden:
        found.append("where in the file the gradient is hidden was not found")
    ran = [f"{id.rpartition('reaction/')[2]} {count}" for id, count in masking.attacks.items()]
    if ran:
        fell = part_of(masking.stood - masking.left, masking.stood, "sample", "falls/fall")
        found.append(f"the audit reacted: {fell} that stood before ({', '.join(ran)})")
    elif masking.stood:
        found.append(f"no further attack ran on the {counted(masking.stood, 'sample')} that stood")
    else:
        found.append("nothing stood, so that no further attack was needed")
    return found


def _place(place: HiddenAt) -> str:
    operators = ", ".join(place.operators[:NAMED])
    more = f" and {len(place.operators) - NAMED} more" if len(place.operators) > NAMED else ""
    text = f"hidden at {operators}{more}, which {WHY[place.why]}"
    if place.before is None or place.after is None:
        return text
    return (
        f"{text}: the slope before misses {place.before:.0%} of what a step does to the margin, the slope behind "
        f"{place.after:.0%}"
    )

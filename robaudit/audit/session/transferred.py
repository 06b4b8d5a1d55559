"""What attacks made on surrogates fooled of all samples, beside the white box: read from the journal."""

from __future__ import annotations

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.tally import Tally, TriedAttack
from robaudit.threat.model import Access

__all__ = ["WHITE_BOX", "transferred"]

WHITE_BOX = str(Access.WHITE_BOX)
"""In place of an attack's key: the cascade up to its last white-box attack."""


def transferred(journal: Journal, norm: str) -> dict[str, tuple[int, int]]:
    """(samples fooled, tried) by the key of the attack, of those that ran to their end.

    Attacks made on surrogates see every sample in the matrix, and at the head of a cascade. The white box counts what
    those before it in the cascade broke too, as who has the file can do the same, unless scores or labels did.

    Args:
        journal: of the audit.
        norm: of the front that is looked at.
    """
    tally = Tally(journal, journal.keyed(CleanSample, "index"))
    own = [attack for attack in tally.attacks if attack.planned.norm == norm]
    found = {}
    for attack in own:
        if attack.planned.phase == "matrix" and attack.status == "done":
            found[attack.key] = (_fooled(tally, [attack]), tally.whole)
    cascade = [attack for attack in own if attack.planned.phase == "cascade"]
    ran = [attack for attack in cascade if attack.status == "done"]
    head = ran[: next((i for i, attack in enumerate(ran) if not _has(attack, Access.TRANSFER)), len(ran))]
    for place, attack in enumerate(head):  # each sees what those before it left
        found[attack.key] = (_fooled(tally, head[: place + 1]), tally.whole)
    white = [place for place, attack in enumerate(cascade) if _has(attack, Access.WHITE_BOX)]
    upto = cascade[: white[-1] + 1] if white else []
    if upto and all(_whole(attack) for attack in upto):
        found[WHITE_BOX] = (_fooled(tally, upto), tally.whole)
    return found


def _whole(attack: TriedAttack) -> bool:
    """Whether it says what the white box can do: it ran to its end, or does not apply, and asked for no answers."""
    if attack.status == "done":
        return _has(attack, Access.WHITE_BOX) or _has(attack, Access.TRANSFER)
    return attack.status in ("skipped", "unavailable")


def _has(attack: TriedAttack, access: Access) -> bool:
    return str(attack.planned.access) == str(access)


def _fooled(tally: Tally, attacks: list[TriedAttack]) -> int:
    """Samples that any of some attacks fooled."""
    return len({i for attack in attacks for i, result in tally.best[attack.key].items() if result.success})

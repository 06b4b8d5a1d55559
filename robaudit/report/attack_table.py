"""What became of each attack, for a terminal: a table, or where that is too narrow a few lines each."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robaudit.audit.result.document import Attack, Result
from robaudit.audit.result.secrecy import for_secrecy
from robaudit.report.console import NARROW, STATUS_STYLES, bullets, entries, heading, status
from robaudit.report.sentences import applied_attacks, attack_notes
from robaudit.report.words import count, duration, plain, short_rate

__all__ = ["attack_table"]


def attack_table(console: Console, result: Result) -> None:
    """Each attack with what it broke, what was left and what it cost; nothing where there is none."""
    if not result.attacks:
        return
    applied = applied_attacks(result)
    of_curve = "; those of the curve on all" if result.curves else ""
    of_curve += "; those of an access in a cascade of their own" if any(map(for_secrecy, applied)) else ""
    fitted = f"; {', '.join(plain(fit.attack, 40) for fit in result.fits)} on all" if result.fits else ""
    heading(console, f"Attacks, each on what the ones before it left standing{of_curve}{fitted}")
    if console.width < NARROW:
        entries(console, (_entry(attack) for attack in applied))
    elif applied:
        console.print(_table(applied))
    bullets(console, attack_notes(result))


def _table(attacks: list[Attack]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("attack\naccess", overflow="fold")
    table.add_column("broken\nof tried", justify="right")
    table.add_column("left of all\nexact interval", justify="right", no_wrap=True)
    table.add_column("queries\n", justify="right")
    table.add_column("forwards\nbackwards", justify="right")
    table.add_column("median\ndistance", justify="right")
    table.add_column("time\n", justify="right")
    for attack in attacks:
        table.add_row(*_row(attack))
    return table


def _row(attack: Attack) -> list[Text]:
    name = Text(f"{plain(attack.id, 40)}\n").append(attack.access, style="dim")
    if not attack.ran:
        return [name, status(attack.status), *([Text("-")] * 5)]
    broken = Text(f"{attack.broken}/{attack.attempted}")
    if attack.status == "partial":
        broken.append("\npartial", style=STATUS_STYLES["partial"])
    if attack.pairs is not None:
        broken.append(f"\n{attack.pairs.reached}/{attack.pairs.tried} pairs", style="dim")
    standing = attack.cumulative_robust_accuracy
    distance = attack.median_distance
    return [
        name,
        broken,
        Text(short_rate(standing).replace(" ", "\n", 1) if standing else "-"),
        Text(count(attack.queries) if attack.queries else "-"),
        Text(f"{count(attack.forwards)}\n{count(attack.backwards)}"),
        Text(f"{distance:.4g}" if distance is not None else "-"),
        Text(duration(attack.seconds)),
    ]


def _entry(attack: Attack) -> tuple[Text, list[Text]]:
    """The same in lines; empty columns are left out."""
    title = Text(plain(attack.id, 40), style="bold").append(f" {attack.access}", style="not bold dim")
    if attack.status != "done":
        title.append(f" {attack.status}", style=STATUS_STYLES.get(attack.status, "not bold"))
    if not attack.ran:
        return title, []
    lines = [f"broken {attack.broken} of {attack.attempted} tried"]
    if attack.pairs is not None:
        lines.append(f"reached {attack.pairs.reached} of {attack.pairs.tried} pairs")
    if attack.cumulative_robust_accuracy is not None:
        lines.append(f"left of all {short_rate(attack.cumulative_robust_accuracy)}")
    if attack.median_distance is not None:
        lines.append(f"median distance {attack.median_distance:.4g}")
    queries = f"{count(attack.queries)} queries, " if attack.queries else ""
    work = f"{count(attack.forwards)} forwards, {count(attack.backwards)} backwards, "
    lines.append(f"{queries}{work if attack.forwards or attack.backwards else ''}{duration(attack.seconds)}")
    return title, [Text(line) for line in lines]

"""Surrogates, and what fell to attacks made on each, in words and figures."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robaudit.audit.result.derive import balls
from robaudit.audit.result.document import Matrix, MatrixCell, Result, Surrogate
from robaudit.audit.result.transfer import ALL, LITTLE, fallen_to_white_box
from robaudit.plural import counted
from robaudit.report.console import NARROW, bullets, entries, heading, indented
from robaudit.report.words import ball, count, duration, plain, short_rate
from robaudit.stats.paired import paired_lower_bound

__all__ = ["TITLE", "draw_transfer", "matrix_rows", "matrix_sentences", "matrix_title", "surrogate_lines"]

TITLE = "Surrogates"
GAP = 0.1
"""Share of the samples, at least, by which white box is ahead where the report says what that means."""


def surrogate_lines(result: Result) -> list[str]:
    """Each surrogate: what it is, how often it agrees with the target, and what it cost."""
    found = () if result.transfer is None else result.transfer.surrogates
    return [f"{plain(one.name, 60)}: {_words(one)}" for one in found]


def _words(one: Surrogate) -> str:
    if one.status != "used":
        return f"{one.status}{f' ({one.reason})' if one.reason else ''}"
    words = []
    if one.origin == "made":
        words.append(
            f"made of {counted(one.queries, 'query/queries')} on {counted(one.trained_on, 'sample')} apart from the "
            f"audited ones, in {duration(one.seconds)}"
        )
    else:
        words.append("a file that was given")
    if one.agreement is not None:
        which = "held-out" if one.agreement_on == "held-out" else "audited"
        words.append(f"agrees with the model on {short_rate(one.agreement)} of {one.agreement.n} {which} samples")
        if one.agreement.estimate is not None and one.agreement.estimate < LITTLE:
            words.append("too few for its attacks to say much of the model")
    if one.sha256:
        words.append(f"SHA-256 {one.sha256[:12]}")
    return "; ".join(words)


def matrix_title(result: Result, matrix: Matrix) -> str:
    """What the table shows."""
    within = ball(next(each for each in balls(result.threat_model) if each.norm == matrix.norm))
    return f"Transfer within {within}: share of the samples answered correctly that fell, by surrogate and attack"


def matrix_rows(matrix: Matrix) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: a row a surrogate, a column an attack, and what each surrogate adds."""
    methods = list(dict.fromkeys(cell.method for cell in matrix.cells))
    names = list(dict.fromkeys(cell.surrogate for cell in matrix.cells))
    known = {(cell.surrogate, cell.method): cell for cell in matrix.cells}
    gains = {gain.surrogate: gain for gain in matrix.gains}
    rows = []
    for name in names:
        cells = [_cell(known.get((name, method))) for method in methods]
        gain = gains.get(name)
        rows.append([_name(name), *cells, "-" if gain is None else f"{short_rate(gain.success)}, +{gain.newly}"])
    return ["surrogate", *(plain(method, 60) for method in methods), "any, with those above"], rows


def _name(surrogate: str) -> str:
    return "all together" if surrogate == ALL else plain(surrogate, 40)


def _cell(cell: MatrixCell | None) -> str:
    return "-" if cell is None or cell.success is None else short_rate(cell.success)


def matrix_sentences(result: Result, matrix: Matrix) -> list[str]:
    """What an attacker gains with each surrogate, and with the file itself, and how the table is to be read."""
    found = [*_gains(matrix), *_beside_white_box(result, matrix)]
    found.append(
        "Each attack ran on every sample that is answered correctly, whatever fell before, and showed the model one "
        "candidate; intervals are exact, each for itself."
    )
    return found


def _gains(matrix: Matrix) -> Iterator[str]:
    for place, gain in enumerate(matrix.gains):
        words = f"{short_rate(gain.success)} fall to some attack"
        if place == 0:
            yield f"With {_name(gain.surrogate)} alone {words}."
        else:
            yield f"With {_name(gain.surrogate)} too {words}: {counted(gain.newly, 'sample')} more."
    together = [cell for cell in matrix.cells if cell.surrogate == ALL and cell.success is not None]
    for cell in together:
        alone = [c for c in matrix.cells if c.method == cell.method and c.surrogate != ALL and c.success is not None]
        if alone and cell.success is not None:
            best = max(alone, key=lambda c: len(c.fooled))
            more = len(set(cell.fooled)) - len(best.fooled)
            sign = "more" if more >= 0 else "fewer"
            yield (
                f"{plain(cell.method, 60)} on all together fools {count(abs(more))} {sign} than on the best of them, "
                f"{_name(best.surrogate)}."
            )


def _beside_white_box(result: Result, matrix: Matrix) -> Iterator[str]:
    """What falls to who has the file, beside who has surrogates; nothing where no white-box attack ran."""
    white = fallen_to_white_box(result, matrix.norm)
    if white is None:
        return
    moved = {index for cell in matrix.cells for index in cell.fooled}
    attacked = sum(sample.counted and sample.correct for sample in result.samples)
    text = f"White box broke {len(white)} samples, attacks made on surrogates fooled {len(moved)}"
    only, missed = len(white - moved), len(moved - white)
    gap = attacked and paired_lower_bound(only, missed, attacked)
    if 2 * len(moved) < len(white) and gap > GAP:
        text += (
            f": {only} samples withstand transfer alone, as after ensemble adversarial training, and that is no "
            "robustness"
        )
    yield f"{text}."


def draw_transfer(console: Console, result: Result) -> None:
    """The surrogates and the tables; nothing where there are none."""
    if lines := surrogate_lines(result):
        heading(console, TITLE)
        bullets(console, lines)
    for matrix in result.transfer.matrices if result.transfer is not None else ():
        heading(console, matrix_title(result, matrix))
        heads, rows = matrix_rows(matrix)
        if console.width < NARROW + 12 * max(0, len(heads) - 4):
            entries(console, (_entry(heads, row) for row in rows))
        else:
            console.print(indented(_table(heads, rows)))
        bullets(console, matrix_sentences(result, matrix))


def _table(heads: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(heads[0], overflow="fold")
    for head in heads[1:]:
        table.add_column(head, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _entry(heads: list[str], row: list[str]) -> tuple[Text, list[Text]]:
    """The same in lines."""
    return Text(row[0], style="bold"), [Text(f"{head}: {cell}") for head, cell in zip(heads[1:], row[1:], strict=True)]

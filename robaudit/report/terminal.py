"""The report for a terminal, a pipe, or a text file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from robaudit.audit.result.document import Check, Gate, Result
from robaudit.printable import printable
from robaudit.report import certified
from robaudit.report.attack_table import attack_table
from robaudit.report.base import Format
from robaudit.report.chances import CHANCES, chance_lines
from robaudit.report.comparison import comparison_lines
from robaudit.report.console import STATUS_STYLES, bullets, facts, heading, indented, listing, status, styled
from robaudit.report.curve import draw_curves
from robaudit.report.details import input_details, sample_fate
from robaudit.report.masking import MASKING, masking_lines
from robaudit.report.nearest import fitted
from robaudit.report.queries import TITLE, query_lines
from robaudit.report.secrecy import draw_secrecy
from robaudit.report.sentences import (
    UPPER_BOUND,
    defense_words,
    detector_words,
    drawn_words,
    error_lines,
    evidence_words,
    gate_words,
    gradient_words,
    output_words,
    pairs_words,
    rejected_words,
    run_words,
    stopping_words,
    verdict_words,
    where_words,
    withheld_words,
    worst_case_name,
)
from robaudit.report.transfer import draw_transfer
from robaudit.report.unions import threat_table
from robaudit.report.words import (
    input_words,
    plain,
    rate_words,
    size,
    stability_notice,
    threat_words,
)

__all__ = ["FORMAT", "print_report", "render", "render_text"]


def render(result: Result, run: Path | None = None) -> str:
    """The report as plain text, 80 columns wide."""
    return render_text(result)


def render_text(
    result: Result, width: int = 80, *, color: bool = False, samples: bool = False, command: str | None = None
) -> str:
    """The report as text, with ANSI colours or a line for every sample if asked; ``command`` as in `print_report`."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    _report(console, result, samples=samples, command=command)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())


def print_report(result: Result, stream: TextIO, *, samples: bool = False, command: str | None = None) -> None:
    """Write the report: in colour and full width on a terminal, as plain text of 80 columns elsewhere.

    Args:
        result: to report.
        stream: to write to.
        samples: list every sample.
        command: that reproduces the audit on this machine, wherever it is pasted; None: the result's own, in which
            paths are cut.
    """
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
    if not stream.isatty():
        stream.write(fitted(render_text(result, samples=samples, command=command), stream.encoding))
    elif not encoding.startswith("utf"):
        text = render_text(result, width=Console(file=stream).width, samples=samples, command=command)
        stream.write(fitted(text, stream.encoding))
    else:
        _report(
            Console(file=stream, markup=False, emoji=False, highlight=False), result, samples=samples, command=command
        )
    stream.flush()


def _report(console: Console, result: Result, *, samples: bool = False, command: str | None = None) -> None:
    _top(console, result)
    attack_table(console, result)
    if lines := query_lines(result):
        heading(console, TITLE)
        bullets(console, lines)
    threat_table(console, result)
    _worst_case(console, result)
    if result.certified is not None:
        heading(console, "What is proved")
        bullets(console, certified.lines(result))
    if chances := chance_lines(result):
        heading(console, CHANCES)
        bullets(console, chances)
    draw_curves(console, result)
    draw_secrecy(console, result)
    draw_transfer(console, result)
    _comparison(console, result, all_samples=samples)
    if result.checks:
        _checks(console, result.checks)
    if masked := masking_lines(result):
        heading(console, MASKING)
        bullets(console, masked)
    if result.gates:
        _gates(console, result.gates)
    _verdict(console, result)
    if result.limitations:
        heading(console, "What this does not say")
        bullets(console, result.limitations)
    if result.errors:
        _errors(console, result)
    if samples:
        for title, cells in input_details(result.target):
            listing(console, title, ((styled(a), Text(plain(b)), styled(c)) for a, b, c in cells))
        rows = ((styled(sample.id), Text(str(sample.index)), styled(sample_fate(sample))) for sample in result.samples)
        listing(console, "Samples", rows)
    if result.verdict.next_steps:
        heading(console, "What to do next")
        bullets(console, result.verdict.next_steps)
    _foot(console, result, command)


def _top(console: Console, result: Result) -> None:
    target, data = result.target, result.data
    console.print(styled(f"robaudit {result.tool.version}: audit of {target.file}", "bold"))
    notice = stability_notice(data)
    if notice:
        console.print(styled(notice, "bold yellow"))
    for assumption in target.assumed:
        console.print(styled(f"ASSUMED INPUT: {assumption}", "bold yellow"))
    console.print()
    rows = [
        ("File", f"{target.format}, {size(target.bytes)}, sha256 {target.sha256}"),
        ("Input", input_words(target.input)),
        ("Output", output_words(result)),
        *([("Defense", defended)] if (defended := defense_words(result)) is not None else []),
        *([("Detector", detector_words(result.detector))] if result.detector is not None else []),
        ("Gradient", gradient_words(result)),
        (
            "Data",
            f"{data.source} ({data.kind}): {drawn_words(data)}, sha256 {data.sha256[:16]}",
        ),
    ]
    if data.classes is not None or data.class_order:
        rows.append(("Classes", data.class_order or f"{len(data.classes or ())} names"))
    rows += [("Note", note) for note in data.notes]
    profile = result.profile
    where = "built-in" if profile.source == "built-in" else profile.source
    rows += [
        ("Profile", f"{profile.name} ({where}), seed {result.run.seed}"),
        ("Device", f"{result.environment.device}; judge: {result.environment.judge}"),
        ("Threat", threat_words(result.threat_model, result.data)),
    ]
    if result.clean.accuracy is not None:
        declared = f"; declared {result.clean.declared:.1%}" if result.clean.declared is not None else ""
        rejected = f"; {words}" if (words := rejected_words(result)) else ""
        rows.append(("Clean", f"accuracy {rate_words(result.clean.accuracy)}{declared}{rejected}"))
    facts(console, rows)


def _worst_case(console: Console, result: Result) -> None:
    worst = result.worst_case
    rate = worst.robust_accuracy or worst.stability
    heading(console, "Worst case over all attacks, sample by sample")
    if (stopped := stopping_words(result)) is not None:
        console.print(indented(styled(stopped)))
    if rate is not None:
        line = Text(f"{worst_case_name(result)} is at most ").append(rate_words(rate), style="bold")
        console.print(indented(line))
        pairs = pairs_words(result)
        if pairs is not None:
            console.print(indented(Text(pairs)))
        console.print(indented(Text(UPPER_BOUND, style="dim")))
        return
    told, observed = withheld_words(result) or ("", None)
    console.print(indented(Text(told, style="bold yellow")))
    if observed is not None:
        console.print(indented(Text(observed, style="dim")))


def _checks(console: Console, checks: Sequence[Check]) -> None:
    rows = ((styled(check.id), status(check.status), styled(check.message)) for check in checks)
    listing(console, "Checks of the audit itself", rows)


def _comparison(console: Console, result: Result, *, all_samples: bool) -> None:
    if result.comparison is None:
        return
    heading(console, "Against the baseline, sample by sample")
    most = {"listed": len(result.samples)} if all_samples else {}
    for depth, text in comparison_lines(result.comparison, **most):
        console.print(indented(styled(text), 2 + 2 * depth))


def _gates(console: Console, gates: Sequence[Gate]) -> None:
    rows = ((styled(gate_words(gate)), status(gate.status), styled(gate.message)) for gate in gates)
    listing(console, "Gates", rows)


def _verdict(console: Console, result: Result) -> None:
    verdict = result.verdict
    console.print()
    title = Text("Verdict: ", style="bold")
    title.append(plain(verdict_words(result)), style=STATUS_STYLES[verdict.status])
    title.append(f", exit code {verdict.exit_code}", style="dim")
    console.print(title)
    console.print(indented(styled(verdict.headline)))
    console.print(indented(styled(verdict.meaning)))
    bullets(console, verdict.reasons)


def _errors(console: Console, result: Result) -> None:
    heading(console, "Errors")
    bullets(console, error_lines(result))


def _foot(console: Console, result: Result, command: str | None) -> None:
    run = result.run
    console.print()
    rows = []
    evidence = evidence_words(result)
    if evidence is not None:
        rows.append(("Evidence", evidence))
    rows.append(("Run", run_words(result)))
    rows += [("Note", note) for note in run.notes]
    facts(console, rows)
    console.print(Text("Reproduce", style="bold"))
    if command is None:
        console.print(indented(styled(where_words(result), "dim")))
    console.print(Text(f"  {printable(command or run.command)}"), soft_wrap=True)


FORMAT = Format(
    name="text",
    suffixes=(".txt",),
    help="as on a terminal",
    render=render,
)

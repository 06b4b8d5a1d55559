"""The report for a terminal, a pipe, or a text file.

Nothing from a file name, metadata or a message is read as markup, and control characters never get through.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robaudit.audit.result import Attack, Check, Gate, Result, Sample
from robaudit.report.curve import draw_curves
from robaudit.report.details import input_details
from robaudit.report.threats import threat_table
from robaudit.report.words import (
    ascii_only,
    count,
    duration,
    input_words,
    plain,
    rate_words,
    short_rate,
    size,
    stability_notice,
    threat_words,
)

__all__ = ["SUFFIXES", "print_report", "render", "render_text"]

SUFFIXES = (".txt",)

STATUS_STYLES = {
    "pass": "green",
    "ok": "bold green",
    "done": "green",
    "warn": "yellow",
    "inconclusive": "yellow",
    "partial": "yellow",
    "skipped": "dim",
    "not run": "yellow",
    "unavailable": "yellow",
    "incomplete": "bold yellow",
    "withheld": "bold yellow",
    "invalid": "bold yellow",
    "fail": "red",
    "failed": "bold red",
}
STATUS_WORDS = {
    "ok": "OK",
    "failed": "FAILED",
    "withheld": "WITHHELD",
    "inconclusive": "INCONCLUSIVE",
    "incomplete": "INCOMPLETE",
    "invalid": "INVALID",
}
LISTED_ERRORS = 20
LISTED_CUTS = 3
LISTED_CLASSES = 8


def render(result: Result) -> str:
    """The report as plain text, 80 columns wide."""
    return render_text(result)


def render_text(result: Result, width: int = 80, color: bool = False, samples: bool = False) -> str:
    """The report as text, with ANSI colours or a line for every sample if asked."""
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
    _report(console, result, samples)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())


def print_report(result: Result, stream: TextIO, samples: bool = False) -> None:
    """Write the report: in colour and full width on a terminal, as plain text of 80 columns elsewhere.

    Args:
        result: to report.
        stream: to write to.
        samples: list every sample.
    """
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
    if not stream.isatty():
        text = render_text(result, samples=samples)
        stream.write(text if encoding.startswith("utf") else ascii_only(text))
    elif not encoding.startswith("utf"):
        stream.write(ascii_only(render_text(result, width=Console(file=stream).width, samples=samples)))
    else:
        _report(Console(file=stream, markup=False, emoji=False, highlight=False), result, samples)
    stream.flush()


def _styled(text: str, style: str = "") -> Text:
    return Text(plain(text, 2000), style=style)


def _status(status: str) -> Text:
    return Text(status, style=STATUS_STYLES.get(status, ""))


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))


def _bullets(console: Console, items: Iterable[str]) -> None:
    for item in items:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text("  -"), _styled(item))
        console.print(grid)


def _facts(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), _styled(text))
    console.print(grid)


def _report(console: Console, result: Result, samples: bool = False) -> None:
    _top(console, result)
    _attacks(console, result)
    threat_table(console, result)
    _worst_case(console, result)
    draw_curves(console, result)
    if result.checks:
        _checks(console, result.checks)
    if result.gates:
        _gates(console, result.gates)
    _verdict(console, result)
    if result.limitations:
        _heading(console, "What this does not say")
        _bullets(console, result.limitations)
    if result.errors:
        _errors(console, result)
    if samples:
        for title, cells in input_details(result.target):
            _listing(console, title, ((_styled(a), Text(plain(b)), _styled(c)) for a, b, c in cells))
        rows = ((_styled(sample.id), Text(str(sample.index)), _styled(_fate(sample))) for sample in result.samples)
        _listing(console, "Samples", rows)
    if result.verdict.next_steps:
        _heading(console, "What to do next")
        _bullets(console, result.verdict.next_steps)
    _foot(console, result)


def _top(console: Console, result: Result) -> None:
    target, data = result.target, result.data
    console.print(_styled(f"robaudit {result.tool.version}: audit of {target.file}", "bold"))
    notice = stability_notice(data)
    if notice:
        console.print(_styled(notice, "bold yellow"))
    for assumption in target.assumed:
        console.print(_styled(f"ASSUMED INPUT: {assumption}", "bold yellow"))
    console.print()
    rows = [
        ("File", f"{target.format}, {size(target.bytes)}, sha256 {target.sha256}"),
        ("Input", input_words(target.input)),
        ("Output", _output(result)),
        ("Gradient", _gradient(result)),
        (
            "Data",
            f"{data.source} ({data.kind}): {data.drawn} of {data.count} samples, sha256 {data.sha256[:16]}",
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
        ("Threat", threat_words(result.threat_model)),
    ]
    if result.clean.accuracy is not None:
        declared = f"; declared {result.clean.declared:.1%}" if result.clean.declared is not None else ""
        rows.append(("Clean", f"accuracy {rate_words(result.clean.accuracy)}{declared}"))
    _facts(console, rows)


def _output(result: Result) -> str:
    target = result.target
    chosen = next((output for output in target.outputs if output.scores), None)
    text = f"{target.num_classes} classes, {target.head}"
    if chosen is None:
        return text
    others = ", ".join(plain(output.name, 40) for output in target.outputs if not output.scores)
    why = f" ({chosen.reason}; others: {others})" if others else ""
    fixed = "".join(
        f"; input {plain(name, 40)} fixed at {plain(value, 40)}" for name, value in target.fixed_inputs.items()
    )
    return f"{plain(chosen.name, 60)}: {text}{why}{fixed}"


def _gradient(result: Result) -> str:
    gradient = result.target.gradient
    if not gradient.available:
        return f"unavailable: {(gradient.reason or 'no reason given').removeprefix('unavailable: ')}"
    text = "available" + (f", by {gradient.source}" if gradient.source else "")
    if gradient.before:
        text += f"; taken before {gradient.before[-1]} at the end of the file"
    if gradient.cuts:
        more = f" and {len(gradient.cuts) - LISTED_CUTS} more" if len(gradient.cuts) > LISTED_CUTS else ""
        text += f"; {gradient.method} at {len(gradient.cuts)} operators without a useful derivative: "
        text += "; ".join(gradient.cuts[:LISTED_CUTS]) + more
    return text


def _attacks(console: Console, result: Result) -> None:
    if not result.attacks:
        return
    of_curve = "; those of the curve on all" if result.curves else ""
    _heading(console, f"Attacks, each on what the ones before it left standing{of_curve}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("attack\naccess", overflow="fold")
    table.add_column("broken\nof tried", justify="right")
    table.add_column("left of all\nexact interval", justify="right", no_wrap=True)
    table.add_column("queries\n", justify="right")
    table.add_column("forwards\nbackwards", justify="right")
    table.add_column("median\ndistance", justify="right")
    table.add_column("time\n", justify="right")
    for attack in result.attacks:
        table.add_row(*_attack_row(attack))
    console.print(table)
    _bullets(
        console,
        [
            f"{attack.id} {attack.status}"
            + (f": {attack.reason.removeprefix('unavailable: ')}" if attack.reason else "")
            for attack in result.attacks
            if attack.status != "done"
        ]
        + [
            f"{attack.id}: the judge refused {attack.candidates_refused} candidates on the original file"
            for attack in result.attacks
            if attack.candidates_refused
        ],
    )


def _attack_row(attack: Attack) -> list[Text]:
    name = Text(f"{plain(attack.id, 40)}\n").append(attack.access, style="dim")
    if attack.status not in ("done", "partial"):
        return [name, _status(attack.status), *([Text("-")] * 5)]
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
        Text(short_rate(standing) if standing else "-"),
        Text(count(attack.queries) if attack.queries else "-"),
        Text(f"{count(attack.forwards)}\n{count(attack.backwards)}"),
        Text(f"{distance:.4g}" if distance is not None else "-"),
        Text(duration(attack.seconds)),
    ]


def _worst_case(console: Console, result: Result) -> None:
    worst = result.worst_case
    rate = worst.robust_accuracy or worst.stability
    name = "Robust accuracy" if worst.metric == "robust_accuracy" else "Stability"
    if result.threat_model.goal != "untargeted":
        name = f"Targeted {name.lower()}"
    _heading(console, "Worst case over all attacks, sample by sample")
    if rate is not None:
        line = Text(f"  {name} is at most ").append(rate_words(rate), style="bold")
        console.print(line)
        if worst.pairs is not None:
            share = f" ({worst.pairs.share:.1%})" if worst.pairs.share is not None else ""
            pairs = f"{worst.pairs.reached} of {worst.pairs.tried}{share}"
            told = f"Of all pairs of a sample and a class to answer, {pairs} were reached."
            console.print(Padding(Text(told), (0, 0, 0, 2)))
        console.print(Text("  An upper bound: a stronger attack can only lower it.", style="dim"))
        return
    observed = worst.upper_bound_observed
    if result.verdict.status == "withheld" or any(check.status == "fail" for check in result.checks):
        console.print(Text("  WITHHELD: the audit cannot vouch for it", style="bold yellow"))
        kept = f"{observed.n - observed.k} of {observed.n}"
        console.print(Text(f"  Observed, and not to be quoted: {kept} wrong or broken.", style="dim"))
    else:
        console.print(Text(f"  INCOMPLETE: so far at most {rate_words(observed)}", style="bold yellow"))


def _listing(console: Console, title: str, rows: Iterable[tuple[Text, Text, Text]]) -> None:
    _heading(console, title)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(Padding(table, (0, 0, 0, 2)))


def _checks(console: Console, checks: Sequence[Check]) -> None:
    rows = ((_styled(check.id), _status(check.status), _styled(check.message)) for check in checks)
    _listing(console, "Checks of the audit itself", rows)


def _gates(console: Console, gates: Sequence[Gate]) -> None:
    rows = []
    for gate in gates:
        bounds = f" ≥ {gate.min:g}" if gate.min is not None else ""
        bounds += f" ≤ {gate.max:g}" if gate.max is not None else ""
        level = " (warning only)" if gate.level == "warn" else ""
        rows.append((_styled(f"{gate.metric}{bounds}{level}"), _status(gate.status), _styled(gate.message)))
    _listing(console, "Gates", rows)


def _verdict(console: Console, result: Result) -> None:
    verdict = result.verdict
    console.print()
    title = Text("Verdict: ", style="bold")
    title.append(STATUS_WORDS[verdict.status], style=STATUS_STYLES[verdict.status])
    title.append(f" (exit code {verdict.exit_code})", style="dim")
    console.print(title)
    console.print(Padding(_styled(verdict.headline), (0, 0, 0, 2)))
    _bullets(console, verdict.reasons)


def _errors(console: Console, result: Result) -> None:
    _heading(console, "Errors")
    lines = []
    for error in result.errors:
        cost = [f"{kind} {name}" for kind, name in (("attack", error.attack), ("sample", error.sample)) if name]
        lines.append(f"{error.where}{' (' + ', '.join(cost) + ')' if cost else ''}: {error.message}")
    _bullets(console, lines[:LISTED_ERRORS])
    if len(lines) > LISTED_ERRORS:
        _bullets(console, [f"and {len(lines) - LISTED_ERRORS} more; the JSON report has them all"])


def _fate(sample: Sample) -> str:
    """What became of a sample."""
    queries = f", {count(sample.queries)} queries" if sample.queries else ""
    if sample.error is not None:
        return f"error: {sample.error}"
    if sample.left_out is not None:
        return f"label {sample.label}, left out: {sample.left_out}"
    if sample.clean_prediction != sample.label:
        return f"label {sample.label}, answered {sample.clean_prediction} without an attack"
    sought = f", sought {', '.join(map(str, sample.targets[:LISTED_CLASSES]))}" if sample.targets else ""
    sought += ", ..." if len(sample.targets) > LISTED_CLASSES else ""
    if sample.broken_by is None:
        return f"label {sample.label}{sought}, stands{queries}"
    if len(sample.targets) > 1:
        queries = f", {len(sample.reached)} of {len(sample.targets)} classes reached{queries}"
        sought = ""
    at = f" at {sample.distance:.4g}" if sample.distance is not None else ""
    return f"label {sample.label}{sought}, broken by {sample.broken_by}: {sample.adversarial_prediction}{at}{queries}"


def _foot(console: Console, result: Result) -> None:
    run, evidence = result.run, result.evidence
    console.print()
    rows = []
    if evidence.path is not None:
        digest = f", sha256 {evidence.sha256}" if evidence.sha256 else ""
        rows.append(("Evidence", f"{evidence.count} adversarial examples in {evidence.path}{digest}"))
    resumed = ", resumed from the journal" if run.resumed else ""
    promise = "" if run.reproducible else "; not reproducible"
    rows.append(("Run", f"{run.id}, {duration(run.seconds)}{resumed}{promise}; network: {run.network}"))
    rows += [("Note", note) for note in run.notes]
    _facts(console, rows)
    console.print(Text("Reproduce", style="bold"))
    console.print(Text(f"  {plain(run.command, 10_000)}"), soft_wrap=True)

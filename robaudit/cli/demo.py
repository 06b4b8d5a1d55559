"""``robaudit demo``: a fragile and a robust classifier, audited side by side."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from robaudit.audit.result.document import Result

__all__ = ["demo"]

CONFIG = """\
# Written by `robaudit demo`; read by `robaudit scan` for any model in this folder or below.
# Every key is also a flag and an environment variable: eps, --eps, ROBAUDIT_EPS. Flags win, then variables.

data: fashion_test500.npz   # x: uint8, 500 x 28 x 28; y: the label of each image
classes: [T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot]

profile: quick              # `robaudit profile list` names the others
norm: linf                  # every pixel may change ...
eps: 0.1                    # ... by up to this fraction of the range from black to white
samples: 500                # draw them all

# The model file itself says what its input means (its ONNX metadata). Where a file does not:
# input:
#   mean: [0.2860]
#   std: [0.3530]

# A gate of your own makes the exit code tell a CI job whether the model is good enough:
# min-robust: 0.6           # the clean model fails it, the robust one passes
"""
FILES = ("fashion_clean.onnx", "fashion_robust.onnx", "fashion_test500.npz")


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write the demo.")] = Path("robaudit-demo"),
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No live progress on stderr.")] = False,
) -> None:
    """Write two small Fashion-MNIST models, 500 images and a robaudit.yaml; scan both and compare."""
    import os

    from robaudit.audit.config.resolve import resolve_settings
    from robaudit.audit.run.asking import request_of
    from robaudit.audit.run.audit import run_audit
    from robaudit.report.progress import progress

    _write(folder)
    typer.echo(f"Wrote {', '.join((*FILES, 'robaudit.yaml'))} to {folder}")
    results: list[tuple[Path, Result]] = []
    for name in FILES[:2]:
        model = folder / name
        resolved = resolve_settings({}, os.environ, model)
        request = request_of(model, resolved, shlex.join(["robaudit", "scan", str(model)]))
        with progress(sys.stderr, enabled=not no_progress, verbose=False) as observer:
            result, run = run_audit(request, folder / ".robaudit" / model.stem, observer, fresh=True)
        results.append((run, result))
        if result.run.interrupted:
            break
    typer.echo(_comparison([result for _, result in results]))
    typer.echo("Full reports:   " + "\n                ".join(f"robaudit report {run}" for run, _ in results))
    typer.echo(f"Next:           robaudit scan {folder / FILES[0]} --eps 0.02")
    raise typer.Exit(max(result.verdict.exit_code for _, result in results))


def _write(folder: Path) -> None:
    """The demo's files; a robaudit.yaml that somebody changed is not overwritten."""
    from robaudit.errors import UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "robaudit.yaml"
        if config.exists() and config.read_text("utf-8") != CONFIG:
            raise UsageError(f"{config} is not the demo's; name another folder: robaudit demo FOLDER")
        source = resources.files("robaudit") / "demo"
        for name in FILES:
            with resources.as_file(source / name) as path:
                shutil.copyfile(path, folder / name)
        config.write_text(CONFIG, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UsageError(f"the demo cannot be written to {folder}: {reason or error}") from error


def _comparison(results: list[Result]) -> str:
    """A column a model, a line a figure."""
    from collections import Counter

    from robaudit.audit.verdict.phrases import threat_phrase
    from robaudit.report.words import duration, short_rate

    rows = [("", [Path(result.target.file).name for result in results])]
    rows.append(("clean accuracy", [short_rate(r.clean.accuracy) if r.clean.accuracy else "-" for r in results]))
    for number, attack in enumerate(results[0].attacks):
        if all(r.attacks[number].status == "skipped" for r in results):
            continue
        left = [r.attacks[number].cumulative_robust_accuracy for r in results]
        rows.append((f"left after {attack.id}", [short_rate(rate) if rate else "-" for rate in left]))
    worst = [r.worst_case.robust_accuracy for r in results]
    rows.append(("worst case, at most", [short_rate(rate) if rate else "withheld" for rate in worst]))
    checks = [Counter(check.status for check in r.checks) for r in results]
    rows.append(("checks of the audit", [", ".join(f"{n} {status}" for status, n in c.items()) for c in checks]))
    rows.append(("verdict", [r.verdict.word for r in results]))
    rows.append(("time", [duration(r.run.seconds) for r in results]))
    wide = max(len(name) for name, _ in rows) + 2
    head = results[0]
    remarks = [
        f"{Path(r.target.file).name}, check {c.id}, {c.status}: {c.message}"
        for r in results
        for c in r.checks
        if c.status not in ("pass", "skipped")
    ]
    lines = [
        "",
        "Same architecture, images and attacks; only the training differs. Accuracy in %, with exact 95 % intervals.",
        f"Threat: {threat_phrase(head.threat_model)} around each of {head.data.drawn} test images.",
        "",
        *(f"{name:<{wide}}" + "".join(f"{cell:<24}" for cell in cells).rstrip() for name, cells in rows),
        "",
        *(line for remark in remarks for line in (*textwrap.wrap(remark, 110), "")),
    ]
    return "\n".join(lines)

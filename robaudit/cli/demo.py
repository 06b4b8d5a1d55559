"""``robaudit demo``: a fragile and a robust classifier, audited side by side."""

from __future__ import annotations

import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]

CONFIG = """\
# Written by `robaudit demo`. Any flag of `robaudit scan` can stand here; flags win over this file.
data: fashion_test500.npz   # 500 Fashion-MNIST test images: x uint8 N x 28 x 28, y labels
profile: quick
norm: linf
eps: 0.1                    # radius as a fraction of the pixel range
samples: 500
"""
FILES = ("fashion_clean.onnx", "fashion_robust.onnx", "fashion_test500.npz")


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write the demo.")] = Path("robaudit-demo"),
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No live progress on stderr.")] = False,
) -> None:
    """Write two small Fashion-MNIST models, 500 images and a robaudit.yaml; scan both and compare."""
    import os

    from robaudit.audit.config import resolve_settings
    from robaudit.audit.run import run_audit
    from robaudit.cli.scan import to_request
    from robaudit.errors import UsageError
    from robaudit.report.progress import progress
    from robaudit.report.terminal import print_report

    try:
        folder.mkdir(parents=True, exist_ok=True)
        source = resources.files("robaudit") / "demo"
        for name in FILES:
            with resources.as_file(source / name) as path:
                shutil.copyfile(path, folder / name)
        (folder / "robaudit.yaml").write_text(CONFIG)
    except OSError as error:
        raise UsageError(f"the demo cannot be written to {folder}: {error.strerror or error}") from error
    results = []
    for name in FILES[:2]:
        model = folder / name
        resolved = resolve_settings({}, os.environ, model)
        request = to_request(model, resolved, trust_model=False, command=f"robaudit scan {model}")
        with progress(sys.stderr, enabled=not no_progress, verbose=False) as observer:
            result, _ = run_audit(request, folder / ".robaudit" / model.stem, observer, fresh=True)
        print_report(result, sys.stdout)
        results.append((name, result))
    typer.echo("The same architecture, images and attacks:")
    for name, result in results:
        clean, robust = result.clean.accuracy, result.worst_case.robust_accuracy
        left = "withheld" if robust is None or robust.estimate is None else f"{robust.estimate:6.1%}"
        right = "unknown" if clean is None or clean.estimate is None else f"{clean.estimate:6.1%}"
        typer.echo(f"  {name:<22} clean {right}   robust at L∞ 0.1 {left}")
    typer.echo(f"\nTry it yourself: robaudit scan {folder / FILES[0]} --eps 0.02")
    raise typer.Exit(max(result.verdict.exit_code for _, result in results))

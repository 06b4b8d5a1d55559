"""``robaudit doctor``: versions, processors, GPUs, runtime providers."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import typer

from robaudit import __version__
from robaudit.audit.process.sandbox import landlock_version, missing

__all__ = ["doctor"]

PACKAGES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "scipy", "pydantic", "rich", "typer")


def doctor() -> None:
    """Show what robaudit finds on this machine; exit 3 if no audit could run here."""
    rows = [("robaudit", __version__), ("python", f"{platform.python_version()} on {platform.platform()}")]
    for name in PACKAGES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    rows.append(("processors", str(os.cpu_count())))
    problems = []
    try:
        import torch

        rows.append(("threads", str(torch.get_num_threads())))
        rows += [(f"cuda:{i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
        if not torch.cuda.device_count():
            rows.append(("gpu", "none; audits run on the CPU"))
    except Exception as error:
        problems.append(f"torch cannot be used: {error}")
    try:
        import onnxruntime

        rows.append(("providers", f"{', '.join(onnxruntime.get_available_providers())} (built in, not all usable)"))
    except Exception as error:
        problems.append(f"onnxruntime cannot be used: {error}")
    reason = missing()
    rows.append(("sandbox", f"Landlock {landlock_version()}, on by default" if reason is None else f"none: {reason}"))
    for name, value in rows:
        typer.echo(f"{name:<17}{value}")
    for problem in problems:
        typer.echo(f"robaudit: error: {' '.join(problem.split())}", err=True)
    if problems:
        raise typer.Exit(3)

"""``robaudit doctor``: versions, processors, GPUs, runtime providers."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import typer

__all__ = ["doctor"]

PACKAGES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "scipy", "pydantic", "rich", "typer")


def doctor() -> None:
    """Show what robaudit finds on this machine; exit 3 if no audit could run here."""
    import onnxruntime
    import torch

    typer.echo(f"robaudit      {version('robaudit')}")
    typer.echo(f"python        {platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            typer.echo(f"{name:<14}{version(name)}")
        except PackageNotFoundError:
            typer.echo(f"{name:<14}not installed")
    typer.echo(f"processors    {os.cpu_count()}, torch uses {torch.get_num_threads()} threads")
    count = torch.cuda.device_count()
    for index in range(count):
        typer.echo(f"cuda:{index}        {torch.cuda.get_device_name(index)}")
    if count == 0:
        typer.echo("gpu           none; audits run on the CPU")
    typer.echo(f"providers     {', '.join(onnxruntime.get_available_providers())} (built in, not all usable)")

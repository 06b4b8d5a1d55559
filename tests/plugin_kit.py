"""Packages beside robaudit: the documented ones, installed exactly as they stand, and broken ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from quick_start import ran

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str) -> dict[str, str]:
    """The blocks of code of a page in docs/, by language; of several the first."""
    found = re.findall(r"```(\w+)\n(.*?)```", (DOCS / f"{page}.md").read_text("utf-8"), re.DOTALL)
    return dict(reversed(found))


def install(page: str, module: str, source: Path, site: Path) -> Path:
    """Install a page's package with pip, without a network, into a folder for PYTHONPATH."""
    code = blocks(page)
    source.joinpath("pyproject.toml").write_text(code["toml"])
    source.joinpath(f"{module}.py").write_text(code["python"])
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, capture_output=True, text=True)
    return site


def pretend(site: Path, group: str, entry: str, code: str, name: str = "other") -> Path:
    """A package as an installation leaves it in ``site``: one module, ``name``, and one entry point."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
    (site / f"{name}.py").write_text(code)
    return site


def with_package(site: Path, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a folder, with the packages of ``site``."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **more}
    return ran(arguments, env=environment, cwd=folder, timeout=600)

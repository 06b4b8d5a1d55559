#!/usr/bin/env python3
"""The pre-commit hook: checks profiles and robaudit.yaml in an environment of its own, without PyTorch.

The standard library alone. pre-commit's own environments install a package with all that it depends on, which is
gigabytes; checking settings needs a few small packages.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
NEEDED = ("numpy", "pydantic", "pyyaml", "rich", "scipy", "typer")
RUN = "import sys; from robaudit.cli.main import main; sys.argv[0] = 'robaudit'; main()"


def main() -> int:
    """Check the files that are named; robaudit's own exit code."""
    pins = (HOME / "constraints.txt").read_text("utf-8")
    key = hashlib.sha256("\0".join((sys.version, sys.prefix, pins, *NEEDED)).encode()).hexdigest()[:12]
    cache = os.environ.get("PRE_COMMIT_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "pre-commit"
    folder = Path(cache).expanduser() / f"robaudit-{key}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        code = subprocess.call([*pip, "--constraint", str(HOME / "constraints.txt"), *NEEDED], stdout=sys.stderr)
        if code:
            print(f"robaudit: the hook's environment in {folder} could not be installed", file=sys.stderr)
            return code
        ready.touch()
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    command = [str(python), "-c", RUN, "profile", "validate", *sys.argv[1:]]
    return subprocess.call(command, env={**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    sys.exit(main())

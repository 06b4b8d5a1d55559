"""Installs robaudit with pip, for the action; with ``key``, names what is cached of the downloads instead.

The standard library alone; inputs come from the environment alone.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Install what was asked for; the action's own version with the versions that it was tested with."""
    home = Path(__file__).resolve().parent.parent
    wanted = os.environ.get("ROBAUDIT_ACTION_INSTALL", "").strip()
    given = [line for line in os.environ.get("ROBAUDIT_ACTION_PIP_ARGS", "").splitlines() if line.strip()]
    tested = [] if wanted else ["--constraint", str(home / "constraints.txt")]
    if sys.argv[1:] == ["key"]:
        parts = (
            platform.system(),
            platform.machine(),
            sys.version,
            wanted,
            *given,
            (home / "constraints.txt").read_text(),
        )
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8", newline="\n") as file:
            file.write(f"key=robaudit-pip-{key}\n")
        return 0
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *tested, *given]
    return subprocess.call([*command, "--", wanted or str(home)])


if __name__ == "__main__":
    sys.exit(main())

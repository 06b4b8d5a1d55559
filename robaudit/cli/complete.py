"""What the shell completes: names of attacks, checks, profiles and formats, found without importing anything heavy."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["checks_and_attacks", "directions", "formats", "norms", "profiles", "reports"]

PACKAGE = Path(__file__).parents[1]
ID = re.compile(r'^    id(?:: ClassVar\[str\])? = "([^"]+)"', re.MULTILINE)


def _ids(package: str) -> set[str]:
    """Ids of the classes in a package, read off their text: importing them takes seconds."""
    return {found for path in (PACKAGE / package).rglob("*.py") for found in ID.findall(path.read_text("utf-8"))}


def checks_and_attacks(incomplete: str) -> list[str]:
    """What ``explain`` explains."""
    return _starting(sorted(_ids("attacks") | _ids("checks") | _ids("defenses") | {"goal", "loss"}), incomplete)


def profiles(incomplete: str) -> list[str]:
    """Built-in profiles; files are left to the shell once there is a path."""
    folders = (PACKAGE / "profiles", PACKAGE.parent / "profiles")
    return _starting(sorted({path.stem for folder in folders for path in folder.glob("*.yaml")}), incomplete)


def formats(incomplete: str) -> list[str]:
    """Formats of stdout."""
    return _starting(["text", "json"], incomplete)


def norms(incomplete: str) -> list[str]:
    """Norms."""
    return _starting(["linf", "l2", "l1", "l0"], incomplete)


def directions(incomplete: str) -> list[str]:
    """What an inconclusive gate may mean."""
    return _starting(["fail", "warn", "pass"], incomplete)


def reports(incomplete: str) -> list[str]:
    """A report's name with each suffix that there is."""
    from robaudit.report.registry import suffixes

    stem = incomplete.split(".")[0] if not incomplete.startswith(".") else ""
    return _starting([f"{stem or 'report'}{suffix}" for suffix in suffixes()], incomplete)


def _starting(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]

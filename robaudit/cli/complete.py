"""What the shell completes: names of attacks, checks, profiles and formats, found without importing anything heavy."""

from __future__ import annotations

import re
from pathlib import Path

from robaudit.attacks.names import SHORT

__all__ = [
    "checks_and_attacks",
    "defenses",
    "detectors",
    "formats",
    "profiles",
    "purifiers",
    "reports",
    "starting",
]

PACKAGE = Path(__file__).parents[1]
ID = re.compile(r'^    (?:id(?:: ClassVar\[str\])? = |    id=)"([^"]+)"', re.MULTILINE)


def _ids(package: str) -> set[str]:
    """Ids of the classes in a package, read off their text: importing them takes seconds."""
    return {found for path in (PACKAGE / package).rglob("*.py") for found in ID.findall(path.read_text("utf-8"))}


def checks_and_attacks(incomplete: str) -> list[str]:
    """What ``explain`` explains; after a plus sign transforms that are not named yet."""
    before, plus, _ = incomplete.rpartition("+")
    if plus:
        left = sorted(_ids("attacks/transforms") - {*before.split("+")})
        return starting([f"{before}+{transform}" for transform in left], incomplete)
    folders = ("attacks", "surrogates", "checks", "defenses", "detectors", "purifiers", "threat/sets", "certificates")
    ids = set().union(*map(_ids, folders)) - {"features"}
    return starting(sorted(ids | {*SHORT, "goal", "loss"}), incomplete)


def profiles(incomplete: str) -> list[str]:
    """Built-in profiles; files are left to the shell once there is a path."""
    folders = (PACKAGE / "profiles", PACKAGE.parent / "profiles")
    return starting(sorted({path.stem for folder in folders for path in folder.glob("*.yaml")}), incomplete)


def defenses(incomplete: str) -> list[str]:
    """Defenses of a chain; parameters are left to the user."""
    before, plus, _ = incomplete.rpartition("+")
    return starting([f"{before}{plus}{id}" for id in sorted(_ids("defenses"))], incomplete)


def purifiers(incomplete: str) -> list[str]:
    """How a purifier can be made; parameters are left to the user."""
    return starting(sorted(_ids("purifiers")), incomplete)


def detectors(incomplete: str) -> list[str]:
    """Detectors; parameters are left to the user."""
    return starting(sorted(_ids("detectors")), incomplete)


def formats(incomplete: str) -> list[str]:
    """Formats of stdout."""
    return starting(["text", "json"], incomplete)


def reports(incomplete: str) -> list[str]:
    """A report's name with each suffix that there is."""
    from robaudit.report.registry import suffixes

    stem = incomplete.split(".")[0] if not incomplete.startswith(".") else ""
    return starting([f"{stem or 'report'}{suffix}" for suffix in suffixes()], incomplete)


def starting(names: list[str], incomplete: str) -> list[str]:
    """The names that an incomplete word may become."""
    return [name for name in names if name.startswith(incomplete)]

"""Gathers the sources of the documentation in one folder: what is written, and the reference that is made from code.

    python docs/stage.py build/docs/source

Links are written as they work in the repository. Here they are set to where a page goes; a link that leads nowhere ends
the build.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "https://github.com/robaudit/robaudit/blob/main/"
"""Where files of the repository are read that are no page."""
LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
REFERENCE = "reference"
"""Folder of the pages that are made here."""


def written(root: Path = ROOT) -> dict[str, str]:
    """Where each page that is written by hand goes, by its path in the repository."""
    pages = {f"docs/{path.relative_to(root / 'docs').as_posix()}": "" for path in (root / "docs").rglob("*.md")}
    found = {name: name.removeprefix("docs/") for name in pages}
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        if (root / name).exists():
            found[name] = f"project/{name.lower()}"
    return found | {f"benchmarks/{path.name}": f"benchmarks/{path.name}" for path in (root / "benchmarks").glob("*.md")}


def dead_links(root: Path = ROOT, made: set[str] | None = None) -> list[str]:
    """Relative links that lead nowhere, each with its page."""
    found = []
    for name in written(root):
        text = FENCE.sub("", (root / name).read_text("utf-8"))
        for _, target in LINK.findall(text):
            if _place(name, target, made or set()) is None:
                found.append(f"{name}: {target}")
    return found


def _place(page: str, target: str, made: set[str]) -> str | None:
    """The path in the repository that a link names; "" of one that leaves it or stays on its page; None: nowhere."""
    path = target.partition("#")[0]
    if not path or re.match(r"[a-z]+:", path):
        return ""
    full = os.path.normpath(PurePosixPath(page).parent / path)
    return full if (ROOT / full).exists() or full in made else None


def stage(out: Path) -> None:
    """Write all pages, and the pictures that they show, into a folder.

    Raises:
        SystemExit: a link leads nowhere.
    """
    from reference_pages import reference_pages

    pages = written()
    made = {f"docs/{REFERENCE}/{name}.md": text for name, text in reference_pages().items()}
    if dead := dead_links(made=set(made)):
        raise SystemExit("links that lead nowhere:\n  " + "\n  ".join(dead))
    places = pages | {name: name.removeprefix("docs/") for name in made}
    shutil.rmtree(out, ignore_errors=True)
    for name, place in places.items():
        text = made[name] if name in made else (ROOT / name).read_text("utf-8")
        file = out / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_relinked(text, name, places, out), "utf-8")


def _relinked(text: str, page: str, places: dict[str, str], out: Path) -> str:
    def anew(match: re.Match[str]) -> str:
        words, target = match.groups()
        _, mark, anchor = target.partition("#")
        full = _place(page, target, set(places))
        if not full:
            return match[0]
        here = PurePosixPath(places[page]).parent
        if words.startswith("!"):
            (out / full).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / full, out / full)
            return f"{words}({os.path.relpath(full, here)})"
        if full in places:
            return f"{words}({os.path.relpath(places[full], here)}{mark}{anchor})"
        return f"{words}({PROJECT}{full})"

    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    text = LINK.sub(anew, FENCE.sub(keep, text))
    return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], text)


if __name__ == "__main__":
    stage(Path(sys.argv[1]))

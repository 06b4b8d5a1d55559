"""The files of an image folder: what is read, what is skipped and said, and which file a name means."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from robaudit.data.delimited import composed
from robaudit.errors import UsageError
from robaudit.files import text_of

__all__ = ["LABELS", "SPLITS", "FileIndex", "Folder", "formats", "image_suffixes", "relative", "walk"]

LABELS = "labels.csv"
"""File in a folder that holds its labels."""
NO_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
"""Formats that Pillow knows and that are programs, films or fields of numbers, or that it hands to another program."""
HIDDEN = frozenset({"thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
"""What operating systems leave behind; names that begin with a dot or ``__MACOSX`` too."""
SPLITS = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "holdout", "trainval"}
)
DEEPEST = 64
"""Levels of folders within each other."""
LISTED = 8
"""Most suffixes, files or folders in a note."""


@dataclass
class Folder:
    """What a folder holds.

    Args:
        path: of it.
        files: images, in the order of their names.
        classes: subfolders as they are named on disk, as text, those without an image too.
        others: files that cannot be read as images, and are not hidden.
        skipped: number of files of each suffix among them, without those that are known to be no images.
        broken: links that lead nowhere or back, and folders that cannot be entered.
        deep: folders too deep in others to be entered.
        hidden: files with the suffix of an image whose names begin with a dot; not the ``._`` files that macOS leaves.
    """

    path: Path
    files: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)

    @property
    def flat(self) -> list[Path]:
        """Images that lie in no subfolder."""
        return [path for path in self.files if path.parent == self.path]

    def notes(self) -> list[str]:
        """What was skipped, in sentences."""
        notes = []
        if self.skipped.total():
            notes.append(f"files skipped because they cannot be read as images: {self.skipped_words()}")
        if self.broken:
            notes.append(f"links and folders skipped because they lead nowhere, or back: {_listed(self.broken)}")
        if self.deep:
            notes.append(f"folders skipped because they lie more than {DEEPEST} deep: {_listed(self.deep)}")
        if self.hidden:
            notes.append(f"images skipped because their names begin with a dot: {_listed(self.hidden)}")
        return notes

    def skipped_words(self) -> str:
        """How many files of which suffixes are no images."""
        most = [(suffix, count) for suffix, count in self.skipped.most_common() if count]
        named = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in most[:LISTED])
        more = f", {sum(count for _, count in most[LISTED:])} others" if len(most) > LISTED else ""
        return f"{named}{more}"

    def check_splits(self, declared: Sequence[str] | None) -> None:
        """Refuse subfolders that are parts of a data set and no classes.

        Raises:
            UsageError: they are.
        """
        names = {name.casefold() for name in self.classes}
        if not names or not names <= SPLITS or names <= {name.casefold() for name in declared or ()}:
            return
        nested = any(len(path.relative_to(self.path).parts) > 2 for path in self.files)
        if len(names) > 1 or nested:
            found, best = ", ".join(self.classes), self.path / self.classes[-1]
            raise UsageError(f"{self.path} holds parts of a data set ({found}), not classes; give one, as {best}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def formats() -> list[str]:
    """Formats that Pillow reads here, for :func:`PIL.Image.open`: by content, whatever the suffix."""
    Image.init()
    return [name for name in Image.ID if name not in NO_PICTURES]


def image_suffixes() -> frozenset[str]:
    """Suffixes of the images that Pillow reads here, in lower case."""
    known = {*formats(), "MPO"}  # JPEG's reader reads it
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def relative(path: Path, folder: Path) -> str:
    """The name of a sample: relative to the folder, in Unicode normal form C; bytes that are no text are escaped."""
    return composed(text_of((path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()))


def walk(folder: Path, apart: Sequence[Path] = ()) -> Folder:
    """All images in a folder and its subfolders. Links are followed, but not in a circle.

    Args:
        folder: to look at.
        apart: files that are no images and are known to be none, such as labels.
    """
    found = Folder(folder)
    suffixes = image_suffixes()
    known = {os.path.realpath(path) for path in apart}
    for path in _entries(folder, found):
        if os.path.isdir(path):  # False where it cannot be told
            found.classes.append(text_of(path.name))
            seen = {os.path.realpath(folder)}
            files = list(_visit(path, seen, found, 1))
        else:
            files = [path]
        for file in files:
            if not os.path.isfile(file):
                found.broken.append(relative(file, folder))
            elif file.suffix.lower() in suffixes:
                found.files.append(file)
            else:
                found.others.append(file)
                found.skipped[text_of(file.suffix.lower())] += os.path.realpath(file) not in known
    found.files.sort(key=lambda path: relative(path, folder).split("/"))
    return found


def _visit(folder: Path, seen: set[str], found: Folder, depth: int) -> Iterator[Path]:
    """Files below a folder; each real folder once."""
    if depth > DEEPEST:
        found.deep.append(relative(folder, found.path))
        return
    real = os.path.realpath(folder)
    if real in seen:
        found.broken.append(relative(folder, found.path))
        return
    seen.add(real)
    for path in _entries(folder, found):
        if os.path.isdir(path):
            yield from _visit(path, seen, found, depth + 1)
        else:
            yield path


def _entries(folder: Path, found: Folder) -> list[Path]:
    """What a folder holds, without what is hidden or left behind by systems."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        found.broken.append(relative(folder, found.path))
        return []
    suffixes = image_suffixes()
    dotted = [p for p in paths if p.name.startswith(".") and not p.name.startswith("._")]
    found.hidden += [relative(p, found.path) for p in dotted if p.suffix.lower() in suffixes and os.path.isfile(p)]
    return [p for p in paths if not p.name.startswith((".", "__MACOSX")) and p.name.casefold() not in HIDDEN]


class FileIndex:
    """Finds the image that a cell of a CSV means."""

    def __init__(self, folder: Path, files: Sequence[Path], beside: Path) -> None:
        """Args: the folder, its images, and the folder of the CSV, in which paths may begin as well."""
        self.folder, self._beside = folder, beside
        self._names: dict[str, list[Path]] = {}
        self._stems: dict[str, list[Path]] = {}
        self._folded: dict[str, list[Path]] = {}
        self._last: dict[str, list[Path]] = {}
        for path in files:
            name = relative(path, folder)
            last = name.rpartition("/")[2]
            self._names.setdefault(name, []).append(path)
            self._stems.setdefault(_stem(name), []).append(path)
            self._folded.setdefault(name.casefold(), []).append(path)
            for key in (last, _stem(last)):
                self._last.setdefault(key, []).append(path)
        self._suffixes = image_suffixes()
        self._known: dict[str, Path | None] = {}

    def looks(self, cell: str) -> bool:
        """Whether a cell can only be the name of an image: there is one, or it ends as they do."""
        return Path(cell).suffix.lower() in self._suffixes or self.exact(cell) is not None

    def exact(self, cell: str) -> Path | None:
        """The file of that name, in the folder or where the CSV lies."""
        name = _slashes(cell)
        if not name:
            return None
        if name in self._names:
            return self._names[name][0]
        for folder in dict.fromkeys((self.folder, self._beside)):
            if os.path.isfile(os.path.join(folder, name)):  # False too where a cell is no possible name
                return self._inside(folder / name)
        return None

    def find(self, cell: str) -> Path | None:
        """The same; else the one image of that name without its suffix, in any case, without the first folders of the
        path, or without the folders that it lies in.
        """
        if cell not in self._known:
            self._known[cell] = self._found(cell)
        return self._known[cell]

    def _found(self, cell: str) -> Path | None:
        if (path := self.exact(cell)) is not None:
            return path
        name = _slashes(cell)
        while name:
            for table, key in ((self._names, name), (self._stems, name), (self._folded, name.casefold())):
                if len(found := table.get(key, [])) == 1:
                    return found[0]
            name = name.partition("/")[2]
        found = self._last.get(_slashes(cell), [])
        return found[0] if len(found) == 1 else None

    def missing(self, cell: str) -> Path:
        """Where a file that is not there would be."""
        return self.folder / _slashes(cell)

    def _inside(self, place: Path) -> Path:
        """As the folder's own file, if it is one."""
        real = Path(os.path.normpath(os.path.abspath(place)))
        root = Path(os.path.normpath(os.path.abspath(self.folder)))
        name = relative(real, root)
        return self._names[name][0] if real.is_relative_to(root) and name in self._names else place


def _slashes(cell: str) -> str:
    """A name as on this system: a path from Windows, one that begins with ``./``."""
    name = composed(cell.strip()).replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _stem(name: str) -> str:
    head, dot, _ = name.rpartition(".")
    return head if dot else name

"""Paths as reports may show them: relative, without the folders of the machine that ran the audit."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

from robaudit.audit.result.document import Result
from robaudit.audit.result.sections.run import Place

__all__ = ["model_place", "relative_path", "without_folders"]

POSIX = r"~?/(?:[^\s/'\"<>|:;,()]+/)+"
DRIVE = r"[A-Za-z]:[\\/](?:[^\\/:*?\"<>|\n']+[\\/])*"
SHARE = r"\\\\(?:[^\\/:*?\"<>|\s']+\\)+"
NODE = r"/(?:[^\s/(),]+/)*(?P=op)(?:_\d+)?"
NODES = rf"\b(?P<op>[A-Z]\w*) \({NODE}(?:(?:, | … ){NODE})*\)"
"""Nodes of an operator as PyTorch's exporter names them, ``Relu (/layer1/Relu, /layer2/Relu_1)``: they are no paths."""
ABSOLUTE = re.compile(rf"(?P<nodes>{NODES})|(?<![\w.:/\\~-])(?:{POSIX}|{DRIVE}|{SHARE})")
"""Folders at the front of an absolute path: ``/home/me/``, ``~/models/``, ``C:\\Users\\me\\``, a network share. Or
such nodes."""


def without_folders(text: str) -> str:
    """Text in which every absolute path is cut to its last part."""
    return ABSOLUTE.sub(lambda found: found["nodes"] or "", text)


def relative_path(path: str) -> str:
    """A path with forward slashes: as it is where it leads down from the working directory, else its name alone."""
    windows = PureWindowsPath(path)
    parts = windows.parts if "\\" in path else PurePosixPath(path).parts
    absolute = path.startswith(("/", "\\", "~")) or bool(windows.drive)
    if absolute or ".." in parts or not parts:
        return parts[-1] if parts and parts[-1] not in ("/", "\\", "..", "~") else "model"
    return "/".join(parts)


def model_place(result: Result) -> Place:
    """Where the file under audit lies, relative to the repository where the result knows that."""
    place = result.profile.places.get("model")
    return Place(file=relative_path(place.file if place is not None else result.target.file))

"""What a folder's images are, each looked at once before any is decoded."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO

from robaudit.data.folder import walk
from robaudit.data.pixels import MODES, read_header
from robaudit.errors import UsageError
from robaudit.files import MIB, open_regular, sha256_of
from robaudit.plural import part_of

__all__ = ["common_size", "digest_of_all", "opened", "survey"]

LARGEST = 512 * MIB
"""Bytes of an image file; no photograph has as many."""
SIZED = 200
"""Images whose size is looked at where a file leaves its own free."""


def digest_of_all(ids: Sequence[str], digests: Sequence[bytes | None]) -> str:
    """SHA-256 over names and contents; a file that cannot be read counts as such."""
    total = hashlib.sha256()
    for name, content in zip(ids, digests, strict=True):
        total.update(name.encode() + b"\0" + (b"unreadable" if content is None else content))
    return total.hexdigest()


def survey(
    files: list[Path], shape: tuple[int, int, int], crop: float, interpolation: str
) -> tuple[list[bytes | None], list[str]]:
    """SHA-256 of each file, None where it cannot be read; and what will be done to the images, in sentences."""
    digests: list[bytes | None] = []
    resized, frames, clear, modes = 0, 0, 0, Counter[str]()
    wanted = MODES[shape[0]]
    for path in files:
        try:
            with opened(path) as file:
                digest = bytes.fromhex(sha256_of(file))
                header = read_header(file)
        except (OSError, UsageError):
            digests.append(None)
            continue
        digests.append(digest)
        if header is None:
            continue
        resized += header.size != (shape[2], shape[1])
        frames += header.frames
        clear += header.clear and wanted != "RGBA"
        if header.mode != wanted:
            modes[header.mode] += 1
    notes = []
    if modes:
        found = ", ".join(f"{mode} {count}" for mode, count in sorted(modes.items()))
        name = {"L": "grey"}.get(wanted, wanted)
        notes.append(
            f"{part_of(sum(modes.values()), len(files), 'image', 'was/were')} converted to {name} (from {found})"
        )
    if clear:
        notes.append(
            f"{part_of(clear, len(files), 'image', 'has/have')} an alpha channel or a transparent colour, "
            "which is ignored"
        )
    if frames:
        notes.append(
            f"{part_of(frames, len(files), 'image', 'holds/hold')} several frames or pages, of which the first is used"
        )
    if resized:
        notes.append(
            f"{part_of(resized, len(files), 'image', 'was/were')} resized ({interpolation}) and cut to the centre "
            f"{shape[1]}x{shape[2]} (crop {crop:g}) before the attack"
        )
    return digests, notes


def common_size(folder: Path) -> tuple[int, int] | None:
    """(height, width) that the first images of a folder have in common; None where they differ, or none is readable."""
    sizes = set()
    for path in walk(folder).files[:SIZED]:
        try:
            with opened(path) as file:
                header = read_header(file)
        except (OSError, UsageError):
            continue
        if header is not None:
            sizes.add((header.size[1], header.size[0]))
    return sizes.pop() if len(sizes) == 1 else None


@contextlib.contextmanager
def opened(path: Path | Traversable) -> Iterator[IO[bytes]]:
    """An image file.

    Raises:
        UsageError: it is no ordinary file, or too large for an image.
        OSError: it cannot be opened.
    """
    with open_regular(path) if isinstance(path, Path) else path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size > LARGEST:
            raise UsageError(f"it has {size / 2**30:.1f} GB")
        file.seek(0)
        yield file

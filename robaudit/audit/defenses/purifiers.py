"""Makes the file of a purifier as a command asks for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.defenses.document import TrainedPurifier
from robaudit.audit.defenses.training import Progress, Training, train_purifier
from robaudit.audit.process.calling import in_child
from robaudit.audit.run.asking import read_files, request_of
from robaudit.audit.run.limits import confinement_of
from robaudit.errors import UsageError
from robaudit.files import PART, write_atomic
from robaudit.purifiers.registry import parse_recipe
from robaudit.target.files.sniff import model_format

__all__ = ["Making", "make_purifier"]


@dataclass(frozen=True)
class Making:
    """What is asked.

    Args:
        model: the file that is to be defended.
        given: settings as flags give them.
        recipe: of the purifier, as settings name it.
        samples: most to make it of.
        output: its file.
    """

    model: Path
    given: Mapping[str, Any]
    recipe: str
    samples: int
    output: Path


def make_purifier(asked: Making, heard: Callable[[Progress], None], said: Callable[[str], None]) -> TrainedPurifier:
    """Make the purifier and write its file.

    Args:
        asked: what to make.
        heard: told of progress.
        said: told of each line that the process with the model in it prints.

    Raises:
        UsageError: it is refused; nothing was written.
        AuditError: there was no time for it, or its training failed; nothing was written.
    """
    recipe = parse_recipe(asked.recipe)
    if model_format(asked.model) == "endpoint":
        raise UsageError("a purifier is trained for a model file, and an endpoint is none")
    resolved = resolve_settings(asked.given, os.environ, asked.model)
    if resolved.settings.defense is not None:
        resolved = replace(resolved, settings=replace(resolved.settings, defense=None))
    request = request_of(asked.model, resolved)
    _check(asked.output, recipe.suffix, read_files(request, resolved))
    content, told = in_child(
        train_purifier,
        Training(request, asked.recipe, asked.samples),
        confinement=confinement_of(request),
        about=asked.model,
        told=said,
        watched=True,
        heard=heard,
    )
    write_atomic(asked.output, content)
    return told


def _check(path: Path, suffix: str, read: list[tuple[str, Path | None]]) -> None:
    """Refuse a file that could not be written, or would replace one that is read.

    Raises:
        UsageError: see above.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(f"this purifier is written as a file {suffix}, not as {path.name!r}")
    if path.is_dir():
        raise UsageError(f"the purifier {str(path)!r} cannot be written there: it is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {str(path.parent)!r} of the purifier {path.name!r} does not exist")
    for what, source in read:
        if source is not None and source.exists() and path.exists() and path.samefile(source):
            raise UsageError(f"the purifier {str(path)!r} would replace {what}; name it otherwise")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PART):
            return
    except OSError as error:
        raise UsageError(f"the purifier {str(path)!r} cannot be written there: {error.strerror}") from error

"""The file that a replay asks, and what its input means: both as the audit left them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from robaudit.audit.result.document import Result
from robaudit.audit.result.sections.target import DefensePart
from robaudit.audit.run.rundir import model_of
from robaudit.data.ranges import Ranges
from robaudit.defenses.base import Defense
from robaudit.defenses.registry import fitted, make_defense
from robaudit.errors import AuditError, UsageError
from robaudit.files import held_to, sha256_file
from robaudit.target.files.onnx.external import digests, may_have_weights_elsewhere
from robaudit.target.inputs.meaning import InputMeaning

__all__ = ["AskedFile", "check_files", "find_model", "recorded_meaning"]


@dataclass(frozen=True)
class AskedFile:
    """The file to ask.

    Args:
        path, sha256: of it.
        weights: SHA-256 of the files that it keeps weights in, by its names for them.
        same: whether all of them are what the audit had.
    """

    path: Path
    sha256: str
    weights: dict[str, str]
    same: bool = False

    @property
    def files(self) -> dict[str, str | None]:
        """SHA-256 by full path."""
        weights = {os.path.abspath(self.path.parent / name): digest for name, digest in self.weights.items()}
        return {**weights, os.path.abspath(self.path): self.sha256}


def find_model(named: Path | None, folder: Path, result: Result) -> AskedFile:
    """The one that the user names, else the audited one where it is still found.

    Args:
        named: by the user, or None.
        folder: the run directory.
        result: of the audit.

    Raises:
        UsageError: there is no such file.
        AuditError: the audited one is not here, or was changed.
    """
    if named is not None:
        if not named.is_file():
            raise UsageError(f"there is no model {named}")
        asked = _looked_at(named, result)
        return replace(asked, same=asked.sha256 == result.target.sha256 and _changed_weights(asked, result) is None)
    kept = model_of(folder, result.run.id)
    known = [path for path in (Path(result.target.file), kept) if path is not None]
    found = [_looked_at(path, result) for path in known if path.is_file()]
    if not found:
        raise AuditError(f"the audited model {result.target.file} is not here; name it with --model FILE")
    changed: list[str] = []
    for asked in found:
        if asked.sha256 != result.target.sha256:
            changed.append(f"{asked.path} was changed since the audit (its SHA-256 differs)")
        elif (other := _changed_weights(asked, result)) is not None:
            changed.append(f"{other}, which {asked.path} keeps weights in, was changed since the audit or is not here")
        else:
            return replace(asked, same=True)
    raise AuditError(f"{changed[-1]}; --model {found[-1].path} replays the evidence on it all the same")


def _looked_at(path: Path, result: Result) -> AskedFile:
    asked = AskedFile(path, sha256_file(path), {})
    if not result.target.external and not may_have_weights_elsewhere(path):
        return asked
    with held_to(asked.files):
        return replace(asked, weights=digests(path))


def _changed_weights(asked: AskedFile, result: Result) -> str | None:
    """The first file of weights that is not what it was in the audit, or None."""
    before, now = result.target.external, asked.weights
    return next((name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)), None)


def recorded_meaning(result: Result, shape: tuple[int, ...], *, trust: bool = False) -> InputMeaning:
    """What the audit found that the input means, behind the defenses that it had.

    Args:
        result: of the audit.
        shape: of one sample in u-space.
        trust: see :meth:`robaudit.defenses.base.Defense.ready`.

    Raises:
        AuditError: the evidence has another size than the input, or the file of a defense is not what it was.
        UsageError: a defense needs what is not there.
    """
    spec = result.target.input
    batch, sizes = spec.shape[0], tuple(int(size) for size in spec.shape[1:] if isinstance(size, int))
    if math.prod(sizes) != math.prod(shape) or len(sizes) != len(spec.shape) - 1:
        words = ["x".join(map(str, extent)) for extent in (shape, spec.shape[1:])]
        raise AuditError(f"the evidence has samples of {words[0]}, and the model's input takes {words[1]}")
    ranges = None
    if spec.features:
        rows = spec.features
        ranges = Ranges(
            names=tuple(f.name for f in rows),
            low=tuple(f.low for f in rows),
            high=tuple(f.high for f in rows),
            immutable=tuple(f.immutable for f in rows),
            integer=tuple(f.integer for f in rows),
        )
    low, high = spec.domain or (0.0, 1.0)
    layouts: dict[str, Literal["nchw", "nhwc"]] = {"nchw": "nchw", "nhwc": "nhwc"}
    meaning = InputMeaning(
        name=spec.name,
        file_shape=sizes,
        shape=shape,
        kind="vector" if spec.channels is None else "image",
        layout=layouts.get((spec.layout or "").lower(), "none"),
        dtype=spec.dtype,
        batch=batch if isinstance(batch, int) else None,
        lo=low,
        hi=high,
        ranges=ranges,
        scale=1.0 if spec.scale is None else spec.scale,
        mean=spec.mean or (),
        std=spec.std or (),
        channels="bgr" if spec.channels == "bgr" else "rgb",
    )
    chain = () if result.defense is None else result.defense.chain
    return replace(meaning, defenses=tuple(fitted(_as_it_was(part), meaning, trust=trust) for part in chain))


def _as_it_was(part: DefensePart) -> Defense:
    """A defense of an audit, whose files have not changed since."""
    check_files(part, "defense")
    return make_defense(part.id, part.parameters)


def check_files(part: DefensePart, kind: str) -> None:
    """Check that the files of a defense, or a detector, are there and have not changed since the audit.

    Raises:
        AuditError: one is not, or has.
    """
    for name, sha256 in part.files.items():
        path = Path(str(part.parameters[name]))
        if not path.is_file():
            raise AuditError(f"the {name} of the {kind} {part.id}, {path}, is not here")
        if sha256_file(path) != sha256:
            raise AuditError(f"the {name} of the {kind} {part.id}, {path}, was changed since the audit")

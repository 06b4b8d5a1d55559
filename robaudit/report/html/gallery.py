"""The adversarial examples kept: as pictures, or as the features that changed."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from robaudit.audit.result.archive import Example, read_examples
from robaudit.audit.result.document import InputSpec, Result
from robaudit.audit.result.pictures import eight_bit_pair, is_picture, png
from robaudit.audit.verdict.phrases import NORM_SIGNS
from robaudit.errors import AuditError
from robaudit.report.html.classes import class_name
from robaudit.report.words import number, plain
from robaudit.threat.arrays import distance

__all__ = ["Gallery", "Shown", "gallery"]

MOST = 16
MOST_BYTES = 6_000_000
"""PNG bytes on a page; the first two examples are shown whatever they take."""
WIDEST = 320
"""Pixels; larger pictures are shown by every so many pixels."""
LISTED_FEATURES = 8
WHOLE = 1e-5


@dataclass(frozen=True)
class Picture:
    """A picture: its role, a data URI, its size, and what to say in its place."""

    role: str
    uri: Markup
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Change:
    """A feature before and after, in the file's units."""

    name: str
    before: str
    after: str
    share: str


@dataclass(frozen=True)
class Shown:
    """An example in words, with its pictures or its changed features."""

    sample: str
    label: str
    answer: str
    sought: str | None
    attack: str
    size: str
    factor: str | None
    pictures: tuple[Picture, ...] = ()
    changes: tuple[Change, ...] = ()
    unlisted: int = 0


@dataclass(frozen=True)
class Gallery:
    """The examples shown of all that were kept, or why there are none; ``every``: step between the pixels shown."""

    shown: tuple[Shown, ...] = ()
    kept: int = 0
    missing: str | None = None
    every: int = 1
    small: bool = False


def gallery(result: Result, folder: Path | None) -> Gallery:
    """The first examples of a result's evidence.

    Args:
        result: to show.
        folder: that the archive's path is relative to, or None.
    """
    kept = result.evidence.count
    if result.evidence.path is None or not kept:
        return Gallery(missing="No adversarial example was kept.")
    try:
        if folder is None:
            raise AuditError(f"the archive {result.evidence.path} is not beside the result")
        examples = read_examples(folder, result.evidence, MOST)
        if not examples:
            raise AuditError(f"the archive {result.evidence.path} holds none")
        if not all(np.isfinite(point).all() for e in examples for point in (e.original, e.adversarial)):
            raise AuditError(f"the archive {result.evidence.path} holds values that are no numbers")
    except AuditError as error:
        return Gallery(kept=kept, missing=f"{kept} adversarial examples were kept, and none is shown: {error}.")
    spec = result.target.input
    shown: list[Shown] = []
    taken = 0
    shape = examples[0].original.shape if examples else ()
    pictured = spec.channels is not None and is_picture(shape)
    every = max(1, math.ceil(max(shape[-2:]) / WIDEST)) if pictured else 1
    for example in examples:
        entry = _pictured(result, example, every) if pictured else _listed(result, example)
        taken += sum(len(picture.uri) * 3 // 4 for picture in entry.pictures)
        if taken > MOST_BYTES and len(shown) > 1:
            break
        shown.append(entry)
    return Gallery(tuple(shown), kept, every=every, small=pictured and max(shape[-2:]) <= WIDEST // 4)


def _words(result: Result, example: Example) -> dict[str, Any]:
    """The fields of every example."""
    name = class_name(result)
    ids = {sample.index: sample.id for sample in result.samples}
    before, after = (f" ({share:.1%})" for share in example.confidence) if example.confidence else ("", "")
    norms = {attack.id: attack.norm for attack in result.attacks}
    norm = norms.get(example.attack, result.threat_model.norm)
    return {
        "sample": plain(ids.get(example.index, f"sample {example.index}"), 120),
        "label": f"{name(example.label)}{before}",
        "answer": f"{name(example.prediction)}{after}",
        "sought": name(example.target) if example.target is not None else None,
        "attack": plain(example.attack, 60),
        "size": f"{NORM_SIGNS[norm]} distance {number(distance(norm, example.original, example.adversarial))}",
    }


def _pictured(result: Result, example: Example, every: int) -> Shown:
    words = _words(result, example)
    before, after = eight_bit_pair(example.original, example.adversarial)
    difference = np.moveaxis(example.adversarial.astype(np.float64) - example.original.astype(np.float64), 0, -1)
    factor = _factor(float(np.abs(difference).max(initial=0.0)))
    change = np.clip(np.rint((0.5 + factor * difference) * 255), 0, 255).astype(np.uint8)
    if change.shape[2] == 4:
        change[:, :, 3] = 255
    alts = (
        ("original", before, f"Original of {words['sample']}: {words['label']}."),
        ("perturbation", change, f"Perturbation, times {factor:g} around grey."),
        ("adversarial", after, f"Adversarial example, answered as {words['answer']}."),
    )
    pictures = tuple(_picture(role, levels[::every, ::every], alt) for role, levels, alt in alts)
    return Shown(**words, factor=f"× {factor:g}", pictures=pictures)


def _factor(largest: float) -> float:
    """Takes the largest change to half of the range, rounded down to two digits."""
    if largest <= 0:
        return 1.0
    exact = 0.5 / largest
    unit = 10.0 ** (math.floor(math.log10(exact)) - 1)
    return float(f"{math.floor(exact / unit + 1e-3) * unit:.6g}")


def _picture(role: str, levels: NDArray[np.uint8], alt: str) -> Picture:
    data = base64.b64encode(png(np.ascontiguousarray(levels))).decode("ascii")
    return Picture(role, Markup(f"data:image/png;base64,{data}"), levels.shape[1], levels.shape[0], alt)


def _listed(result: Result, example: Example) -> Shown:
    """The features that changed most, in the file's units."""
    spec = result.target.input
    before, after = (x.astype(np.float64).ravel() for x in (example.original, example.adversarial))
    size = np.abs(after - before)
    changed = [int(i) for i in np.argsort(-size, kind="stable") if size[i] > 0]
    rows = []
    for i in changed[:LISTED_FEATURES]:
        name, low, high, whole = _feature(spec, example.original.shape, i)
        first, second = (_value(low + x[i] * (high - low), whole=whole) for x in (before, after))
        rows.append(Change(name, first, second, f"{after[i] - before[i]:+.1%}"))
    words = _words(result, example)
    return Shown(**words, factor=None, changes=tuple(rows), unlisted=len(changed) - len(rows))


def _feature(spec: InputSpec, shape: tuple[int, ...], place: int) -> tuple[str, float, float, bool]:
    """Name, range, and whether it takes whole numbers."""
    if place < len(spec.features):
        feature = spec.features[place]
        return plain(feature.name, 60), feature.low, feature.high, feature.integer
    low, high = spec.domain or (0.0, 1.0)
    where = ", ".join(str(int(i)) for i in np.unravel_index(place, shape))
    return f"value [{where}]", low, high, False


def _value(value: float, *, whole: bool) -> str:
    return (
        f"{round(value)}" if whole and abs(value - round(value)) < WHOLE * max(1.0, abs(value)) * 10 else f"{value:.6g}"
    )

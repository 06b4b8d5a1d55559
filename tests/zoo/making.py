"""Trains the nets that a folder lacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

from .data import Data, write_test_images
from .entry import Entry, Making
from .export import as_onnx, as_torchscript
from .measuring import figures

__all__ = ["files", "fill", "is_made"]


def files(entry: Entry, seed: int, cache: Path) -> tuple[list[Path], Path]:
    """Model files of a net, the one to audit first, and its figures."""
    stem = f"{entry.name}-{seed}"
    models = [cache / f"{stem}.pt"] * entry.random + [cache / f"{stem}.onnx"]
    return models, cache / f"{stem}.json"


def is_made(entry: Entry, seed: int, cache: Path, trained: dict[str, object]) -> bool:
    """Whether the folder has this version of the net, trained in this way."""
    models, record = files(entry, seed, cache)
    if not all(path.is_file() for path in [*models, record]):
        return False
    found = json.loads(record.read_text())
    return found["version"] == entry.version and found["trained"] == trained


def fill(
    entries: Iterable[Entry],
    seeds: Iterable[int],
    data: Data,
    cache: Path,
    *,
    effort: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Train, export and measure what the folder lacks; seed by seed.

    Args:
        entries: which nets.
        seeds: of which each gives one net of every kind.
        data: training and test images.
        cache: folder of the files NAME-SEED.onnx or .pt, NAME-SEED.json, and test.npz.
        effort: factor on the numbers of epochs.
        say: told of each net.
    """
    cache.mkdir(parents=True, exist_ok=True)
    write_test_images(data, cache / "test.npz")
    trained: dict[str, object] = {"images": len(data.x), "effort": effort}
    entries = list(entries)
    for seed in seeds:
        making = Making(data, seed, effort)
        for entry in entries:
            if is_made(entry, seed, cache, trained):
                say(f"{entry.name}-{seed}: there already")
                continue
            start = time.perf_counter()
            net = making.net(entry)
            seconds = time.perf_counter() - start
            models, record = files(entry, seed, cache)
            record.unlink(missing_ok=True)  # written last: what is half made is made again
            found = figures(entry, net, data)
            for path in models:
                (as_onnx if path.suffix == ".onnx" else as_torchscript)(entry, net, data.test_x, path)
            record.write_text(json.dumps(described(entry, seed, trained) | found | {"seconds": round(seconds, 1)}))
            say(f"{entry.name}-{seed}: {found}, {seconds:.0f} s")


def described(entry: Entry, seed: int, trained: dict[str, object]) -> dict[str, object]:
    """What the record says of the net beside its figures."""
    kept = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name != "make"}
    return kept | {"seed": seed, "trained": trained}

"""A commented ``robaudit.yaml`` for a model, from what ``inspect`` found: what was assumed is left to be confirmed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from robaudit import __version__
from robaudit.audit.inspection.document import Inspection
from robaudit.report.words import plain

__all__ = ["starter"]

NEUTRAL = {"mean": [0.0], "std": [1.0]}
"""What no normalisation means."""


def starter(found: Inspection, stated: Mapping[str, Any], model: str) -> str:
    """The file's text.

    Args:
        found: about the model.
        stated: settings to write as they are, by key, such as data and profile; None is left open.
        model: name of the file, for the first line.
    """
    return "\n".join([*_head(model), "", *_data(stated), "", *_input(found, stated), "", *_audit(stated), ""])


def _head(model: str) -> Iterator[str]:
    yield f"# Settings for auditing {plain(model, 80)}, written by robaudit init {__version__}."
    yield "# Flags and ROBAUDIT_* variables override them; paths are relative to this file."
    yield "# robaudit explain tells what attacks and checks are; robaudit profile list shows profiles."


def _data(stated: Mapping[str, Any]) -> Iterator[str]:
    yield "# Samples: a folder with a subfolder a class, a table (.csv), or an .npz file with x and y."
    if stated.get("data") is None:
        yield "# Without labelled data, bundled images tell how stable the answers are, and no accuracy."
        yield "# data: path/to/data"
    for name in ("data", "labels", "label-column", "feature-ranges", "classes", "decision", "fresh-state"):
        if stated.get(name) is not None:
            yield _entry(name, stated[name])
    yield f"{_entry('clean-accuracy', 0.9, 'what you expect, for a check to compare', open=True)}"


def _input(found: Inspection, stated: Mapping[str, Any]) -> Iterator[str]:
    meaning = found.meaning
    values: dict[str, Any] = {"layout": meaning.layout, "channels": meaning.channels}
    values |= {"domain": None if meaning.domain is None else list(meaning.domain), "scale": meaning.scale}
    values |= {"mean": list(meaning.mean) or NEUTRAL["mean"], "std": list(meaning.std) or NEUTRAL["std"]}
    yield "# What the input means: file input = (x * scale - mean) / std, with x in the domain."
    if meaning.assumed:
        yield "# Lines that begin with # were found nowhere and assumed: correct them, and take the # away."
        yield "# No gate on the model passes before."
    lines, stands = [], False
    for name, value in values.items():
        if value is None:
            continue
        origin = meaning.provenance.get(name, "assumed")
        assumed = origin.startswith("assumed")
        stands |= not assumed
        lines.append("  " + _entry(name, value, origin, open=assumed))
    if stated.get("resize") is not None:
        stands = True
        lines.append("  " + _entry("resize", stated["resize"], "the file leaves its size free"))
    fixed = {entry.name: entry.value for entry in found.inputs if entry.role == "fixed"}
    if fixed:
        stands = True
        lines += [
            "  fixed:",
            *(f"    {_entry(name, value, 'an input that is not attacked')}" for name, value in fixed.items()),
        ]
    yield "input:" if stands else "# input:  # take this # away too"
    yield from lines
    several = [entry.name for entry in found.inputs]
    if len(several) > 1:
        attacked = next(entry.name for entry in found.inputs if entry.role == "attacked")
        yield _entry("input-name", attacked, "the attacked input")
    chosen = [output for output in found.outputs if output.chosen]
    if len(found.outputs) > 1 and chosen:
        yield _entry("output-name", chosen[0].name, chosen[0].reason or "")


def _audit(stated: Mapping[str, Any]) -> Iterator[str]:
    yield _entry("profile", stated.get("profile") or "auto", "auto, quick, ci, standard, thorough, ... or a YAML file")
    yield "# norm: linf"
    yield "# eps: 8/255                      # a fraction of the domain's width"
    yield "# samples: 200"
    yield "# seed: 0"
    yield ""
    yield "# Gates decide the exit code: 1 where one fails, 4 where too few samples leave one open."
    yield "# gates:"
    yield "#   - {metric: robust_accuracy, min: 0.3}"
    yield "#   - {metric: coverage, min: 1}   # every attack of the profile ran to its end"
    yield "#   - {metric: validity}           # no check of the audit itself failed"
    yield ""
    yield "# output: [report.html, report.json, report.sarif]"


def _entry(name: str, value: Any, comment: str = "", *, open: bool = False) -> str:
    """A key on one line; ``open``: commented out."""
    text = yaml.safe_dump({name: value}, default_flow_style=True, width=float("inf"), allow_unicode=False)
    line = text.strip()[1:-1]
    return ("# " if open else "") + line + (f"  # {plain(comment, 200)}" if comment else "")

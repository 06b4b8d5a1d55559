"""The range of each feature of a table: as declared, for those that nobody declares as the data show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.config.request import AuditRequest
from robaudit.data.ranges import Ranges, observed_ranges, read_ranges
from robaudit.data.reader import Source
from robaudit.data.table import Table
from robaudit.errors import UsageError
from robaudit.target.inputs.meaning import ASSUMED, DEFAULT_WITH
from robaudit.target.inputs.spec import InputSpec

__all__ = ["check_free", "feature_ranges", "ranged"]


def feature_ranges(request: AuditRequest, source: Source | None, table: Table | None, spec: InputSpec) -> Ranges | None:
    """Of each feature: as declared, else as observed, unless one domain for all was declared; ``table``: the source's
    rows, with the columns that the model takes."""
    if request.feature_ranges is not None:
        if "domain" in request.input_values:
            raise UsageError("--domain gives one range to all features and --feature-ranges each its own; give one")
        if spec.kind != "vector" or source is None:
            raise UsageError("--feature-ranges is for tables; give --data FILE.csv")
        if not source.ranged:
            raise UsageError(f"--feature-ranges is for tables, and {request.data} is none")
        ranges = read_ranges(request.feature_ranges)
        if table is None and len(ranges) == math.prod(spec.shape):
            return _whole(ranges, spec)  # arrays have no names: in the order of the file
        names, values, where = _columns(request, source, table, ranges)
        return _whole(ranges.ordered(names, where, observed_ranges(names, values, where)), spec)
    declared = not spec.provenance.get("domain", ASSUMED).startswith((ASSUMED, DEFAULT_WITH))
    if table is None or spec.kind != "vector" or declared:
        return None
    return _whole(observed_ranges(table.names, table.values, str(table.path)), spec)


def _columns(
    request: AuditRequest, source: Source, table: Table | None, ranges: Ranges
) -> tuple[Sequence[str], NDArray[np.float64], str]:
    """Names and values [N, F] of the features, and where they are; those of arrays are called by their places from 0.

    Raises:
        UsageError: ranges for a part of an array's features do not say which.
    """
    if table is not None:
        return table.names, table.values, str(table.path)
    x = np.zeros((0, 0)) if source.values is None else source.values
    names = tuple(map(str, range(x.shape[1] if x.ndim == 2 else 0)))
    if not set(ranges.names) <= set(names):
        raise UsageError(
            f"{request.feature_ranges} has {len(ranges)} ranges, and {request.data} holds samples of "
            f"{'x'.join(map(str, x.shape[1:]))} features without names; give a range to every feature in order, or "
            "name some by their places from 0, or give a CSV"
        )
    return names, x.astype(np.float64), str(request.data)


def _whole(ranges: Ranges, spec: InputSpec) -> Ranges:
    """In a file that takes whole numbers every feature is one."""
    return replace(ranges, integer=(True,) * len(ranges)) if spec.integer else ranges


def ranged(request: AuditRequest, spec: InputSpec, ranges: Ranges | None) -> InputSpec:
    """The spec with the ranges; as it was where the shapes do not fit, which opening the data says in words."""
    if ranges is None or spec.shape != (len(ranges),):
        return spec
    if ranges.observed:
        return spec.with_ranges(ranges, f"{ASSUMED}: lowest and highest of the data")
    origin = request.sources.get("feature_ranges", "flag --feature-ranges")
    if ranges.guessed:
        origin = f"{ASSUMED}: lowest and highest of the data for {', '.join(ranges.guessed)}; the others: {origin}"
    return spec.with_ranges(ranges, origin)


def check_free(spec: InputSpec) -> None:
    """Refuse features of which none can change, where every model would stand.

    Raises:
        UsageError: there is nothing to attack.
    """
    if spec.ranges is None or len(spec.fixed) < len(spec.ranges):
        return
    if spec.ranges.observed:
        raise UsageError(
            "each feature has one value throughout the data, from which the ranges are taken, so that there is nothing "
            "to attack; give --feature-ranges"
        )
    raise UsageError("the feature ranges leave nothing to attack: every feature is immutable, or low equals high")

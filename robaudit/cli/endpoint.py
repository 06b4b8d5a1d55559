"""A model that is named by a file or an address, and what it may cost where it is an endpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robaudit.audit.config.resolve import Resolved

__all__ = ["named_model", "with_cap"]


def named_model(model: Path | None, endpoint: Path | None) -> Path:
    """The file that was named; of an address the file that describes it.

    Raises:
        UsageError: none was named, or two were.
    """
    from robaudit.errors import UsageError
    from robaudit.target.files.remote.address import model_path
    from robaudit.target.files.remote.endpoint import is_endpoint

    if model is not None and endpoint is not None:
        raise UsageError("give a model file or address, or --endpoint FILE, and not both")
    if endpoint is not None and not is_endpoint(endpoint):
        raise UsageError(f"--endpoint takes a YAML file, whose name ends with .yaml, not {endpoint}")
    found = model if endpoint is None else endpoint
    if found is None:
        raise UsageError("no model was given; give its file or https:// address, or --endpoint FILE")
    return model_path(found)


def with_cap(resolved: Resolved, model: Path) -> Resolved:
    """With the most that it may cost; where the endpoint has a price and no flag says that, a terminal is asked.

    Raises:
        UsageError: the endpoint's file cannot be used.
    """
    import dataclasses

    import typer

    from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint

    price = read_endpoint(model).price if is_endpoint(model) else None
    if price is None or resolved.settings.max_cost is not None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return resolved
    typer.echo(f"{model} charges {price.amount:g} {price.currency} a {price.per}.", err=True)
    most = 0.0
    while not (0 < most < float("inf")):  # nor NaN
        most = typer.prompt(f"The most that this may cost, in {price.currency}", type=float, err=True)
    return dataclasses.replace(resolved, settings=dataclasses.replace(resolved.settings, max_cost=most))

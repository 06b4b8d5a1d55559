"""Whose signature a result must bear, as a flag, a variable or ``robaudit.yaml`` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from robaudit.audit.config.declaring import SIGNED

if TYPE_CHECKING:
    from robaudit.audit.stored.signing import Trusted

__all__ = ["Verify", "trusted"]

Verify: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--verify",
        help=SIGNED,
    ),
]


def trusted(flag: str | Path | None) -> Trusted | None:
    """The keys that results must be signed with: see :func:`robaudit.audit.stored.trust.trusted`."""
    from robaudit.audit.stored import trust

    return trust.trusted(None if flag is None else Path(flag))

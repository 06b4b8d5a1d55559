"""The flag of every command that loads a model: whether it is kept in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from robaudit.audit.process.sandbox import Mode

__all__ = ["FLAG", "HELP", "Sandbox", "sandbox_mode"]

FLAG = "--sandbox/--no-sandbox"
HELP = (
    "Run the model without network and without write access outside of the run directory (Linux). Default: where the "
    "system can do it, unless --trust-model; --sandbox: refuse where it cannot."
)
Sandbox: TypeAlias = Annotated[
    bool | None, typer.Option(FLAG, help="As in scan; nothing can be written at all.", show_default=False)
]


def sandbox_mode(asked: bool | None, *, trust_model: bool) -> Mode:
    """What the flags ask for; a line on stderr where the default cannot be had.

    Args:
        asked: --sandbox, --no-sandbox, or neither.
        trust_model: the user vouches for the file.
    """
    from robaudit.audit.process.sandbox import missing
    from robaudit.cli.output import say

    if asked is not None:
        return "required" if asked else "off"
    if trust_model:
        return "off"
    if (reason := missing()) is not None:
        say(
            f"robaudit: warning: {reason}; the model is loaded without a sandbox, where it could write files and use "
            "the network (--no-sandbox: say no more of it)"
        )
    return "offered"

"""What commands that load a model say of the sandbox that it is kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robaudit.audit.config.settings import Settings

__all__ = ["warn_unconfined"]


def warn_unconfined(settings: Settings) -> None:
    """A line on stderr where the default, a sandbox, cannot be had."""
    from robaudit.audit.process.sandbox import missing, mode_of
    from robaudit.cli.output import say

    offered = mode_of(settings.sandbox, trust_model=settings.trust_model) == "offered"
    if offered and (reason := missing()) is not None:
        say(
            f"robaudit: warning: {reason}; the model is loaded without a sandbox, where it could write files and use "
            "the network (--no-sandbox: say no more of it)"
        )

"""robaudit: how easily is this model file fooled, and can the answer be trusted?

From Python: :func:`audit`, :func:`load_result`, :func:`render`, and the errors that they raise (docs/python-api.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robaudit.api import audit as audit
    from robaudit.api import load_result as load_result
    from robaudit.api import render as render
    from robaudit.audit.result.document import Result as Result
    from robaudit.errors import AuditError as AuditError
    from robaudit.errors import AuditInterrupted as AuditInterrupted
    from robaudit.errors import RobauditError as RobauditError
    from robaudit.errors import UsageError as UsageError

__all__ = [
    "METHODS",
    "AuditError",
    "AuditInterrupted",
    "Result",
    "RobauditError",
    "UsageError",
    "__version__",
    "audit",
    "load_result",
    "render",
]

__version__ = "0.1.0"

METHODS = 5
"""Version of what an audit does: which samples it draws, how attacks search, what the judge accepts. Raise it with a
change after which the same audit may come out differently: audits with another number are not compared."""

_PLACES = {
    "load_result": "robaudit.api",
    "render": "robaudit.api",
    "Result": "robaudit.audit.result.document",
    **dict.fromkeys(("AuditError", "AuditInterrupted", "RobauditError", "UsageError"), "robaudit.errors"),
}


def __getattr__(name: str) -> Any:
    """Names of the interface are imported when they are used, so that ``import robaudit`` takes no time."""
    if name == "audit":  # a package that can be called
        return importlib.import_module("robaudit.audit")
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

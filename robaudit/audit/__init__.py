"""An audit end to end, in rooms: configuration, plan, session, outcome, verdict, result.

The package can be called: ``robaudit.audit(model, data)`` is :func:`robaudit.api.audit`. It is called through a class,
and not replaced by the function, so that it stays a package too.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package, as a function of the layer above, which is imported when it is called."""

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(importlib.import_module("robaudit.api").audit)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return importlib.import_module("robaudit.api").audit(*arguments, **settings)


sys.modules[__name__].__class__ = _Callable

"""Reading what attacks and checks declare where PyTorch is not installed, as in a pre-commit hook.

Profiles are checked against the parameters that each attack declares in the file that holds its mathematics too. Where
nothing will be computed, importing that file needs names that PyTorch would define, and none of what they do: they are
stood in for, as documentation builders do for packages that they lack.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["without_torch"]

ABSENT = "torch"


class _Name(type):
    """A name of the absent package: may be subclassed, annotated with, and looked into; calls give an instance."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Stand


class _Stand(metaclass=_Name):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __class_getitem__(cls, item: Any) -> type[_Stand]:
        return cls


class _Module(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Stand


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == ABSENT else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def without_torch() -> bool:
    """Let declarations be imported where PyTorch is not installed; whether it is not.

    For commands that compute nothing: what they import cannot be used for more afterwards.
    """
    if ABSENT in sys.modules or importlib.util.find_spec(ABSENT) is not None:
        return any(isinstance(finder, _Finder) for finder in sys.meta_path)
    sys.meta_path.append(_Finder())
    return True

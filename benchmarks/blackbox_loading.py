"""Loads the code of others from a folder of checkouts, as it is; nothing of it is part of this project."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.util
import io
import os
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["checkout", "definitions", "quiet", "script"]

UNUSED = {
    "tensorflow": ("float32",),
    "torchvision": ("transforms", "models", "datasets"),
    "torchvision.transforms": ("Compose", "Resize", "CenterCrop", "ToTensor"),
    "qpsolvers": ("solve_qp",),
}
"""What they import and the attacks make no use of: nothing stands in for it where it is not installed."""
MISSING = {
    name: own for name, own in UNUSED.items() if importlib.util.find_spec(name.split(".", maxsplit=1)[0]) is None
}
CLASHING = ("utils", "attacks", "attack", "models", "data")
"""Names that several of them give to modules of their own."""


def checkout(name: str) -> Path:
    """The folder of a repository.

    Raises:
        FileNotFoundError: it is not there.
    """
    folder = Path(os.environ.get("BLACKBOX_PEERS", "peers")) / name
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkout of {name} in {folder.parent} (--peers)")
    return folder


class _Anything(types.ModuleType):
    """An empty module whose members do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **options: None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Imports come from a folder first, and names that clash are forgotten afterwards."""
    for name, members in MISSING.items():
        if name not in sys.modules:
            sys.modules[name] = _Anything(name)
            vars(sys.modules[name]).update({member: _Anything(f"{name}.{member}") for member in members})

    def clashing() -> dict[str, types.ModuleType]:
        return {n: m for n, m in sys.modules.items() if n.split(".", maxsplit=1)[0] in CLASHING}

    before = clashing()
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in clashing():
            del sys.modules[name]
        sys.modules.update(before)


@functools.cache
def script(name: str, file: str, root: str = ".") -> Any:
    """A module of a checkout; its own imports are looked up from ``root`` in it."""
    folder = checkout(name)
    _on_the_cpu()
    with _alone(folder / root):
        spec = importlib.util.spec_from_file_location(f"peer_{name.replace('-', '_')}_{Path(file).stem}", folder / file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


class _Python2(ast.NodeTransformer):
    """Whole numbers are divided as Python 2 does it."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        return ast.copy_location(ast.Call(ast.Name("_divided", ast.Load()), [node.left, node.right], []), node)


def _divided(above: Any, below: Any) -> Any:
    whole = all(np.issubdtype(np.asarray(value).dtype, np.integer) for value in (above, below))
    return above // below if whole else above / below


def definitions(name: str, file: str, python2: bool = False, **given: Any) -> types.SimpleNamespace:
    """The functions and classes of a script that cannot be imported, as it does its work at once.

    Args:
        name: of the checkout.
        file: in it.
        python2: whether it is written for Python 2.
        given: what the functions find in the place of the script's own imports and global names.
    """
    _on_the_cpu()
    text = (checkout(name) / file).read_text()
    tree = ast.parse(re.sub(r"(?m)^(\s*)print (?!\()(.*)$", r"\1print(\2)", text) if python2 else text)
    kept = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    space = {"np": np, "torch": torch, "ch": torch, "_divided": _divided, **given}
    module = ast.Module(kept, [])
    if python2:
        module = ast.fix_missing_locations(_Python2().visit(module))
    exec(compile(module, file, "exec"), space)
    return types.SimpleNamespace(**space)


def _on_the_cpu() -> None:
    """Their ``.cuda()`` leaves tensors where they are."""
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda self, *args, **options: self  # type: ignore[assignment,method-assign]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what they print."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield

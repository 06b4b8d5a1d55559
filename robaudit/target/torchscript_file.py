"""Opens a TorchScript archive whose code has been scanned."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import torch

from robaudit.errors import UsageError
from robaudit.target.foreign import of_zip
from robaudit.target.script_graph import operator_kinds
from robaudit.target.script_module import TorchScriptFile, last_line
from robaudit.target.training import script_training

__all__ = ["open_torchscript"]

ALLOWED = {"aten", "prim", "quantized", "torchvision"}
FORBIDDEN = ("from_file", "torch.save", "torch.load", "ops.prims", "open(")
OPERATOR = re.compile(r"(?<![\w.])ops\.([A-Za-z_]\w*)\.")
"""Not ``__torch__.torchvision.ops.misc``, which is a class."""
TOUCHES_FILES = {"aten::save", "aten::from_file"}
CLASSES = {"quantized", "xnnpack", "mkldnn"}
"""Of compiled classes that archives hold: packed weights. Others may be handles to anything."""
CLASS = re.compile(r"torch\.classes\.([A-Za-z_]\w*)")
HIDES = re.compile(r"save|getattr|\\|[^\n\x20-\x7e]|(?<![\w.])(?:torch|ops)(?!\.[A-Za-z_])|(?<![\w.])ops\.\w+(?!\.)\b")
"""How a text could call an operator that it does not name in full."""


def open_torchscript(path: Path, device: torch.device, *, trust: bool) -> TorchScriptFile:
    """Load a TorchScript archive whose code has been scanned.

    Raises:
        UsageError: it is no TorchScript archive, or its code is not known to be harmless and not trusted.
    """
    _check_archive(path, trust=trust)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if not trust:
                _check_operators(path)
            module = _loaded(path, device)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded as TorchScript: {last_line(error)}") from error
    return TorchScriptFile(path, module, device, reload=lambda: _loaded(path, device))


def _loaded(path: Path, device: torch.device) -> Any:
    """The module as a deployment that loads the file has it.

    Evaluation mode is switched on only where it changes no answer, so that the module can be frozen.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    if not script_training(module):
        module.eval()
    _move_constants(module, device)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _move_constants(module: torch.jit.ScriptModule, device: torch.device) -> None:
    """Devices that a trace wrote into its graph: those of another machine become this one's."""
    for part in module.modules():
        held: Any = getattr(part, "_c", None)
        for name in held._method_names() if held is not None else ():
            for node in held._get_method(name).graph.findAllNodes("prim::Constant"):
                if node.output().type().kind() == "DeviceObjType" and node.hasAttribute("value"):
                    kind = torch.device(node.s("value")).type
                    if kind not in ("cpu", device.type):
                        node.s_("value", str(device))


def _check_archive(path: Path, *, trust: bool) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            folded = [name.lower() for name in names]  # PyTorch finds entries whatever their case
            code = [n for n, low in zip(names, folded, strict=True) if "code/" in low and low.endswith(".py")]
            if not code:
                _refuse(path, names)
            if trust:
                return
            if len(set(folded)) != len(folded):
                raise UsageError(f"{path} holds two entries of the same name, which no exporter writes; refused")
            texts = [archive.read(name).decode("utf-8", "replace") for name in code]
            for text in texts:
                _scan(path, text)
            if any("__setstate__" in text for text in texts) and any(HIDES.search(text) for text in texts):
                _refuse_word(path, "__setstate__")
            for name in names:
                if name.lower().endswith(".pkl"):
                    _scan_classes(path, archive.read(name).decode("latin-1"))
    except UsageError:
        raise
    except Exception as error:  # a damaged archive may break zipfile or its decompressors anywhere
        raise UsageError(f"{path} is a damaged zip archive ({last_line(error)}); export the model again") from error


def _refuse(path: Path, names: list[str]) -> NoReturn:
    raise UsageError(f"{path} is {of_zip(names)}")


def _scan(path: Path, text: str) -> None:
    """Refuse code that can touch files at load, or call operators of unknown libraries."""
    for word in FORBIDDEN:
        if word in text:
            _refuse_word(path, word.rstrip("("))
    _scan_classes(path, text)
    for namespace in OPERATOR.findall(text):
        if namespace not in ALLOWED:
            _refuse_namespace(path, namespace)


def _scan_classes(path: Path, text: str) -> None:
    for namespace in CLASS.findall(text):
        if namespace not in CLASSES:
            _refuse_namespace(path, f"torch.classes.{namespace}")


def _refuse_word(path: Path, word: str) -> NoReturn:
    raise UsageError(
        f"{path} holds code that uses {word}, which can read or change files when it is loaded; give --trust-model if "
        "you trust its author"
    )


def _refuse_namespace(path: Path, namespace: str) -> NoReturn:
    raise UsageError(
        f"{path} calls operators of {namespace!r}, which robaudit does not know; give --trust-model if you "
        "trust its author"
    )


def _check_operators(path: Path) -> None:
    """Look at the compiled code itself: text can hide what it calls, as in ``t = torch`` and ``t.save``.

    What loading runs, ``__setstate__``, is known by now to name in full all that it calls.
    """
    unit: Any = torch._C.CompilationUnit()
    load: Any = torch._C.import_ir_module
    load(unit, str(path), torch.device("cpu"), {}, False)
    functions = unit.get_functions()
    if not functions:
        raise UsageError(f"{path} holds no code that can be inspected; export the model again")
    for kind in sorted({kind for function in functions for kind in operator_kinds(function.graph)}):
        if kind in TOUCHES_FILES:
            raise UsageError(
                f"{path} calls {kind}, which can read or change files; give --trust-model if you trust its author"
            )
        if (namespace := kind.partition("::")[0]) not in ALLOWED:
            _refuse_namespace(path, namespace)

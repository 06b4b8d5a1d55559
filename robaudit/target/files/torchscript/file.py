"""Opens a TorchScript archive whose code has been scanned."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import torch

from robaudit.errors import RobauditError, UsageError
from robaudit.memory import afford
from robaudit.target.files.foreign import of_zip
from robaudit.target.files.held import HeldFile
from robaudit.target.files.torchscript.code import CodeError, check_code
from robaudit.target.files.torchscript.failures import last_line
from robaudit.target.files.torchscript.graph import operator_kinds
from robaudit.target.files.torchscript.module import TorchScriptFile
from robaudit.target.files.torchscript.operators import is_allowed
from robaudit.target.files.torchscript.pickle import check_structure
from robaudit.target.files.torchscript.types import Types, check_objects
from robaudit.target.files.torchscript.uses import doubtful_at_load, doubtful_use
from robaudit.target.files.torchscript.zip import plain_archive, version_words
from robaudit.target.outputs.training import script_training

__all__ = ["open_torchscript"]


def open_torchscript(path: Path, device: torch.device, *, trust: bool, confined: bool = True) -> TorchScriptFile:
    """Load a TorchScript archive whose code has been looked at; ``trust``, ``confined``: see ``open_target``.

    Raises:
        UsageError: it is no TorchScript archive, or its code is not known to be harmless and not trusted.
    """
    held = HeldFile(path)

    def load() -> Any:
        with held.unchanged():
            return _loaded(held, device, trust=trust, confined=confined)

    try:
        with held.unchanged():
            _check_kind(held)
            if not trust:
                _check_records(held)
        module = load()
    except RobauditError:
        raise
    except Exception as error:
        raise UsageError(
            f"{path} {version_words(str(error)) or f'cannot be loaded as TorchScript: {_why(held.words(error))}'}"
        ) from error
    if not module._c._has_method("forward"):
        raise UsageError(f"{path} holds a module without a forward function; export the whole classifier")
    return TorchScriptFile(held, module, device, reload=load)


def _why(text: str) -> str:
    """The last line of an error, where TorchScript says what is wrong, without its advice."""
    return last_line(text).partition(". This is an internal miniz error")[0]


def _loaded(held: HeldFile, device: torch.device, *, trust: bool, confined: bool) -> Any:
    """The module as a deployment that loads the file has it.

    Evaluation mode is switched on only where it changes no answer, so that the module can be frozen.
    """
    unit: Any = torch._C.CompilationUnit()
    load: Any = torch._C.import_ir_module
    wrap: Any = torch.jit._recursive.wrap_cpp_module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module: Any = wrap(load(unit, held.loadable, device, {}, False))
    if not trust:
        _check_compiled(held.path, unit, module, confined=confined)
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


def _check_kind(held: HeldFile) -> None:
    """Refuse a zip archive that holds no code, or more than memory does; what exactly it holds is looked at later."""
    path = held.path
    try:
        with zipfile.ZipFile(held.file) as archive:
            names, size = archive.namelist(), sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # a damaged archive may break zipfile anywhere
        raise UsageError(f"{path} is a damaged zip archive ({last_line(error)}); export the model again") from error
    if not any("code/" in name.lower() and name.lower().endswith(".py") for name in names):
        raise UsageError(f"{path} is {of_zip(names)}")
    afford(size, f"what {path} holds, unpacked,")


def _check_records(held: HeldFile) -> None:
    """Look at code and structure as PyTorch will read them, before anything of them is run.

    Raises:
        UsageError: they may do more than compute.
    """
    path = held.path
    records = plain_archive(held)
    try:
        trees = check_code({_module(name): records.read(name) for name in records.entries if _is_code(name)})
        early = doubtful_at_load(trees)
        if early is not None:
            raise CodeError(f"may call {early} while it is loaded")
        types = Types(trees)
        sizes = {name: entry.size for name, entry in records.entries.items()}
        for name in records.entries:
            if name.lower() == "model.json":
                raise CodeError("is of the format of PyTorch before 1.4")
            if name.lower().endswith("pkl") and name.lower() != "traced_inputs.pkl":  # which is not loaded
                check_objects(check_structure(name, records.read(name), sizes, types), types)
    except CodeError as error:
        _refuse(path, str(error))
    except RecursionError:
        _refuse(path, "nests its code or values too deeply")


def _is_code(name: str) -> bool:
    return name.lower().startswith("code/") and name.lower().endswith(".py")


def _module(name: str) -> str:
    """The module that a record of code defines, as PyTorch finds it."""
    return name[len("code/") : -len(".py")].replace("/", ".")


def _refuse(path: Path, what: str) -> NoReturn:
    raise UsageError(
        f"{path} {what}; robaudit does not know it to be harmless when the file is loaded and run; give --trust-model "
        "if you trust its author"
    )


def _check_compiled(path: Path, unit: Any, module: Any, *, confined: bool) -> None:
    """Look at what PyTorch made of the code: a second look, by other means."""
    functions = unit.get_functions()
    if not functions:
        raise UsageError(f"{path} holds no code that can be inspected; export the model again")
    for function in functions:
        for kind in sorted(set(operator_kinds(function.graph))):
            if not is_allowed(kind, function.name, compiled=True):
                _refuse(path, f"calls {kind}")
    doubtful = doubtful_use((function.graph for function in functions), module, confined=confined)
    if doubtful is not None:
        _refuse(path, f"calls {doubtful}")

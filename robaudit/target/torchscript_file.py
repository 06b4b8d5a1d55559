"""A TorchScript archive: it is both the judge and what is differentiated."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from robaudit.errors import RobauditError, UsageError
from robaudit.target.head import FileOutput

__all__ = ["TorchScriptFile", "open_torchscript"]

ALLOWED = {"aten", "prim", "quantized", "torchvision"}
FORBIDDEN = ("from_file", "__setstate__", "torch.save", "torch.load", "ops.prims", "open(")
OPERATOR = re.compile(r"(?<![\w.])ops\.([A-Za-z_]\w*)\.")
"""Not ``__torch__.torchvision.ops.misc``, which is a class."""
TOUCHES_FILES = {"aten::save", "aten::from_file"}


class TorchScriptFile:
    """Runs a TorchScript module.

    Args:
        path: of the archive.
        module: loaded, in evaluation mode.
        device: that it runs on.
    """

    format = "torchscript"
    unbounded = False

    def __init__(self, path: Path, module: torch.jit.ScriptModule, device: torch.device) -> None:
        self.path = path
        self.module = module
        self.device = device
        self.metadata: dict[str, str] = {}
        self.no_gradient: str | None = None
        self.weights = _weights(module)
        floats = (w.dtype for w in self.weights if w.dtype.is_floating_point)
        self.dtype = next(floats, torch.float32)

    @property
    def first_channels(self) -> int | None:
        """Input channels of the first convolution; None where none is found."""
        return next((int(w.shape[1]) for w in self.weights if w.dim() == 4), None)

    def probe(self, x: Tensor) -> FileOutput:
        """Try an input and describe the output.

        Raises:
            UsageError: the module refuses it, or returns no tensor.
        """
        try:
            with torch.no_grad():
                result = self.module(x.to(self.device, self.dtype))
        except Exception as error:
            shape = "x".join(map(str, x.shape[1:]))
            raise UsageError(
                f"{self.path} does not take an input of {shape}: {_last_line(error)}; give the right size with "
                "--resize or --data"
            ) from error
        if not isinstance(result, Tensor):
            raise UsageError(f"{self.path} returns {type(result).__name__}, not one tensor of class scores")
        return FileOutput("output", (None, *result.shape[1:]), str(result.dtype).removeprefix("torch."))

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        kinds: dict[str, int] = {}
        for node in self.module.inlined_graph.nodes():
            kinds[node.kind()] = kinds.get(node.kind(), 0) + 1
        return {"operators": kinds, "judge": f"torch {torch.__version__}, {self.device}"}

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """The output at file precision, without gradient.

        Args:
            x: [N, *file_shape] in the file's units.
            width: rows of one call, each of which holds one input repeated; None: all inputs in one call.

        Returns:
            [N, ...], half precision widened to float32.

        Raises:
            RobauditError: the module refuses the input, or does not return one row an input.
        """
        with torch.no_grad():
            return self._batches(x, width)

    def differentiable(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """The same with a gradient."""
        return self._batches(x, width)

    def _batches(self, x: Tensor, width: int | None) -> Tensor:
        if width is None:
            return self._call(x)
        rows = (x[i : i + 1].expand(width, *x.shape[1:]) for i in range(len(x)))
        return torch.cat([self._call(row)[:1] for row in rows])

    def _call(self, x: Tensor) -> Tensor:
        try:
            result: Tensor = self.module(x.to(self.dtype))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # the CPU's allocator has no type for it
                raise torch.OutOfMemoryError(str(error)) from error
            raise RobauditError(f"the TorchScript module fails on the input: {_last_line(error)}") from error
        if result.dim() < 2 or len(result) != len(x):
            shape = "x".join(map(str, result.shape))
            raise RobauditError(f"the output of {len(x)} inputs has shape {shape}, not one row an input")
        return result.float() if result.dtype in (torch.float16, torch.bfloat16) else result


def _weights(module: torch.jit.ScriptModule) -> list[Tensor]:
    """Parameters, buffers, and what freezing has made of them: constants of the graph; in the module's order."""
    held = [*module.parameters(), *module.buffers()]
    if not held:
        constants = [node for node in module.inlined_graph.nodes() if node.kind() == "prim::Constant"]
        values = (node.output().toIValue() for node in constants if node.output().type().kind() == "TensorType")
        held = [value for value in values if isinstance(value, Tensor)]
    return held


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


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
            module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded as TorchScript: {_last_line(error)}") from error
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return TorchScriptFile(path, module, device)


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
            for name in code:
                _scan(path, archive.read(name).decode("utf-8", "replace"))
    except UsageError:
        raise
    except Exception as error:  # a damaged archive may break zipfile or its decompressors anywhere
        raise UsageError(f"{path} is a damaged zip archive ({_last_line(error)}); export the model again") from error


def _refuse(path: Path, names: list[str]) -> NoReturn:
    if any(n.endswith("data.pkl") for n in names):
        raise UsageError(
            f"{path} is a pickled state_dict or module, not TorchScript; export the model with "
            "torch.jit.script or torch.jit.trace and save it with torch.jit.save, or export it to ONNX"
        )
    if any(n.endswith(("models/model.json", "archive_format")) for n in names):
        raise UsageError(f"{path} is a torch.export archive (.pt2), which can run commands at load; export to ONNX")
    raise UsageError(f"{path} is a zip archive but no TorchScript; export it with torch.jit.save")


def _scan(path: Path, text: str) -> None:
    """Refuse code that can touch files at load, or call operators of unknown libraries."""
    for word in FORBIDDEN:
        if word in text:
            raise UsageError(
                f"{path} holds code that uses {word.rstrip('(')}, which can read or change files when it is loaded; "
                "give --trust-model if you trust its author"
            )
    for namespace in OPERATOR.findall(text):
        if namespace not in ALLOWED:
            _refuse_namespace(path, namespace)


def _refuse_namespace(path: Path, namespace: str) -> NoReturn:
    raise UsageError(
        f"{path} calls operators of {namespace!r}, which robaudit does not know; give --trust-model if you "
        "trust its author"
    )


def _check_operators(path: Path) -> None:
    """Look at the compiled code itself: text can hide what it calls, as in ``t = torch`` and ``t.save``.

    Nothing of the archive runs: its text has been scanned for the one method that loading calls.
    """
    unit: Any = torch._C.CompilationUnit()
    load: Any = torch._C.import_ir_module
    load(unit, str(path), torch.device("cpu"), {}, False)
    functions = unit.get_functions()
    if not functions:
        raise UsageError(f"{path} holds no code that can be inspected; export the model again")
    for kind in sorted({kind for function in functions for kind in _kinds(function.graph)}):
        if kind in TOUCHES_FILES:
            raise UsageError(
                f"{path} calls {kind}, which can read or change files; give --trust-model if you trust its author"
            )
        if (namespace := kind.partition("::")[0]) not in ALLOWED:
            _refuse_namespace(path, namespace)


def _kinds(block: Any) -> Iterator[str]:
    """Operators of a graph or block, those of the blocks and graphs inside its nodes included."""
    for node in block.nodes():
        yield node.kind()
        for inner in node.blocks():
            yield from _kinds(inner)
        for name in node.attributeNames():
            if node.kindOf(name) == "g":
                yield from _kinds(node.g(name))
            elif node.kindOf(name) == "gs":
                for graph in node.gs(name):
                    yield from _kinds(graph)

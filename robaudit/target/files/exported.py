"""A torch.export archive (.pt2): it is both the judge and what is differentiated. Loaded only where it is trusted."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.export.passes import move_to_device_pass
from torch.utils import _pytree as pytree

from robaudit.errors import RobauditError, UsageError
from robaudit.target.files.held import HeldFile
from robaudit.target.files.torchscript.arguments import Argument
from robaudit.target.files.torchscript.failures import last_line
from robaudit.target.files.torchscript.module import TorchScriptFile
from robaudit.target.inputs.discover import FileInput
from robaudit.target.inputs.several import DeclaredInput
from robaudit.target.outputs.bounds import Interval, bounds, exported_steps
from robaudit.target.outputs.declared import Choice
from robaudit.target.outputs.peel import Tail
from robaudit.target.outputs.training import exported_training
from robaudit.target.running.trainable import Learner, Untrainable

__all__ = ["ExportedFile", "open_exported"]

USER_OUTPUT = OutputKind.USER_OUTPUT
WHOLE_NUMBERS = "the file takes whole numbers, and no gradient of torch passes into them"


class ExportedFile(TorchScriptFile):
    """Runs an exported program: used as :class:`TorchScriptFile` is.

    Args:
        held: the archive, which is kept open, so that it can be loaded again.
        program: loaded, on the device.
        device: that it runs on.
        reload: loads the program again as a module, without what its calls have left in it.
    """

    format = "exported"

    def __init__(
        self,
        held: HeldFile,
        program: torch.export.ExportedProgram,
        device: torch.device,
        reload: Callable[[], Any] | None = None,
    ) -> None:
        module: Any = program.module()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        super().__init__(held, module, device, weights=[*module.parameters(), *module.buffers()], reload=reload)
        self.training = exported_training(program)
        self.program = program
        self.batch: int | None = None
        self._least = 1
        values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
        self._leaves: list[Any] = []
        for spec in program.graph_signature.input_specs:
            if spec.kind is not InputKind.USER_INPUT:
                continue
            name, constant = spec.arg.name, isinstance(spec.arg, ConstantArgument)
            value = spec.arg.value if isinstance(spec.arg, ConstantArgument) else values.get(name)
            kind = "tensor" if isinstance(value, Tensor) else type(value).__name__
            self._leaves.append(value)
            self.arguments.append(Argument(DeclaredInput(name, None, kind, optional=constant), value, "constant"))

    def declared_input(self, fixed: Mapping[str, str], wanted: str | None) -> FileInput:
        """Settle which input is attacked and what the others hold; the attacked one as the archive declares it.

        Raises:
            UsageError: others are without a value, or the attacked one holds no numbers that can be perturbed.
        """
        self.choose_input(fixed, wanted)
        value = self._leaves[self._place] if self._leaves else None
        if not isinstance(value, Tensor) or value.dim() < 2:
            raise UsageError(f"the input {self.input_name!r} of {self.path} has no batch and feature dimensions")
        self.dtype = value.dtype
        shape = tuple(size if isinstance(size, int) else None for size in value.shape)
        self.batch = shape[0]
        if self.batch is None:
            symbol = value.shape[0].node.expr
            bounds = self.program.range_constraints.get(symbol)
            self._least = max(int(bounds.lower), 1) if bounds is not None else 1
        name = str(self.dtype).removeprefix("torch.")
        if self.dtype.is_complex or self.dtype == torch.bool:
            raise UsageError(
                f"the input {self.input_name!r} of {self.path} is of type {name}; robaudit perturbs numbers only"
            )
        if not self.dtype.is_floating_point:
            self.no_gradient = WHOLE_NUMBERS
        return FileInput(self.input_name, shape, name)

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        kinds: dict[str, int] = {}
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                kinds[str(node.target)] = kinds.get(str(node.target), 0) + 1
        return {"operators": kinds, "judge": f"torch {torch.__version__} (torch.export), {self.device}"}

    def find_tail(self, choice: Choice) -> tuple[Tail | None, tuple[Any, ...] | None]:
        """The gradient starts at the output itself; labels have none."""
        return (Tail(choice.output.name) if choice.role == "scores" else None), None

    @property
    def bounds(self) -> Interval | None:
        """Lowest and highest number that the only output can hold, where its last operators tell."""
        results = [node for node in self.program.graph.nodes if node.op == "output"]
        names = [spec.arg.name for spec in self.program.graph_signature.output_specs if spec.kind is USER_OUTPUT]
        made = [node for node in results[0].args[0] if getattr(node, "name", None) in names] if results else []
        return bounds(exported_steps(made[0])) if len(made) == 1 else None

    def decides(self, name: str) -> bool:
        """Unknown: an exported program is not looked into."""
        return False

    def features(self, *, smooth: bool = False) -> Callable[[Tensor], Tensor] | None:
        """None: the program is not looked into."""
        return None

    @property
    def unsmooth(self) -> str | None:
        """Why there is no smooth backward: always."""
        return "a program of torch.export keeps the backward of PyTorch"

    def learner(self, sample: Tensor) -> Learner:
        """None: the program holds its weights where they cannot be set."""
        raise Untrainable("an exported program (.pt2) keeps its weights to itself; export the model to ONNX")

    def import_twin(self, tail: Tail) -> None:
        """Nothing is built: the program itself is differentiated."""

    def differentiable(self, x: Tensor) -> Tensor:
        """The output with a gradient; one input at a time where the archive fixes its batch."""
        if self.batch is None:
            return super().differentiable(x)
        rows = (x[i : i + 1].expand(self.batch, *x.shape[1:]) for i in range(len(x)))
        return torch.cat([super(ExportedFile, self).differentiable(row)[:1] for row in rows])

    def _checked(self, function: Callable[..., Any], x: Tensor) -> Any:
        if not self.dtype.is_floating_point:
            limits = torch.iinfo(self.dtype)
            x = x.detach().round().clamp(limits.min, limits.max)
        count = len(x)
        if count >= self._least:
            return super()._checked(function, x)
        # torch.export may have taken it for granted that a batch is larger than 1.
        filled = torch.cat([x, x[-1:].expand(self._least - count, *x.shape[1:])])
        result = super()._checked(function, filled)
        return pytree.tree_map_only(Tensor, lambda t: t[:count] if t.dim() and len(t) == self._least else t, result)

    def _forward(self, function: Callable[..., Any], x: Tensor) -> Any:
        self._renew()
        declared = [value for place, value in enumerate(self._leaves) if place != self._place]
        leaves = [_fitted(a, value, len(x)) for a, value in zip(self.fixed, declared, strict=True)]
        leaves.insert(self._place, x)
        specification = self.program.call_spec.in_spec
        arguments, named = (leaves, {}) if specification is None else pytree.tree_unflatten(leaves, specification)
        try:
            with self.watch.call(len(x), self._kind(function)):
                return function(*arguments, **named)
        except (AssertionError, TypeError) as error:  # the guards of torch.export
            raise RobauditError(f"the exported program refuses the input: {last_line(error)}") from error


def _fitted(argument: Argument, declared: Any, count: int) -> Any:
    """A fixed argument in the type that the program wants; one number fills its shape, free dimensions the batch."""
    value = argument.rows(count)
    if not isinstance(value, Tensor) or not isinstance(declared, Tensor):
        return value
    value = value.to(declared.dtype)
    shape = [size if isinstance(size, int) else count for size in declared.shape]
    return value.expand(shape) if value.numel() == 1 else value


def _program(held: HeldFile, device: torch.device) -> torch.export.ExportedProgram:
    with held.unchanged():
        held.file.seek(0)
        program: torch.export.ExportedProgram = move_to_device_pass(torch.export.load(held.file), device)
    return program


def open_exported(path: Path, device: torch.device, *, trust: bool) -> ExportedFile:
    """Load a torch.export archive.

    Raises:
        UsageError: it is not trusted, or it cannot be loaded.
    """
    if not trust:
        raise UsageError(
            f"{path} is a torch.export archive (.pt2), which can run any command when it is loaded; give --trust-model "
            "if you trust its author, or export the model to ONNX"
        )
    held = HeldFile(path)
    if not any("/models/" in name and name.endswith(".json") for name in zipfile.ZipFile(held.file).namelist()):
        raise UsageError(f"{path} is a .pt2 package without an exported program; save one with torch.export.save")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ExportedFile(held, _program(held, device), device, lambda: _program(held, device).module())
    except RobauditError:
        raise
    except Exception as error:  # its parsers raise many types
        raise UsageError(f"{path} cannot be loaded as a torch.export archive: {last_line(error)}") from error

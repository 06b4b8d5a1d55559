"""Runs a TorchScript module: it is both the judge and what is differentiated."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import AuditError, UsageError
from robaudit.target.files.extras import extra_files
from robaudit.target.files.held import HeldFile
from robaudit.target.files.torchscript.arguments import Argument, choose_arguments, declared_arguments
from robaudit.target.files.torchscript.failures import failures_told, refused
from robaudit.target.files.torchscript.graph import cutting_operators, drawing_operators, held_weights, script_bounds
from robaudit.target.files.torchscript.last_layer import before_last_layer
from robaudit.target.files.torchscript.learner import End, ScriptLearner
from robaudit.target.files.torchscript.peel import find_script_tail
from robaudit.target.files.torchscript.results import (
    as_array,
    chosen,
    declared_output,
    named_tensors,
    rows_of,
    with_label,
)
from robaudit.target.files.torchscript.smoothing import Rough, smoothed
from robaudit.target.files.torchscript.state import ModuleState
from robaudit.target.files.torchscript.widened import agree, widened
from robaudit.target.inputs.several import DeclaredInput
from robaudit.target.onnx import OnnxModule
from robaudit.target.outputs.bounds import Interval
from robaudit.target.outputs.declared import Choice, FileOutput
from robaudit.target.outputs.peel import Tail
from robaudit.target.outputs.training import script_training
from robaudit.target.running.backward import watched
from robaudit.target.running.smooth import Smooth
from robaudit.target.running.trainable import Learner
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["TorchScriptFile"]


class TorchScriptFile:
    """Runs a TorchScript module: ``choose_input``, ``probe``, ``choose_output`` and ``import_twin`` come before.

    Args:
        held: the archive, which is kept open, so that it can be loaded again.
        module: as it was loaded.
        device: that it runs on.
        weights: parameters and buffers; None: found in the module.
        reload: loads the module again, without what its calls have left in it.
    """

    format = "torchscript"
    watch: Watch = UNWATCHED
    wiring = None

    def __init__(
        self,
        held: HeldFile,
        module: torch.jit.ScriptModule,
        device: torch.device,
        weights: list[Tensor] | None = None,
        reload: Callable[[], Any] | None = None,
    ) -> None:
        self.path = held.path
        self.sha256, self.size = held.sha256, held.size
        self.external: dict[str, str] = {}
        self.module = module
        self.device = device
        with held.unchanged():
            self.metadata = extra_files(held.file)
        self.no_gradient: str | None = None
        self.weights = held_weights(module) if weights is None else weights
        floats = (w.dtype for w in self.weights if w.dtype.is_floating_point)
        self.dtype = next(floats, torch.float32)
        self.arguments = declared_arguments(module)
        self.outputs: list[FileOutput] = []
        self.fixed: list[Argument] = []
        self.input_name = "input"
        self._place = 0
        self._choice: Choice | None = None
        self._tail: tuple[Tail, Callable[..., Any]] | None = None
        self._peeled: Callable[..., Any] | None = None
        self._smoothed = functools.cache(smoothed)
        self._wide: Callable[..., Any] | None = None
        self._proved = False
        self.cutting = cutting_operators(module)
        self.drawing = drawing_operators(module)
        self.training = script_training(module)
        self._reload = reload
        self._state: ModuleState | None = None
        self._wide_state: ModuleState | None = None
        self.twin = None

    @property
    def inputs(self) -> list[DeclaredInput]:
        """Arguments of the module's ``forward``."""
        return [argument.declared for argument in self.arguments]

    def choose_input(self, fixed: Mapping[str, str], wanted: str | None) -> None:
        """Settle which argument is attacked and what the others hold.

        Raises:
            UsageError: see :func:`choose_arguments`.
        """
        self._place, self.fixed = choose_arguments(self.path, self.arguments, fixed, wanted)
        if self.arguments:
            self.input_name = self.arguments[self._place].declared.name

    @property
    def first_channels(self) -> int | None:
        """Input channels of the first convolution; None where none is found."""
        return next((int(w.shape[1]) for w in self.weights if w.dim() == 4), None)

    def probe(self, x: Tensor) -> None:
        """Try an input and describe the outputs.

        Raises:
            UsageError: the module refuses it, or returns no tensor.
        """
        try:
            with torch.no_grad():
                result = self._forward(self.module, x.to(self.device, self.dtype))
        except Exception as error:
            raise UsageError(f"{self.path} {refused(x, self.training, error)}") from error
        found = named_tensors(result)
        if not found:
            raise UsageError(f"{self.path} returns {type(result).__name__}, not a tensor of class scores")
        self.outputs = [declared_output(name, value) for name, value in found.items()]

    def fresh(self) -> TorchScriptFile:
        """The same file, loaded again."""
        other = copy.copy(self)
        if self._reload is not None:
            other.module = self._reload()
            other._smoothed = functools.cache(smoothed)
            other._state = None if self._state is None else ModuleState(other.module)
        return other

    def start_afresh(self) -> None:
        """Undo before each call what calls leave behind in the module; to be said before the first."""
        self._state = ModuleState(self.module)

    def as_written(self) -> OnnxModule | None:
        """None: a script is no graph that can be read operator by operator."""
        return None

    def learner(self, sample: Tensor) -> Learner:
        """The module as a function of its weights, up to where it is differentiated; see :class:`ScriptLearner`."""
        assert self._choice is not None
        module = self.module if self.dtype == torch.float32 else widened(self.module, self._state)
        end = End(self._choice, self._place_of(self._choice.output.name), peeled=self._peeled is not None)
        return ScriptLearner(module, end, self.fixed, self._place)

    def other_inputs(self) -> dict[str, Tensor]:
        """Empty: they are a part of the call."""
        return {}

    def plain(self, x: Tensor, *, width: int | None = None) -> Tensor | None:
        """There is no runtime without optimisations."""
        return None

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        kinds: dict[str, int] = {}
        for node in self.module.inlined_graph.nodes():
            kinds[node.kind()] = kinds.get(node.kind(), 0) + 1
        return {"operators": kinds, "judge": f"torch {torch.__version__}, {self.device}"}

    def answers(self, x: Tensor, width: int) -> list[dict[str, Any]]:
        """Every output to each of the inputs [N, *file_shape], asked alone.

        Raises:
            RobauditError: the module refuses one.
        """
        found = []
        with torch.no_grad():
            for i in range(len(x)):
                result = self._checked(self.module, x[i : i + 1].expand(width, *x.shape[1:]))
                found.append({name: as_array(value) for name, value in named_tensors(result).items()})
        return found

    def choose_output(self, choice: Choice, values: tuple[Any, ...] | None) -> None:
        """Settle what ``run`` reads."""
        self._choice = choice

    def find_tail(self, choice: Choice) -> tuple[Tail | None, tuple[Any, ...] | None]:
        """(where the differentiated function can end, None); labels without a known decision have no gradient."""
        name = choice.output.name
        self._tail = None if choice.columns else find_script_tail(self.module, name, self._place_of(name))
        if self._tail is None:
            return (Tail(name) if choice.role == "scores" else None), None
        tail = self._tail[0]
        return (None if choice.role != "scores" and tail.decision == "none" else tail), None

    @property
    def bounds(self) -> Interval | None:
        """Lowest and highest number that the chosen output can hold, where its last operators tell."""
        if self._choice is None:
            return None
        return script_bounds(self.module, self._place_of(self._choice.output.name))

    def decides(self, name: str) -> bool:
        """Whether an output is the place of the largest of some numbers."""
        tail = find_script_tail(self.module, name, self._place_of(name))
        return tail is not None and tail[0].decision != "none"

    def _place_of(self, name: str) -> int | None:
        return None if len(self.outputs) == 1 and name == "output" else [o.name for o in self.outputs].index(name)

    def import_twin(self, tail: Tail) -> None:
        """Differentiate the module up to ``tail``."""
        self._peeled = self._tail[1] if self._tail is not None and tail.peeled else None
        self._wide, self._proved = None, False
        self._smoothed = functools.cache(smoothed)
        if self.dtype in (torch.float16, torch.bfloat16):
            self._wide = self._widened(peeled=self._peeled is not None)
        if self._state is not None and isinstance(self._wide, torch.nn.Module):
            self._wide_state = ModuleState(self._wide)

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """The chosen output at file precision, without gradient.

        Args:
            x: [N, *file_shape] in the file's units.
            width: rows of one call, each of which holds one input repeated; None: all inputs in one call.

        Returns:
            [N, K], half precision widened to float32, with the class that a label output beside it says as one more
            column; [N, 1] for labels.

        Raises:
            RobauditError: the module refuses the input, or does not return one row an input.
        """
        with torch.no_grad():
            if width is None:
                return self._answered(x)
            rows = (x[i : i + 1].expand(width, *x.shape[1:]) for i in range(len(x)))
            return torch.cat([self._answered(row)[:1] for row in rows])

    @property
    def unsmooth(self) -> str | None:
        """Why its code has no smooth backward, as a clause; None: it has one."""
        try:
            self._smoothed(self._differentiated, Smooth())
        except Rough as error:
            return str(error)
        return None

    @property
    def _differentiated(self) -> Callable[..., Any]:
        """The code that is differentiated, of a file in half precision that of its copy in float32."""
        return self._own if self._wide is None else self._wide

    @property
    def _own(self) -> Callable[..., Any]:
        """The file's code up to the tail."""
        return self.module if self._peeled is None else self._peeled

    def smoothly(self, x: Tensor, smooth: Smooth) -> Tensor:
        """As :meth:`differentiable`, with a smooth backward.

        Raises:
            AuditError: there is none.
        """
        try:
            return self._with_gradient(x, lambda function: self._smoothed(function, smooth))
        except Rough as error:
            raise AuditError(f"there is no smooth backward: {error}") from error

    def differentiable(self, x: Tensor) -> Tensor:
        """The same with a gradient, up to the tail; of a file in half precision that of its copy in float32."""
        return self._with_gradient(x, lambda function: function)

    def _with_gradient(self, x: Tensor, way: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Tensor:
        if self._wide is not None and not self._proved:
            self._prove(x.detach())
        run = way(self._differentiated)
        if self._wide is not None:
            return watched(
                self.watch, self._kind(run), x, lambda u: self._chosen(self._forward(run, u.float()), len(u))
            )
        return watched(self.watch, self._kind(run), x, lambda u: self._reached(run, u))

    def features(self, *, smooth: bool = False) -> Callable[[Tensor], Tensor] | None:
        """See :class:`ModelFile`; None too for a file in half precision, whose copy is differentiated."""
        choice = self._choice
        if self._wide is not None or choice is None or choice.columns:
            return None
        place = self._place_of(choice.output.name)
        found = before_last_layer(self.module, choice.output.name, place, peeled=self._peeled is not None)
        if found is None:
            return None
        if smooth:
            with contextlib.suppress(Rough):  # then nothing before the layer hides the gradient
                found = smoothed(found, Smooth())
        return lambda x: watched(self.watch, self._kind(found), x, lambda u: self._checked(found, u))

    def _reached(self, function: Callable[..., Any], x: Tensor) -> Tensor:
        """What a function gives that ends where the module does, or before its tail."""
        result = self._checked(function, x)
        return self._chosen(result, len(x)) if self._peeled is None else rows_of(result, len(x))

    def _widened(self, *, peeled: bool) -> Callable[..., Any] | None:
        """A copy with weights in float32, in which gradients do not vanish; None where there is none."""
        wide = widened(self.module, self._state)
        if wide is None or not peeled:
            return wide if wide is not None and list(wide.parameters()) else None  # a frozen one's are in its code
        assert self._choice is not None
        name = self._choice.output.name
        tail = find_script_tail(wide, name, self._place_of(name))
        return None if tail is None else tail[1]

    def _prove(self, x: Tensor) -> None:
        """Keep the copy only if it answers as the file does."""
        self._proved = True
        assert self._wide is not None
        wide = self._wide
        if not agree(
            lambda: self._chosen(self._forward(wide, x.float()), len(x)),
            lambda: self._reached(self._own, x),
        ):
            self._wide = None

    def _answered(self, x: Tensor) -> Tensor:
        assert self._choice is not None
        return with_label(self._checked(self.module, x), self._choice, len(x))

    def _chosen(self, result: Any, count: int) -> Tensor:
        assert self._choice is not None
        return chosen(result, self._choice, count)

    def _checked(self, function: Callable[..., Any], x: Tensor) -> Any:
        with failures_told(), torch.set_grad_enabled(torch.is_grad_enabled()):  # which code of the module can switch
            return self._forward(function, x.to(self.dtype))

    def _forward(self, function: Callable[..., Any], x: Tensor) -> Any:
        self._renew()
        values = [argument.rows(len(x)) for argument in self.fixed]
        values.insert(self._place if self.fixed else 0, x)
        with self.watch.call(len(x), self._kind(function)):
            return function(*values)

    def _kind(self, function: Callable[..., Any] | None) -> tuple[Path, bool]:
        """Of calls, for the watch; None: of the module as it is."""
        return self.path, function is None or function is self.module

    def _renew(self) -> None:
        for state in (self._state, self._wide_state):
            if state is not None:
                state.restore()

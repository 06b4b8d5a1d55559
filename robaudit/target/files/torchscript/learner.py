"""A TorchScript module as a function of its weights, which become arguments of its graph.

Weights are known by what reads them, so that a frozen module, whose weights are constants of its code, has them too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import reason
from robaudit.target.files.torchscript.arguments import Argument
from robaudit.target.files.torchscript.graph import all_nodes
from robaudit.target.files.torchscript.peel import end_of
from robaudit.target.files.torchscript.results import rows_of
from robaudit.target.outputs.declared import Choice
from robaudit.target.running.trainable import BIAS, GAIN, TOKEN, State, Untrainable, Weight, matrix

__all__ = ["End", "ScriptLearner"]

Role = str
_CONVOLUTION = {1: "matrix", 2: "bias"}
_NORM = {2: "gain", 3: "bias"}
_PLACES: dict[str, dict[int, Role]] = {
    **{f"aten::conv{rank}d": _CONVOLUTION for rank in (1, 2, 3)},
    **{f"aten::conv_transpose{rank}d": _CONVOLUTION for rank in (1, 2, 3)},
    "aten::_convolution": _CONVOLUTION,
    "aten::linear": _CONVOLUTION,
    "aten::addmm": {0: "bias", 2: "columns"},
    "aten::matmul": {1: "columns"},
    "aten::mm": {1: "columns"},
    "aten::batch_norm": {1: "gain", 2: "bias", 3: "mean", 4: "variance"},
    "aten::layer_norm": _NORM,
    "aten::group_norm": _NORM,
    "aten::instance_norm": {1: "gain", 2: "bias"},
    "aten::embedding": {0: "token"},
    "aten::t": {0: "matrix"},
    "aten::add": {0: "bias", 1: "bias"},
    "aten::cat": {},
}
_TRAINING, _MOMENTUM = 5, 6
"""Places of a batch norm's flag and momentum among its arguments."""


@dataclass(frozen=True)
class End:
    """Where the function ends.

    Args:
        choice: of the output.
        place: of the output in a tuple; None: the module returns one tensor.
        peeled: the gradient is taken before the output.
    """

    choice: Choice
    place: int | None
    peeled: bool

    def of(self, graph: Any) -> Any:
        """The value in a graph."""
        return end_of(graph, self.choice.output.name, self.place, peeled=self.peeled)


class ScriptLearner:
    """A module as a function of its weights; see :class:`robaudit.target.running.trainable.Learner`.

    Args:
        module: in float32; None: there is no such copy.
        end: where it is differentiated.
        fixed: arguments that keep their values, all but the input.
        place: of the input among them.

    Raises:
        Untrainable: it has no weights, or its code keeps them where they cannot be set.
    """

    def __init__(self, module: torch.jit.ScriptModule | None, end: End, fixed: Sequence[Argument], place: int) -> None:
        if module is None:
            raise Untrainable("it cannot be copied in single precision")
        if end.choice.columns or (end.choice.role != "scores" and not end.peeled):
            raise Untrainable("its scores are no output of its own")
        self._fixed, self._place = fixed, place if fixed else 0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                wrap: Any = torch.jit._recursive.wrap_cpp_module
                frozen: Any = wrap(torch._C._freeze_module(module._c, [], True, True))
            graph: Any = frozen.graph.copy()
            value = end.of(graph)
            for _ in list(graph.outputs()):
                graph.eraseOutput(0)
            graph.registerOutput(value)
            held = _opened(graph, frozen)
            torch._C._jit_pass_dce(graph)
            graph.eraseInput(0)
            self._held = {name: tensor.detach().float() for name, tensor in held.items()}
            roles = _roles(graph, list(self._held))
            self._steady: Any = torch._C._create_function_from_graph("steady", graph)
            self._lesson: Any = torch._C._create_function_from_graph("lesson", _in_training(graph.copy()))
        except Untrainable:
            raise
        except Exception as error:  # odd code breaks these internals in many ways
            raise Untrainable(f"its code does not let its weights be set ({reason(error)})") from error
        self._statistics = {name: role for name, role in roles.items() if role in ("mean", "variance")}
        self.weights: Sequence[Weight] = tuple(
            _weight(name, role, self._held[name]) for name, role in roles.items() if name not in self._statistics
        )
        self.watches_batches = bool(self._statistics)
        if not any(weight.decays for weight in self.weights):
            raise Untrainable("it holds no weights that can be trained")

    @property
    def statistics(self) -> State:
        """Of batch norms."""
        new = {"mean": torch.zeros_like, "variance": torch.ones_like}
        return {name: new[role](self._held[name]) for name, role in self._statistics.items()}

    def _call(self, function: Callable[..., Any], x: Tensor, weights: list[Tensor]) -> Tensor:
        values = [argument.rows(len(x)) for argument in self._fixed]
        values.insert(self._place, x.float())
        return rows_of(function(*values, *weights), len(x))

    def answer(self, state: State, x: Tensor) -> Tensor:
        """[N, *file_shape] to [N, ...]."""
        return self._call(self._steady, x, [state.get(name, value) for name, value in self._held.items()])

    def lesson(self, state: State, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The answers in training, and the statistics of these inputs."""
        seen = {name: state[name].clone() for name in self._statistics}  # the operator writes into them
        values = [seen[name] if name in seen else state.get(name, value) for name, value in self._held.items()]
        return self._call(self._lesson, x, values), seen

    @torch.no_grad()
    def scaled(self, state: State, x: Tensor) -> dict[str, Tensor]:
        """The state with the statistics of x; layers keep the scale of their first values."""
        return {**state, **self.lesson(state, x)[1]}


def _opened(graph: Any, module: Any) -> dict[str, Tensor]:
    """The tensors that a graph holds, by name, in the order of the arguments that they become."""
    held: dict[str, Tensor] = {}
    places: dict[str, Any] = {}

    def argument(name: str, tensor: Tensor) -> Any:
        if name not in held:
            held[name] = tensor
            places[name] = graph.addInput()
            places[name].setType(torch._C.TensorType.get())
        return places[name]

    for node in list(all_nodes(graph)):
        output: Any = next(iter(node.outputs()), None)
        if node.kind() == "prim::GetAttr":
            path = _path(output)
            value = _attribute(module, path)
            if isinstance(value, Tensor) and value.is_floating_point():
                output.replaceAllUsesWith(argument(".".join(path), value))
            elif not isinstance(value, torch.nn.Module):  # the absent bias of a layer
                with graph.insert_point_guard(node):
                    output.replaceAllUsesWith(graph.insertConstant(value))
        elif node.kind() == "prim::Constant" and output is not None:
            value = output.toIValue()
            if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 0:
                output.replaceAllUsesWith(argument(f"constant {output.debugName()}", value))
            elif isinstance(value, list) and value and all(isinstance(v, Tensor) for v in value):
                raise Untrainable("a recurrent layer keeps its weights in a list")
    return held


def _path(value: Any) -> list[str]:
    node = value.node()
    if node.kind() != "prim::GetAttr":
        return []
    return [*_path(next(iter(node.inputs()))), node.s("name")]


def _attribute(module: Any, path: Sequence[str]) -> Any:
    for name in path:
        module = getattr(module, name, None)
    return module


def _uses(graph: Any, names: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """What reads each of the last arguments of a graph: kinds of operators, and places among their inputs."""
    arguments = list(graph.inputs())[-len(names) :] if names else []
    for name, value in zip(names, arguments, strict=True):
        yield name, [(use.user.kind(), int(use.offset)) for use in value.uses()]


def _roles(graph: Any, names: Sequence[str]) -> dict[str, Role]:
    """What each tensor is to training; those that nothing known reads stay as they are."""
    found: dict[str, Role] = {}
    for name, uses in _uses(graph, names):
        for kind, place in uses:
            role = _PLACES.get(kind.rstrip("_"), {}).get(place)
            if role is not None and (role != "bias" or kind != "aten::add" or not name.startswith("constant ")):
                found.setdefault(name, role)
    return found


def _weight(name: str, role: Role, value: Tensor) -> Weight:
    shape = tuple(value.shape)
    if role in ("matrix", "columns"):
        fan_in = math.prod(shape[1:]) if role == "matrix" else shape[0]
        return Weight(name, shape, *matrix(fan_in), decays=True)
    if role == "bias" and sum(size > 1 for size in shape) > 1:
        role = "token"
    return Weight(name, shape, *{"bias": BIAS, "gain": GAIN, "token": TOKEN}[role])


def _in_training(graph: Any) -> Any:
    """The graph with batch norms that look at the batch, and write its statistics over those that they are given."""
    first = next(iter(graph.nodes()))
    for node in list(all_nodes(graph)):
        if node.kind() != "aten::batch_norm":
            continue
        for place, value in ((_TRAINING, True), (_MOMENTUM, 1.0)):
            constant = graph.insertConstant(value)
            constant.node().moveBefore(first)
            node.replaceInput(place, constant)
    return graph

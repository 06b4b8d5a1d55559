"""A file as a certifier sees it: its graph in float64, what its input means, and when an answer is a certain class.

What is proved is of the file's own graph: the torch twin's operators, unmerged, on the weights that the file holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, fx

from robaudit.errors import UnsupportedOperatorError, reason
from robaudit.target.head.scores import Head
from robaudit.target.inputs.meaning import NEARLY
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.measures.steadiness import is_repeatable
from robaudit.target.target import Target
from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.norms import Norm

__all__ = ["Ball", "Region", "Subject", "Unreadable", "subject_of"]

ROUNDOFF = 2.0**-24
"""Largest relative error of one operation in float32."""
ROUNDOFF_CUDA = 2.0**-10
"""The same where products may be taken in TensorFloat-32, as ONNX Runtime does on a GPU."""
STANDARD = ("", "ai.onnx", "ai.onnx.ml")
"""Domains whose operators compute in the types that they are given."""
CHANCE = ("Bernoulli", "Multinomial")
NARROW = (10, 16, 17, 18, 19, 20)
"""ONNX's numbers of float16, bfloat16 and the 8-bit floats."""
SOFTENED = 1e-4
"""Lead in logits after which a softmax in float32 tells two classes apart."""


class Unreadable(Exception):  # noqa: N818  (it is an answer, not an error)
    """There is no graph that anything could be proved of; the message says why, in one clause."""


@dataclass(frozen=True)
class Ball:
    """The inputs that an attacker may choose around a sample, in u-space.

    Args:
        norm: of the ball; ``eps``: its radius.
        fixed: features that stay as they are, as places in the flattened sample.
    """

    norm: Norm
    eps: float
    fixed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Region:
    """Inputs of the file that hold all of a ball within the domain, [1, *file_shape] float64 each.

    Every input of the file that the judge accepts is between ``low`` and ``high``. Where ``centre`` is given it is also
    ``centre + scale * d``, up to ``slack``, with a perturbation d of the ball's norm at most ``eps``.
    """

    low: Tensor
    high: Tensor
    centre: Tensor | None
    scale: Tensor | None
    slack: Tensor
    norm: Norm
    eps: float


@dataclass(frozen=True)
class Subject:
    """What a certifier may know of a file.

    Args:
        program: [1, *file_shape], in the file's units, to a tuple of one [1, ...] tensor z in float64; its calls are
            torch's.
        others: further arguments of the program, which keep their values.
        spec: what the input means.
        head: what z means.
        classes: K.
        weights: [K, n], with ``offsets`` [K] the logits that are compared, as a linear map of z, flattened.
        roundoff: largest relative error of one operation of the file.
    """

    program: fx.GraphModule
    others: tuple[Tensor, ...]
    spec: InputSpec
    head: Head
    classes: int
    weights: Tensor
    offsets: Tensor
    roundoff: float = ROUNDOFF

    def region(self, u: Tensor, ball: Ball) -> Region:
        """What the file can be fed, for a sample [*shape] in u-space and a ball around it.

        Ball and box are as wide as the judge takes them, with its tolerance.
        """
        eps = ball.eps + TOLERANCE
        moved = torch.full_like(u, eps).flatten()
        free = torch.ones_like(moved)
        if ball.fixed:
            moved[list(ball.fixed)] = TOLERANCE
            free[list(ball.fixed)] = 0.0
        moved, free = moved.reshape(u.shape), free.reshape(u.shape)
        ends = [self._fed(u + side * moved, clip=True) for side in (-1, 1)]
        low, high = torch.minimum(*ends), torch.maximum(*ends)
        slack = 16 * self.roundoff * torch.maximum(low.abs(), high.abs()) + self._rounding(u)
        low, high = low - slack, high + slack
        if self.spec.integer:  # the file is fed whole numbers
            return Region(low.round(), high.round(), None, None, torch.zeros_like(low), ball.norm, eps)
        origin = self._fed(torch.zeros_like(u))
        scale = (self._fed(free) - origin).abs()
        fixed = (self._fed(1 - free) - origin).abs() * TOLERANCE
        return Region(low, high, self._fed(u), scale, slack + fixed, ball.norm, eps)

    def _fed(self, u: Tensor, *, clip: bool = False) -> Tensor:
        """[*shape] in float64 to [1, *file_shape], as if nothing rounded."""
        spec = self.spec
        u = u.clamp(-TOLERANCE, 1 + TOLERANCE) if clip else u
        return spec.to_file(u[None]).double()

    def _rounding(self, u: Tensor) -> Tensor:
        """What putting a table's whole numbers right can move, and the steps from u-space to the file's units."""
        width = (self._fed(torch.ones_like(u)) - self._fed(torch.zeros_like(u))).abs()
        nearly = NEARLY if self.spec.ranges is not None and any(self.spec.ranges.integer) else 0.0
        return (16 * self.roundoff + nearly) * (width + self._fed(torch.zeros_like(u)).abs())

    def comparison(self, label: int, rivals: Sequence[int]) -> tuple[Tensor, Tensor]:
        """([R, n], [R]): the label is ahead of each rival where ``weights @ z + offsets`` is above ``needed``."""
        others = list(rivals)
        return self.weights[label] - self.weights[others], self.offsets[label] - self.offsets[others]

    def needed(self, size: float) -> float:
        """The lead, in logits, after which the file's own output, in float32, tells the label from a rival.

        Args:
            size: largest absolute value that z can have in the region.
        """
        tail = self.head.tail
        size = size if tail is None else max(size, abs(tail.threshold))
        rounding = 16 * self.roundoff * (size + 1)
        ending = "none" if tail is None or not tail.peeled else tail.ending
        if ending == "none":
            return rounding
        if self.head.single:  # one number, compared with a threshold
            middle = 0.5 if self.head.threshold is None else self.head.threshold
            return rounding + 2e-5 / (middle * (1 - middle))
        if ending == "sigmoid":  # they saturate at 1 one after the other
            return rounding + (8e-6 * float(torch.tensor(size, dtype=torch.float64).exp()))
        return rounding + SOFTENED


def subject_of(target: Target) -> Subject:
    """The file for certifiers.

    Raises:
        Unreadable: it is no graph, is random, rounds inside, or its answer is no comparison of numbers.
    """
    head, spec = target.head, target.spec
    if not is_repeatable(target.repeat_deviation):
        raise Unreadable("the file does not repeat its answers")
    if spec.defenses:
        raise Unreadable("a defense stands in front of the file, and is no part of its graph")
    if head.labelled or head.pairs:
        raise Unreadable("a label output or votes decide, and not a comparison of scores")
    if head.kind == "labels" and not head.peeled:
        raise Unreadable("the file returns labels only, and what they are decided on was not found in it")
    if (spec.batch or 1) > 1:
        raise Unreadable(f"the file takes batches of {spec.batch} alone")
    if spec.dtype in ("float16", "bfloat16"):
        raise Unreadable(f"the file rounds to {spec.dtype}")
    tail = target.head.tail
    if tail is not None and tail.ending in ("exp", "sigmoid-share"):
        raise Unreadable(f"its output ends in {tail.ending}, which rounds scores together")
    if (wiring := target.file.wiring) is not None:
        for node in _nodes(wiring.model.graph):
            if node.op_type.startswith("Random") or node.op_type in CHANCE:
                raise Unreadable(f"it draws random numbers ({node.op_type})")
            if node.domain not in STANDARD and not node.op_type.startswith("Fused"):
                raise Unreadable(f"the arithmetic of its operator {node.domain}::{node.op_type} is not known")
            if any(a.name == "to" and a.i in NARROW for a in node.attribute):
                raise Unreadable("it rounds to half precision")
        if any(held.data_type in NARROW for held in wiring.model.graph.initializer):
            raise Unreadable("it holds weights of half precision")
    return _read(target)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loop bodies among them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _read(target: Target) -> Subject:
    shape = (1, *target.spec.file_shape)
    try:
        written = target.file.as_written()
        if written is None:
            raise Unreadable(f"a {target.format} file is no ONNX graph, which is what certificates are proved of")
        if written.is_quantised:
            raise Unreadable("it is quantised, and rounds inside")
        others = {
            name: value.double().cpu() if value.is_floating_point() else value.cpu()
            for name, value in target.file.other_inputs().items()
        }
        program = written.graph_module(shape, torch.float64, **others)
        places = [node.name for node in program.graph.nodes if node.op == "placeholder"]
        data = tuple(value for value in written.data_inputs(others))
    except UnsupportedOperatorError as error:
        raise Unreadable(f"it has the operator {error.operator}, which has no translation") from error
    except Unreadable:
        raise
    except Exception as error:  # torch and the importer raise many types for a graph that does not run
        raise Unreadable(f"its graph cannot be read ({reason(error)})") from error
    if len(places) != 1 + len(data):
        raise Unreadable("its inputs are not told apart")
    (end,) = [node for node in program.graph.nodes if node.op == "output"]
    weights, offsets = _linear(target.head, int(end.args[0][0].meta["val"].numel()))
    if len(weights) != target.num_classes:
        raise Unreadable("its graph does not end in a score for each class")
    roundoff = ROUNDOFF_CUDA if target.device.type == "cuda" else ROUNDOFF
    return Subject(program, data, target.spec, target.head, target.num_classes, weights, offsets, roundoff)


def _linear(head: Head, outputs: int) -> tuple[Tensor, Tensor]:
    """([K, n], [K]): the logits as a linear map of z, which is what the file compares.

    Raises:
        Unreadable: they are none.
    """
    read = head.logits if head.peeled else head.replayed
    zero = read(torch.zeros(1, outputs, dtype=torch.float64))[0]
    tries = torch.randn(3, outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = torch.equal(read(tries), tries)
    eye = torch.eye(outputs, dtype=torch.float64)
    weights = eye if plain else (read(eye) - zero).T
    if not bool(torch.isfinite(weights).all()) or not torch.allclose(read(tries), tries @ weights.T + zero, atol=1e-9):
        raise Unreadable("its scores are no linear function of the numbers that its graph ends in")
    return weights, zero

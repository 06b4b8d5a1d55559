"""The torch twin of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from robaudit.target.onnx import batching, gradient, half, layout, passes, stations
from robaudit.target.onnx.generalise import BATCH_SIZES, NotGeneralError, generalise
from robaudit.target.onnx.graph import Graph
from robaudit.target.onnx.randomness import without_draws
from robaudit.target.onnx.smoothing import smoothable, smoothed
from robaudit.target.onnx.tracing import MisfitError, Trace, identifier, trace
from robaudit.target.running.smooth import Smooth

# Small whole-number inputs (a sampling rate, a flag) steer the graph: their values are part of the program.
_STEERING = 256
_CONVOLUTIONS = ("Conv", "ConvTranspose", "FusedConv")
# Programs kept for inputs of other shapes before the oldest is forgotten.
_PROGRAMS = 64
# Operators that round inside; so does whatever has "Quantize" in its name.
_ROUNDING = ("QLinear", "QGemm", "QAttention", "QEmbed", "MatMulInteger", "ConvInteger")
# A graph that cannot run at another batch size, or only by a program of its own.
_MISFIT = (MisfitError, NotGeneralError)


class OnnxModule(nn.Module):
    """A graph as a module: ``module(x)`` gives a dictionary of outputs, or the one named by ``output_name``.

    x has the layout and value range of the file's input and any batch size. For every input shape the graph
    is traced once into a plain :class:`torch.fx.GraphModule` without shape arithmetic; one program usually
    serves all batch sizes.
    """

    def __init__(self, graph: Graph, output: str | None = None) -> None:
        super().__init__()
        self._graph = graph
        self.output_name = output
        self.input_names = list(graph.inputs)
        self.output_names = list(graph.outputs)
        self.batching: str | None = None
        self.layout: layout.Layout = "channels first"
        self._compiles = False
        self._compiled: dict[fx.GraphModule, Callable[..., Any]] = {}
        self._programs: dict[tuple[Any, ...], fx.GraphModule | None] = {}
        self._derived: dict[int, tuple[Tensor, Tensor]] = {}
        self._attributes: dict[str, str] = {}
        for name, value in graph.constants.items():
            attribute = f"c_{identifier(name)}"
            while attribute in self._buffers:
                attribute += "_"
            self.register_buffer(attribute, value)
            self._attributes[name] = attribute
        self.eval()

    @property
    def cuts(self) -> list[gradient.Cut]:
        """Operators on the way to the selected outputs whose true derivative is zero, and what stands for it."""
        return gradient.cuts(self._graph, self._selected())

    def file_batch(self, fixed_inputs: Mapping[str, Tensor]) -> int:
        """The batch size baked into the file's free input, 1 where it is free too."""
        shape = self._graph.input_shapes.get(self._main_input(fixed_inputs), ())
        return shape[0] or 1 if shape else 1

    def without_draws(self) -> OnnxModule | None:
        """A copy that gives the middle of each distribution in place of its draws; None where nothing draws."""
        graph = without_draws(self._graph)
        if graph is None:
            return None
        return OnnxModule(graph, self.output_name).to(next((b.device for b in self.buffers()), torch.device("cpu")))

    @property
    def smoothable(self) -> dict[str, tuple[str, ...]]:
        """The nodes that have a smooth backward, by operator: their names in the file."""
        return smoothable(self._graph)

    def smoothed(self, smooth: Smooth | None = None) -> OnnxModule | None:
        """A copy with the same values and a smooth backward (:mod:`robaudit.target.onnx.smoothing`), which shares the
        constants; None where no operator has one."""
        graph = smoothed(self._graph, smooth)
        if graph is None:
            return None
        twin = OnnxModule(graph, self.output_name)
        for name, attribute in twin._attributes.items():
            twin._buffers[attribute] = getattr(self, self._attributes[name])
        twin.batching, twin.layout = self.batching, self.layout
        return twin

    def stations(self) -> list[str]:
        """Values that everything passes on its way from the one input to the selected output, in order; see
        :mod:`robaudit.target.onnx.stations`."""
        return stations.stations(self._graph, self.input_names[0], self._selected()[0])

    def up_to(self, names: list[str]) -> OnnxModule:
        """What returns values on the way."""
        return OnnxModule(stations.up_to(self._graph, names)).to(self._device)

    def after(self, name: str, dtype: torch.dtype) -> OnnxModule:
        """What makes the selected output of a station."""
        return OnnxModule(stations.after(self._graph, name, dtype), self._selected()[0]).to(self._device)

    def between(self, first: str, second: str | None) -> list[str]:
        """``Op (node)`` of everything between two stations."""
        return stations.between(self._graph, first, second)

    @property
    def _device(self) -> torch.device:
        return next((b.device for b in self.buffers()), torch.device("cpu"))

    def float_twin(self, dtype: torch.dtype = torch.float32) -> OnnxModule:
        """A copy with every narrower floating-point type widened to this one."""
        twin = OnnxModule(passes.retyped(self._graph, dtype), self.output_name)
        return twin.to(next((b.device for b in self.buffers()), torch.device("cpu")))

    def forward(self, x: Tensor, /, **fixed_inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """Run the graph on a batch; the file's other inputs are given by name and serve the whole batch."""
        main = self._main_input(fixed_inputs)
        dtype = self._graph.input_types.get(main)
        if dtype is not None and dtype.is_floating_point and x.is_floating_point():
            x = x.to(dtype)
        if self.batching is None:
            self.calibrate_batching(x.shape[1:], x.dtype, **fixed_inputs)
        results = self.run(self.batching or "loop", x, fixed_inputs)
        if self.output_name is not None:
            return results[0]
        return dict(zip(self.output_names, results, strict=True))

    def calibrate_batching(
        self, sample_shape: Iterable[int], dtype: torch.dtype = torch.float32, /, **fixed_inputs: Tensor
    ) -> str:
        """Find out how a batch can run: "direct", else "vmap" over the batch-1 program, else a "loop".

        A way is taken only when it gives a batch of three distinct inputs the answers that each gets alone.
        """
        self.batching = batching.choose(self, tuple(sample_shape), dtype, fixed_inputs)
        return self.batching

    def optimise(self, x: Tensor, run: Callable[[Tensor], Tensor] | None = None) -> layout.Layout:
        """Choose how convolution weights lie in memory, by about a second of trial on [N, ...] inputs.

        ``run`` says what to measure, from inputs to one tensor; this module's first output if it is not given. A
        quantised graph is left alone: it must round as the file does, whatever the order of additions.
        """
        if run is None:
            run = self._first
        if not self.is_quantised:
            self.layout = layout.choose(self._convolution_weights(), run, x)
        return self.layout

    def use_compiler(self) -> None:
        """Compile what runs whole batches (torch.compile), which takes minutes at first."""
        self._compiles = True

    def drop_compiler(self) -> None:
        """Run it uncompiled after all."""
        self._compiles = False

    def _prepared(self, program: fx.GraphModule, *, dynamic: bool) -> Callable[..., Any]:
        """A program as it is run."""
        if not self._compiles:
            return program.forward
        if program not in self._compiled:
            self._compiled[program] = torch.compile(program, dynamic=dynamic)
        return self._compiled[program]

    def run(self, how: str, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Run a batch one of the three ways; outputs in order, the batch first."""
        extra = self.data_inputs(fixed_inputs)
        if how == "direct":
            general = self._general_program(x, fixed_inputs)
            program = self._prepared(general or self._program(x, fixed_inputs), dynamic=general is not None)
            results: tuple[Tensor, ...] = program(x, *extra)
            return results
        width = self.file_batch(fixed_inputs)
        exact = self._single(x, fixed_inputs)

        def single(sample: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
            row = sample.unsqueeze(0)
            outputs = exact(row if width == 1 else row.expand(width, *sample.shape), *more)
            return tuple(_only(value, width) for value in outputs)

        if how == "vmap":
            # torch's fused attention has no rule for vmap: it would warn, and loop.
            with sdpa_kernel(SDPBackend.MATH):
                ways = (0, *(None,) * len(extra))
                mapped: tuple[Tensor, ...] = torch.func.vmap(single, ways, randomness="different")(x, *extra)
            return mapped
        rows = [single(sample, *extra) for sample in x]
        return tuple(torch.stack(values) for values in zip(*rows, strict=True))

    def graph_module(
        self, shape: Iterable[int], dtype: torch.dtype = torch.float32, /, **fixed_inputs: Tensor
    ) -> fx.GraphModule:
        """The program for inputs of exactly this shape, to be read or compiled."""
        device = next((b.device for b in self.buffers()), torch.device("cpu"))
        return self._program(torch.empty(tuple(shape), dtype=dtype, device=device), fixed_inputs)

    def branches_on_data(self, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> bool:
        """Whether the values of an input, not its shape alone, decide which operators run."""
        return bool(self._single(x, fixed_inputs)._modules)

    def _single(self, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> fx.GraphModule:
        """The program for the file's own batch size."""
        return self._program(x[:1].expand(self.file_batch(fixed_inputs), *x.shape[1:]), fixed_inputs)

    def try_declared_shape(self) -> None:
        """Trace the input shape that the file declares, if any: variants that fail are found now."""
        if len(self.input_names) != 1:
            return
        name = self.input_names[0]
        shape = self._graph.input_shapes[name]
        if shape and all(size is not None for size in shape[1:]):
            sizes = [size or 1 for size in shape]
            self.graph_module(sizes, self._graph.input_types.get(name, torch.float32))

    @property
    def is_quantised(self) -> bool:
        """Whether rounding inside the graph can turn a last-bit difference into a visible one."""
        return any("Quantize" in node.op or node.op.startswith(_ROUNDING) for node in self._graph.walk())

    @property
    def rounds_to_half(self) -> bool:
        """Whether numbers are rounded to float16 on the way, as ONNX Runtime does in a float16 file."""
        return any(node.op == half.ROUND for node in self._graph.nodes)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._programs.clear()
        self._compiled.clear()
        self._derived.clear()
        # What becomes of two types tells a change of precision (module.double()) from one of device. It concerns
        # conversions and weights inside the nodes as well.
        kinds = {fn(torch.zeros((), dtype=dtype)).dtype for dtype in (torch.float16, torch.float32)}
        if len(kinds) == 1:
            self._graph = passes.retyped(self._graph, kinds.pop(), widen_only=False)
        return self

    def _first(self, x: Tensor) -> Tensor:
        return self.run(self.batching or "loop", x, {})[0]

    def _convolution_weights(self) -> list[Tensor]:
        nodes = (node for node in self._graph.walk() if node.op in _CONVOLUTIONS)
        names = dict.fromkeys(node.inputs[1] for node in nodes if len(node.inputs) > 1)
        held = [getattr(self, self._attributes[name]) for name in names if name in self._attributes]
        return [weight for weight in held if weight.dim() == 4 and weight.is_floating_point()]

    def _selected(self) -> tuple[str, ...]:
        return tuple(self.output_names) if self.output_name is None else (self.output_name,)

    def _main_input(self, fixed_inputs: Mapping[str, Tensor]) -> str:
        free = [name for name in self.input_names if name not in fixed_inputs]
        if len(free) != 1:
            raise ValueError(f"the graph has the inputs {self.input_names}: give all but one by name")
        return free[0]

    def data_inputs(self, fixed_inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Of the inputs given by name, those that are arguments of a program, in their order."""
        return tuple(fixed_inputs[name] for name in sorted(fixed_inputs) if not _steers(fixed_inputs[name]))

    def _general_program(self, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> fx.GraphModule | None:
        """One program for every batch size, or None when there is none."""
        key = ("any batch", *self._key(x.shape[1:], x, fixed_inputs))
        if key not in self._programs:
            try:
                traces = [self._trace((b, *x.shape[1:]), x.dtype, fixed_inputs) for b in BATCH_SIZES]
                made = self._assemble(generalise(traces), x.device)
            except _MISFIT:
                made = None
            self._remember(key, made)
        return self._programs[key]

    def _program(self, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> fx.GraphModule:
        """The program for x's very shape."""
        key = self._key(x.shape, x, fixed_inputs)
        made = self._programs.get(key)
        if made is None:
            made = self._assemble(self._trace(tuple(x.shape), x.dtype, fixed_inputs), x.device)
            self._remember(key, made)
        return made

    def _key(self, shape: torch.Size, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> tuple[Any, ...]:
        fixed = tuple(
            (name, tuple(value.reshape(-1).tolist()) if _steers(value) else (value.dtype, tuple(value.shape)))
            for name, value in sorted(fixed_inputs.items())
        )
        return (tuple(shape), x.dtype, x.device, self.output_name, fixed)

    def _remember(self, key: tuple[Any, ...], program: fx.GraphModule | None) -> None:
        while len(self._programs) >= _PROGRAMS:
            self._programs.pop(next(iter(self._programs)))
        self._programs[key] = program

    def _trace(self, shape: tuple[int, ...], dtype: torch.dtype, fixed_inputs: Mapping[str, Tensor]) -> Trace:
        inputs = {self._main_input(fixed_inputs): torch.empty(shape, dtype=dtype, device="meta")}
        for name, value in sorted(fixed_inputs.items()):
            inputs[name] = value.cpu() if _steers(value) else value.to("meta")
        names = {id(value): self._attributes[name] for name, value in self._graph.constants.items()}
        return trace(self._graph, inputs, self._selected(), names)

    def _assemble(self, made: Trace, device: torch.device) -> fx.GraphModule:
        held = {name: self._held(name, value, device) for name, value in made.constants.items()}
        return fx.GraphModule({**held, **made.modules}, made.graph)

    def _held(self, name: str, value: Tensor, device: torch.device) -> Tensor:
        """The constant on the device: a buffer of this module, or a copy that all programs share."""
        if name in self._buffers:
            buffer: Tensor = getattr(self, name)
            return buffer
        if id(value) not in self._derived:
            with torch.inference_mode(False):
                self._derived[id(value)] = (value, value.to(device))
        return self._derived[id(value)][1]


def _steers(value: Tensor) -> bool:
    return not value.is_floating_point() and value.numel() <= _STEERING


def _only(value: Tensor, width: int) -> Tensor:
    """The first row of an output that has one row a sample."""
    return value[0] if value.dim() and value.shape[0] == width else value

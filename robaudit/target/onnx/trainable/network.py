"""A graph as a function of its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from robaudit.errors import reason
from robaudit.target.onnx import batching
from robaudit.target.onnx.graph import Graph
from robaudit.target.onnx.module import OnnxModule
from robaudit.target.onnx.trainable.layers import Norm, Opened, in_training, opened
from robaudit.target.onnx.trainable.norms import has_norms, with_norms
from robaudit.target.running.trainable import State, Untrainable, Weight

__all__ = ["Network"]

SHALLOW = 8
"""Layers up to which a network trains without normalisations, and comes nearer to the target for it: of the demo's two
models, copies of two convolutions fooled 75 to 81 % without, 33 % with batch norms (2,000 queries)."""


class Network:
    """A graph as a function of its weights; see :class:`robaudit.target.running.trainable.Learner`.

    Args:
        graph: see ``untrained``.
        sample: [1, *file_shape] an input, for its shape and device.
        fixed: the file's other inputs, by name.
        norms: put batch norms back; None: into a deep network without others.

    Raises:
        Untrainable: it has no weights, or does not run.
    """

    def __init__(self, graph: Graph, sample: Tensor, fixed: Mapping[str, Tensor], *, norms: bool | None = None) -> None:
        plain = opened(graph)
        self._fixed = dict(fixed)
        self._device = sample.device
        self._way = self._batching(plain, sample)
        deep = plain.depth > SHALLOW and not has_norms(graph)
        put_back = (deep if norms is None else norms) and self._way == "direct"
        self._take(opened(with_norms(graph)) if put_back else plain, deep=deep)

    def _take(self, made: Opened, *, deep: bool) -> None:
        self._opened = made
        self._outputs = made.graph.outputs
        self._steady = self._module(made.graph)
        norms = [layer for layer in made.layers if isinstance(layer, Norm)]
        watches = bool(norms) and self._way == "direct"
        self._lesson = self._module(in_training(made.graph, norms)) if watches else self._steady
        self._norms = norms if watches else []
        # What a norm follows has its scale taken off; in training a norm finds its statistics by itself.
        normed = {norm.value for norm in norms}
        self._unscaled = [
            layer
            for layer in made.layers
            if (not watches if isinstance(layer, Norm) else deep and layer.value not in normed)
        ]
        self._inside = self._lesson
        if self._unscaled:
            inside = tuple(dict.fromkeys(layer.value for layer in self._unscaled))
            within = dataclasses.replace(made.graph, outputs=inside)
            self._inside = self._module(in_training(within, self._norms))

    def _module(self, graph: Graph) -> OnnxModule:
        return OnnxModule(dataclasses.replace(graph, output_types={})).to(self._device)

    def _batching(self, made: Opened, sample: Tensor) -> str:
        module = self._module(made.graph)
        generator = torch.Generator().manual_seed(0)
        state = {
            weight.name: weight.first(lambda _, shape: torch.randn(shape, generator=generator)).to(self._device)
            for weight in made.weights
        }
        state.update(_statistics(made, self._device))
        try:
            return batching.choose(module, tuple(sample.shape[1:]), sample.dtype, {**self._fixed, **state})
        except Exception as error:
            raise Untrainable(f"with its weights set anew it does not run ({reason(error)})") from error

    @property
    def weights(self) -> Sequence[Weight]:
        """What training sets."""
        return self._opened.weights

    @property
    def statistics(self) -> State:
        """Of normalisations."""
        return _statistics(self._opened, self._device)

    @property
    def watches_batches(self) -> bool:
        """Whether normalisations look at the batch in training."""
        return bool(self._norms)

    def answer(self, state: State, x: Tensor) -> Tensor:
        """[N, *file_shape] to [N, ...]."""
        return self._run(self._steady, state, x)[0]

    def lesson(self, state: State, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The answers in training, and the statistics of these inputs."""
        found = self._run(self._lesson, state, x)
        names = [name for norm in self._norms for name in (norm.mean, norm.variance)]
        return found[0], {name: value.detach() for name, value in zip(names, found[1:], strict=True)}

    @torch.no_grad()
    def scaled(self, state: State, x: Tensor) -> dict[str, Tensor]:
        """The state, its statistics those on x; of a deep network, every layer's output on x has variance 1.

        Source: Mishkin and Matas 2016, "All you need is a good init", arXiv:1511.06422, algorithm 1. Layers are scaled
        one after the other, as each changes what the next one sees.
        """
        state = dict(state)
        places = {name: place for place, name in enumerate(self._inside.output_names)}
        for layer in self._unscaled:
            value = self._run(self._inside, state, x)[places[layer.value]].float()
            if isinstance(layer, Norm):
                over = [axis for axis in range(value.dim()) if axis != 1]
                state[layer.mean] = value.mean(over)
                state[layer.variance] = value.var(over, correction=0)
                continue
            spread = float(value.std()) if value.numel() > 1 else 0.0
            if 0 < spread < float("inf"):
                state[layer.weights[0]] = state[layer.weights[0]] / spread
        return {**state, **self.lesson(state, x)[1]}

    def _run(self, module: OnnxModule, state: State, x: Tensor) -> tuple[Tensor, ...]:
        x = x.float() if x.is_floating_point() else x
        return module.run(self._way, x, {**self._fixed, **state})


def _statistics(made: Opened, device: torch.device) -> dict[str, Tensor]:
    found = {}
    for layer in made.layers:
        if isinstance(layer, Norm):
            size = made.sizes[layer.mean]
            found[layer.mean] = torch.zeros(size, device=device)
            found[layer.variance] = torch.ones(size, device=device)
    return found

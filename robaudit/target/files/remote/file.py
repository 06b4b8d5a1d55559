"""A classifier behind HTTP as an audit sees a file: it answers, and has no gradient."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.errors import AuditError, UsageError
from robaudit.files import sha256_file
from robaudit.target.files.onnx.runtime import file_values
from robaudit.target.files.remote.answers import Answers, key_of
from robaudit.target.files.remote.endpoint import read_endpoint
from robaudit.target.files.remote.exchange import Exchange, Job
from robaudit.target.files.remote.inference_protocol import open_protocol
from robaudit.target.files.remote.secrets import read_secret
from robaudit.target.files.remote.template import Template
from robaudit.target.inputs.discover import FileInput
from robaudit.target.inputs.several import FixedInput, choose_input
from robaudit.target.onnx import OnnxModule
from robaudit.target.outputs.bounds import Interval
from robaudit.target.outputs.declared import Choice
from robaudit.target.outputs.peel import Tail
from robaudit.target.outputs.rows import read_rows
from robaudit.target.outputs.wiring import Wiring
from robaudit.target.running.smooth import Smooth
from robaudit.target.running.trainable import Learner, Untrainable
from robaudit.target.running.watch import UNWATCHED, Watch

if TYPE_CHECKING:
    from robaudit.target.files.remote.client import Client

__all__ = ["RemoteFile", "open_remote"]

NO_GRADIENT = "it is behind HTTP, which gives answers and no gradients"
ASKED_TWICE = 3
"""Inputs that are asked a second time, to find out whether one answer stands for all to the same input."""
SAME = 1e-4
"""Difference over the largest number within which two answers are alike: a runtime adds up in another order."""


class RemoteFile:
    """Asks an endpoint: ``choose_input`` and ``choose_output`` come before ``run``.

    Args:
        path: of the ``endpoint.yaml``.
        client: connected.
        exchange: the protocol, settled for the model.
        answers: where all that is answered is kept.
        device: that tensors live on.
    """

    format = "endpoint"
    training: tuple[str, ...] = ()
    cutting: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()
    wiring: Wiring | None = None
    twin: OnnxModule | None = None
    bounds: Interval | None = None
    watch: Watch = UNWATCHED  # a call that hangs is ended by its own timeout, and asked again

    def __init__(self, path: Path, client: Client, exchange: Exchange, answers: Answers, device: torch.device) -> None:
        self.path, self.sha256, self.size = path, sha256_file(path), path.stat().st_size
        self.client, self.answered, self.device = client, answers, device
        self.external: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        self.no_gradient: str | None = NO_GRADIENT
        self.inputs, self.outputs = exchange.inputs, exchange.outputs
        self.fixed: list[FixedInput] = []
        self._exchange = exchange
        self._choice: Choice | None = None
        self._values: tuple[Any, ...] | None = None
        self._twice: list[bool] = []

    def choose_input(self, fixed: Mapping[str, str], wanted: str | None) -> FileInput:
        """Settle which input is attacked and what the others hold.

        Raises:
            UsageError: others are without a value, or the attacked one has no shape or holds no numbers.
        """
        declared, self.fixed = choose_input(self.path, self.inputs, fixed, wanted)
        if declared.shape is None or len(declared.shape) < 2:
            raise UsageError(f"the input {declared.name!r} of {self.path} has no batch and feature dimensions")
        try:
            self._dtype = np.dtype(declared.dtype)
        except TypeError:
            raise UsageError(
                f"the input {declared.name!r} of {self.path} holds texts; robaudit perturbs numbers only"
            ) from None
        if self._dtype.kind not in "fiu":
            raise UsageError(
                f"the input {declared.name!r} of {self.path} is of type {declared.dtype}; robaudit perturbs numbers "
                "only"
            )
        self.input = FileInput(declared.name, declared.shape, declared.dtype)
        return self.input

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        shown = self.client.endpoint.address.shown
        return {
            "judge": f"{shown}, {self._exchange.words}",
            "outputs": [f"{o.name} {o.size}" for o in self.outputs],
            "endpoint": {
                "url": shown,
                "protocol": self.client.endpoint.protocol,
                "batch": self.client.endpoint.batch,
                **self._exchange.told,
            },
        }

    def choose_output(self, choice: Choice, values: tuple[Any, ...] | None) -> None:
        """Settle what ``run`` reads; ``values``: what the server calls its classes, in the order of the scores."""
        self._choice, self._values = choice, values

    def find_tail(self, choice: Choice) -> tuple[Tail | None, tuple[Any, ...] | None]:
        """Nothing is known of how the outputs are made; the classes are known where the endpoint's file says them."""
        return Tail(choice.output.name), self._exchange.classes

    def decides(self, name: str) -> bool:
        """Unknown: the model is not looked into."""
        return False

    def import_twin(self, tail: Tail) -> None:
        """There is nothing to build."""

    def plain(self, x: Tensor, *, width: int | None = None) -> Tensor | None:
        """There is no runtime without optimisations."""
        return None

    def differentiable(self, x: Tensor) -> Tensor:
        """Refuse it.

        Raises:
            AuditError: always.
        """
        raise AuditError(NO_GRADIENT)

    unsmooth = NO_GRADIENT

    def smoothly(self, x: Tensor, smooth: Smooth) -> Tensor:
        """Refuse it.

        Raises:
            AuditError: always.
        """
        raise AuditError(NO_GRADIENT)

    def fresh(self) -> RemoteFile:
        """The same: the server is not started again."""
        return copy.copy(self)

    def start_afresh(self) -> None:
        """Refuse it: what the server keeps between calls is the server's.

        Raises:
            UsageError: always.
        """
        raise UsageError("--fresh-state is for TorchScript and torch.export files; an endpoint is asked as it is")

    def as_written(self) -> OnnxModule | None:
        """There is no graph to read."""
        return None

    def features(self, *, smooth: bool = False) -> Callable[[Tensor], Tensor] | None:
        """None: there is no graph to look into."""
        return None

    def learner(self, sample: Tensor) -> Learner:
        """There is no graph to train."""
        raise Untrainable("an endpoint does not show its graph")

    def other_inputs(self) -> dict[str, Tensor]:
        """The inputs that keep their values are of no use to a graph that is not there."""
        return {}

    def answers(self, x: Tensor, width: int) -> list[dict[str, Any]]:
        """Every output to each of the inputs [N, *file_shape], asked alone (``width`` times, in batches of that size).

        Raises:
            RobauditError: the server refuses one.
        """
        found = self._ask(self._as_file(x), [o.name for o in self.outputs], width)
        return [{name: np.repeat(v[None], width, axis=0) for name, v in row.items()} for row in found]

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """The chosen output, as far as it is known without asking again, else asked.

        Args:
            x: [N, *file_shape] in the model's units.
            width: rows of one request, each of which holds one input repeated; None: several inputs in a request.

        Returns:
            [N, K] as :meth:`robaudit.target.files.model_file.ModelFile.run` has it.

        Raises:
            RobauditError: the server refuses an input, or does not answer.
        """
        assert self._choice is not None
        choice, names = self._choice, self._choice.names
        rows = self._ask(self._as_file(x), names, width)
        results = {name: np.stack([row[name] for row in rows]) for name in names}
        label = None if choice.label is None else choice.label.name
        found = read_rows(results, choice.columns or names[:1], len(rows), choice.role, self._values, label)
        return torch.from_numpy(found.astype(np.float32) if found.dtype == np.float16 else found).to(self.device)

    def _as_file(self, x: Tensor) -> NDArray[Any]:
        return file_values(x.detach().cpu().numpy(), self._dtype)

    def _ask(self, values: NDArray[Any], names: Sequence[str], width: int | None) -> list[dict[str, NDArray[Any]]]:
        """Each input's outputs: from what was answered before, else from the server, in full requests."""
        how = "together" if width is None and self.client.endpoint.batch > 1 else f"alone {width or 1}"
        keys = [key_of(row, how, self._others, *names) for row in values]
        found: dict[int, dict[str, NDArray[Any]]] = {}
        unknown: list[int] = []
        shared: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if (answer := self.answered.take(key)) is not None:
                found[i] = answer
            elif not (self.answered.repeatable and key in shared):
                unknown.append(i)
                shared[key] = i
        size = self.client.endpoint.batch if width is None else 1
        parts = [unknown[i : i + size] for i in range(0, len(unknown), size)]
        self.client.send([self._job(values[part], [keys[i] for i in part], names, width or 1) for part in parts])
        for i, key in enumerate(keys):
            if i not in found:
                answer = self.answered.take(key)
                assert answer is not None
                found[i] = answer
        self._ask_twice(values, keys, names, width)
        return [found[i] for i in range(len(keys))]

    def _ask_twice(self, values: NDArray[Any], keys: Sequence[bytes], names: Sequence[str], width: int | None) -> None:
        """Find out on the first inputs whether the server answers alike each time."""
        for row, key in zip(values, dict.fromkeys(keys), strict=False):
            if len(self._twice) >= ASKED_TWICE or width is None:
                return
            if self.answered.count(key) < 2:
                self.client.send([self._job(row[None], [key], names, width)])
            self._twice.append(_alike(self.answered.nth(key, 0), self.answered.nth(key, 1)))
            self.answered.repeatable = len(self._twice) == ASKED_TWICE and all(self._twice)

    def _job(self, rows: NDArray[Any], keys: Sequence[bytes], names: Sequence[str], width: int) -> Job:
        """The request for some inputs, each ``width`` times."""
        count = len(rows) * width
        inputs = {fixed.declared.name: fixed.rows(count) for fixed in self.fixed}
        inputs[self.input.name] = np.repeat(rows, width, axis=0)

        def read(headers: Mapping[str, str], body: bytes) -> None:
            answers = self._exchange.answers(headers, body, count, names)
            for key, answer in zip(keys, answers[::width], strict=True):
                self.answered.remember(key, answer)

        return Job(self._exchange.request(inputs, names), count, read)

    @functools.cached_property
    def _others(self) -> str:
        """The values of the other inputs, as they make queries the same."""
        return ",".join(f"{fixed.declared.name}={key_of(fixed.value).hex()}" for fixed in self.fixed)


def _alike(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two answers are the same but for the last digits."""
    for name, first in one.items():
        second = other[name]
        if first.shape != second.shape:
            return False
        if first.dtype.kind != "f":
            if not np.array_equal(first, second):
                return False
            continue
        size = float(np.nanmax(np.abs(first), initial=0.0)) if np.isfinite(first).any() else 0.0
        if not np.allclose(first, second, rtol=0, atol=SAME * (size if math.isfinite(size) else 1.0), equal_nan=True):
            return False
    return True


def open_remote(path: Path, device: torch.device, answers: Answers | None) -> RemoteFile:
    """Connect to the endpoint that a file describes.

    Args:
        path: of the ``endpoint.yaml``.
        device: that tensors live on.
        answers: where all that is answered is kept; None: this model may not be an endpoint.

    Raises:
        UsageError: the file or the secret cannot be used, or the server does not say what the model is.
    """
    endpoint = read_endpoint(path)
    if answers is None:
        raise UsageError(f"{path} is an endpoint, which can be audited and inspected, and is of no use otherwise")
    try:
        from robaudit.target.files.remote.client import Client
    except ModuleNotFoundError as error:
        raise UsageError(f"endpoints take {error.name}: pip install 'robaudit[remote]'") from error
    client = Client(endpoint, read_secret(endpoint.auth, path.parent), answers, path.parent)
    if endpoint.protocol == "template":
        exchange: Exchange = Template(endpoint)
    else:
        exchange = open_protocol(endpoint, client.get, client.post)
    client.health = exchange.health
    answers.same_server(exchange.told, shown=endpoint.address.shown)
    return RemoteFile(path, client, exchange, answers, device)

"""How inputs become a request and a response becomes outputs, whatever the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robaudit.target.inputs.several import DeclaredInput
from robaudit.target.outputs.declared import FileOutput

__all__ = ["BadAnswerError", "Exchange", "Job", "Outgoing", "checked_rows"]


class BadAnswerError(Exception):
    """A response of status 200 that does not hold the answers; the text says what is wrong with it."""


@dataclass(frozen=True)
class Outgoing:
    """A request.

    Args:
        url: that it is posted to.
        body: bytes of it.
        headers: of it; without secrets.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A request, and what becomes of its answer.

    Args:
        outgoing: what is sent.
        rows: inputs in it.
        read: takes headers and body, and keeps the answers before anybody uses them.
    """

    outgoing: Outgoing
    rows: int
    read: Callable[[Mapping[str, str], bytes], None]


class Exchange(Protocol):
    """A protocol, settled for one model."""

    inputs: list[DeclaredInput]
    outputs: list[FileOutput]
    told: Mapping[str, Any]
    """What the server says of itself and the model."""
    words: str
    """The protocol and the server, for reports."""
    health: str | None
    """Address that answers 200 where the server is ready."""
    classes: tuple[str, ...] | None
    """The classes in order, where they are declared."""

    def request(self, inputs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Outgoing:
        """The request for outputs to inputs by name, the batch first."""
        ...

    def answers(
        self, headers: Mapping[str, str], body: bytes, rows: int, names: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """Each input's outputs, without the batch.

        Raises:
            BadAnswerError: the response does not hold them.
        """
        ...


def checked_rows(array: NDArray[Any], rows: int, name: str) -> NDArray[Any]:
    """An output with a row for each input.

    Raises:
        BadAnswerError: it is empty, or has another number of rows.
    """
    if array.size == 0:
        raise BadAnswerError(f"the output {name} is empty (shape {'x'.join(map(str, array.shape)) or 'none'})")
    if array.ndim == 0 or (len(array) != rows and rows == 1):
        array = array[None]
    if len(array) != rows:
        shape = "x".join(map(str, array.shape))
        raise BadAnswerError(f"the output {name} has shape {shape} for {rows} inputs")
    return np.asarray(array)

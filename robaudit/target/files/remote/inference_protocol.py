"""The Open Inference Protocol v2 over HTTP, as KServe, Triton, MLServer and OpenVINO Model Server speak it.

https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import UsageError
from robaudit.printable import plain
from robaudit.target.files.remote.endpoint import Endpoint, Tensor
from robaudit.target.files.remote.exchange import BadAnswerError, Outgoing, checked_rows
from robaudit.target.inputs.several import DeclaredInput
from robaudit.target.outputs.declared import FileOutput

__all__ = ["InferenceProtocol", "open_protocol"]

DATATYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
NAMES = {name: datatype for datatype, name in DATATYPES.items()}
BINARY = ("binary_tensor_data", "binary_data")
"""What servers call the extension that sends tensors as bytes."""
LENGTH = "Inference-Header-Content-Length"
INPUT = "input: {name: ..., shape: [null, ...], dtype: float32}"
OUTPUTS = "outputs: [{name: ..., shape: [null, 10], dtype: float32}]"
Get = Callable[[str], Any]
"""The JSON at an address."""
Post = Callable[[str, Any], Any]


class InferenceProtocol:
    """Requests and responses of one model.

    Args:
        model: address of the model.
        server: what ``GET /v2`` says.
        metadata: what the model's address says.
        endpoint: what the user says in place of it.
    """

    def __init__(self, model: str, server: Mapping[str, Any], metadata: Mapping[str, Any], endpoint: Endpoint) -> None:
        self._model = model
        self._binary = any(name in BINARY for name in server.get("extensions") or ())
        inputs = [endpoint.input] if endpoint.input is not None else _tensors(metadata, "inputs")
        outputs = endpoint.outputs if endpoint.outputs is not None else _tensors(metadata, "outputs")
        for what, found, key in (("inputs", inputs, INPUT), ("outputs", outputs, OUTPUTS)):
            if not found:
                raise UsageError(f"{model} does not tell its {what}; write them into an endpoint.yaml ({key})")
        self.inputs = [DeclaredInput(i.name, i.shape, i.dtype) for i in inputs]
        self.outputs = [FileOutput(o.name, o.shape, o.dtype) for o in outputs]
        self.told: Mapping[str, Any] = {
            "server": [server.get("name"), server.get("version")],
            "model": {name: metadata.get(name) for name in ("name", "versions", "platform", "inputs", "outputs")},
        }
        name = plain(f"{server.get('name') or 'server'} {server.get('version') or ''}".strip(), 80)
        self.words = f"Open Inference Protocol v2 of {name}" + (", tensors as bytes" if self._binary else "")
        base = model.partition("/models/")[0]
        self.classes: tuple[str, ...] | None = None
        self.health: str | None = f"{base}/health/ready"

    def request(self, inputs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Outgoing:
        """See :class:`robaudit.target.files.remote.exchange.Exchange`."""
        tensors: list[dict[str, Any]] = []
        raw: list[bytes] = []
        for name, values in inputs.items():
            tensor: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": NAMES[str(values.dtype)]}
            if self._binary:
                raw.append(np.ascontiguousarray(values).tobytes())
                tensor["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                tensor["data"] = values.ravel().tolist()
            tensors.append(tensor)
        wanted: list[dict[str, Any]] = [{"name": name} for name in names]
        if self._binary:
            wanted = [{**output, "parameters": {"binary_data": True}} for output in wanted]
        head = json.dumps({"inputs": tensors, "outputs": wanted}).encode()
        if not self._binary:
            return Outgoing(f"{self._model}/infer", head, {"Content-Type": "application/json"})
        headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}
        return Outgoing(f"{self._model}/infer", b"".join([head, *raw]), headers)

    def answers(
        self, headers: Mapping[str, str], body: bytes, rows: int, names: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """See :class:`robaudit.target.files.remote.exchange.Exchange`."""
        length = next((int(v) for k, v in headers.items() if k.lower() == LENGTH.lower() and v.isdigit()), len(body))
        try:
            content = json.loads(body[:length])
            tensors = {tensor["name"]: tensor for tensor in content["outputs"]}
        except (ValueError, TypeError, LookupError, RecursionError):
            raise BadAnswerError("the response is no JSON with outputs") from None
        arrays: dict[str, NDArray[Any]] = {}
        place = length
        for name, tensor in tensors.items():
            size = _octets(tensor)
            raw = None if size is None else body[place : place + size]
            place += size or 0
            if name in names:
                arrays[name] = checked_rows(_array(tensor, raw), rows, name)
        if missing := [name for name in names if name not in arrays]:
            raise BadAnswerError(f"the response has no output {missing[0]} (it has {', '.join(map(str, tensors))})")
        return [{name: np.asarray(array[i]) for name, array in arrays.items()} for i in range(rows)]


def _octets(tensor: Mapping[str, Any]) -> int | None:
    """Bytes that a tensor has behind the JSON; None where its values stand in it."""
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (not isinstance(size, int) or size < 0):
        raise BadAnswerError(f"the output {tensor['name']} has a binary_data_size of {plain(size, 40)}")
    return size


def _array(tensor: Mapping[str, Any], raw: bytes | None) -> NDArray[Any]:
    """A tensor of a response; shape and number of values are compared before it is believed."""
    name = tensor["name"]
    try:
        shape = [int(size) for size in tensor["shape"]]
        kind = str(tensor["datatype"])
        if kind == "BYTES":
            values: NDArray[Any] = np.array([str(v) for v in _flat(tensor["data"])], dtype=object)
        elif raw is not None:
            values = np.frombuffer(raw, np.dtype(DATATYPES[kind]).newbyteorder("<"))
        else:
            values = np.array([math.nan if v is None else v for v in _flat(tensor["data"])], dtype=DATATYPES[kind])
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadAnswerError(f"the output {name} cannot be read ({type(error).__name__}: {plain(error, 80)})") from None
    if math.prod(shape) != values.size:
        raise BadAnswerError(f"the output {name} has {values.size} values for a shape of {'x'.join(map(str, shape))}")
    return values.reshape(shape)


def _flat(data: Any) -> list[Any]:
    """Values in row-major order, which servers may nest."""
    return [value for item in data for value in _flat(item)] if isinstance(data, list) else [data]


def _tensors(metadata: Mapping[str, Any], which: str) -> list[Tensor]:
    """Tensors that the metadata declare; those that cannot be read are as good as missing."""
    found = []
    for tensor in metadata.get(which) or ():
        try:
            kind = tensor["datatype"]
            dtype = "string" if kind == "BYTES" else DATATYPES[kind]
            shape = tuple(None if int(size) < 1 else int(size) for size in tensor["shape"])
            found.append(Tensor.model_construct(name=str(tensor["name"]), shape=shape, dtype=dtype))
        except (LookupError, TypeError, ValueError):
            return []
    return found


def open_protocol(endpoint: Endpoint, get: Get, post: Post) -> InferenceProtocol:
    """Read what server and model say of themselves.

    Args:
        endpoint: with the address of the model, or of a server of one model.
        get: the JSON at an address, and ``post`` likewise.

    Raises:
        UsageError: neither the address nor the server says which model is meant, or what it takes.
    """
    shown = endpoint.address.shown.removesuffix("/infer")
    base, _, name = shown.partition("/models/")
    base = base if base.endswith("/v2") else f"{base}/v2" if not name else base
    server = _table(get(base), base)
    model = f"{base}/models/{name or quote(_only_model(base, post), safe='')}"
    return InferenceProtocol(model, server, _table(get(model), model), endpoint)


def _only_model(base: str, post: Post) -> str:
    """The name of the model, where a server lists one alone (an extension of Triton and MLServer)."""
    try:
        listed = [str(entry["name"]) for entry in post(f"{base}/repository/index", {})]
    except (UsageError, TypeError, LookupError):
        listed = []
    if len(listed) != 1:
        known = f" (it has {', '.join(plain(name, 60) for name in listed[:8])})" if listed else ""
        raise UsageError(f"{base} does not say which model is meant{known}; give {base}/models/NAME")
    return listed[0]


def _table(content: Any, address: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise UsageError(
            f"{address} does not answer as the Open Inference Protocol says; is it the address of a model?"
        )
    return content

"""Reads an ONNX file that is not trusted: limits first, weights from its own folder alone, then the runtime.

ONNX is data without code, but a parser's or a runtime's input all the same. ONNX Runtime opens external data by
itself, from the working directory when it is given bytes: it therefore gets a model that refers to no file any more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from robaudit.errors import RobauditError, UsageError
from robaudit.files import check_known, steady
from robaudit.memory import available_memory
from robaudit.target.files.confined import Neighbours, open_regular
from robaudit.target.files.foreign import of_name
from robaudit.target.files.onnx.nesting import check_nesting
from robaudit.target.files.sniff import PROTOBUF

__all__ = ["OnnxSource", "parse", "read_onnx", "tensors"]

NO_MODEL = "neither an ONNX model nor a TorchScript archive"
MOST_DIMENSIONS = 64
COPIES = 3
"""Copies of the weights that loading needs at its peak: parsed, in ONNX Runtime, in the torch twin."""
FLOAT8 = ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0")
BITS = {
    onnx.TensorProto.FLOAT: 32,
    onnx.TensorProto.UINT8: 8,
    onnx.TensorProto.INT8: 8,
    onnx.TensorProto.UINT16: 16,
    onnx.TensorProto.INT16: 16,
    onnx.TensorProto.INT32: 32,
    onnx.TensorProto.INT64: 64,
    onnx.TensorProto.BOOL: 8,
    onnx.TensorProto.FLOAT16: 16,
    onnx.TensorProto.DOUBLE: 64,
    onnx.TensorProto.UINT32: 32,
    onnx.TensorProto.UINT64: 64,
    onnx.TensorProto.COMPLEX64: 64,
    onnx.TensorProto.COMPLEX128: 128,
    onnx.TensorProto.BFLOAT16: 16,
} | {
    getattr(onnx.TensorProto, name): bits
    for bits, names in {4: ("UINT4", "INT4", "FLOAT4E2M1"), 2: ("UINT2", "INT2"), 8: FLOAT8}.items()
    for name in names
    if hasattr(onnx.TensorProto, name)
}
TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


@dataclass(frozen=True)
class OnnxSource:
    """A checked model.

    Args:
        path: of the file.
        sha256: of the bytes that were parsed.
        model: parsed, with all its weights.
        content: what ONNX Runtime parses; it names no files.
        size: bytes of the file.
        external: SHA-256 of each file that weights were read from, by its name in the model.
        weights: initialisers that ``content`` leaves out because they do not fit into one protobuf message.
    """

    path: Path
    sha256: str
    model: onnx.ModelProto
    content: bytes = field(repr=False)
    size: int
    external: dict[str, str] = field(default_factory=dict)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)

    def session(self, options: onnxruntime.SessionOptions, providers: list[Any]) -> onnxruntime.InferenceSession:
        """An ONNX Runtime session of exactly these bytes."""
        # Else bytes could pass for the runtime's own format, which nobody has checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if self.weights:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self.weights.values()]
            options.add_external_initializers(list(self.weights), values)
        # Its own way to fall back speaks on stdout, which is the report's.
        try:
            session = onnxruntime.InferenceSession(self.content, options, providers=providers, enable_fallback=0)
        except (ValueError, RuntimeError):
            if len(providers) == 1:
                raise
            session = onnxruntime.InferenceSession(self.content, options, providers=providers[-1:], enable_fallback=0)
        session.robaudit_weights = self.weights  # it points into their memory
        return session


def read_onnx(path: Path) -> OnnxSource:
    """Parse an ONNX file and the weights that it keeps in other files.

    Raises:
        UsageError: it is no ONNX model, is too large or too deep, or wants weights that are missing or elsewhere.
    """
    content, sha256 = _content(path)
    size = len(content)
    model = parse(path, content)
    outer: list[onnx.TensorProto] = []
    inner: list[onnx.TensorProto] = []
    for place, tensor in enumerate(tensors(path, model)):
        if not _elsewhere(tensor):
            _check_held(path, tensor)
        else:  # the walk begins with the graph's own initialisers
            (outer if place < len(model.graph.initializer) else inner).append(tensor)
    if not outer and not inner:
        return OnnxSource(path, sha256, model, content, size)
    found, digests = _external(path, [*inner, *outer], size)
    for tensor, data in zip(inner, found, strict=False):
        _embed(tensor, data)
    weights: dict[str, NDArray[Any]] = {}
    if len(content) + sum(map(len, found)) > PROTOBUF:
        content = model.SerializeToString()
        weights = {t.name: _array(path, t, data) for t, data in zip(outer, found[len(inner) :], strict=True)}
    for tensor, data in zip(outer, found[len(inner) :], strict=True):
        _embed(tensor, data)
    content = content if weights else model.SerializeToString()
    return OnnxSource(path, sha256, model, content, size, digests, weights)


def parse(path: Path, content: bytes | None = None) -> onnx.ModelProto:
    """The model in a file, neither too large nor too deep; its weights are not looked at.

    Raises:
        UsageError: it is no such model.
    """
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(_content(path)[0] if content is None else content)
    except RobauditError:
        raise
    except Exception as error:  # protobuf's own types differ between its implementations
        raise UsageError(f"{path} is {of_name(path) or NO_MODEL + ', or is truncated; export it again'}") from error
    if not model.graph.node or not model.graph.output:
        other = of_name(path)
        raise UsageError(f"{path} is {other or NO_MODEL + ': it holds no graph; export the model again'}")
    check_nesting(path, model)
    return model


def _elsewhere(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data)


def _content(path: Path) -> tuple[bytes, str]:
    """The bytes of a file, read once, and their SHA-256."""
    try:
        with open_regular(path, peek=True) as file, steady(file, path):
            size = file.seek(0, 2)
            file.seek(0)
            if size > PROTOBUF:
                raise UsageError(
                    f"{path} has {size / 2**30:.1f} GB, and an ONNX file holds 2 GB at most; export it with external "
                    "data"
                )
            _afford(path, size)
            content = file.read(size)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    check_known(path, sha256)
    return content, sha256


def _afford(path: Path, size: int) -> None:
    free = available_memory()
    if free is not None and COPIES * size > free:
        raise UsageError(
            f"{path} holds {size / 2**30:.1f} GB of weights and would need about {COPIES * size / 2**30:.1f} GB of "
            f"memory, of which {free / 2**30:.1f} GB are free"
        )


def tensors(path: Path, model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor, the graph's own initialisers first, then those of attributes, branches, functions."""
    graphs = [part for info in model.training_info for part in (info.initialization, info.algorithm)]
    graphs.append(model.graph)
    attributes = [a for f in model.functions for a in f.attribute_proto]
    attributes += [a for f in model.functions for node in f.node for a in node.attribute]
    while graphs or attributes:
        sparse: list[onnx.SparseTensorProto] = []
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            sparse += graph.sparse_initializer
            attributes += [a for node in graph.node for a in node.attribute]
        else:
            attribute = attributes.pop()
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse += [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            sparse += attribute.sparse_tensors
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs
        for tensor in sparse:
            # Both runtimes write it out: a few bytes can stand for more numbers than any memory holds.
            _afford(path, _count(path, tensor.values.name, tensor.dims) * 8)
            yield tensor.values
            yield tensor.indices


def _count(path: Path, name: str, dims: Any) -> int:
    if len(dims) > MOST_DIMENSIONS or any(d < 0 for d in dims) or math.prod(dims) >= 2**60:
        shape = "x".join(map(str, dims[:MOST_DIMENSIONS]))
        raise UsageError(f"{path} holds the tensor {name!r} of impossible shape {shape}; refused")
    return math.prod(dims)


def _check_held(path: Path, tensor: onnx.TensorProto) -> None:
    """Refuse a tensor with fewer numbers than its shape says: nothing may be allocated for what is not there."""
    count, bits = _count(path, tensor.name, tensor.dims), BITS.get(tensor.data_type)
    if tensor.data_type == onnx.TensorProto.STRING:
        held, needed = len(tensor.string_data), count
    elif bits is None:
        return
    elif tensor.HasField("raw_data"):
        held, needed = len(tensor.raw_data), (count * bits + 7) // 8
    else:
        held, needed = sum(len(getattr(tensor, name)) for name in TYPED), count if bits >= 8 else -(-count * bits // 8)
    if held < needed:
        shape = "x".join(map(str, tensor.dims))
        raise UsageError(f"{path} lacks data of its tensor {tensor.name!r} of shape {shape}; export the model again")


def _external(path: Path, tensors: list[onnx.TensorProto], size: int) -> tuple[list[bytes], dict[str, str]]:
    """(the bytes of each tensor, all from files in the model's folder; SHA-256 of those files)."""
    places = [(tensor, {e.key: e.value for e in tensor.external_data}) for tensor in tensors]
    wanted = [_extent(path, tensor, place) for tensor, place in places]
    _afford(path, size + sum(length or 0 for _, length in wanted))
    found = []
    with Neighbours(path) as files:
        for (tensor, place), (offset, length) in zip(places, wanted, strict=True):
            found.append(files.read(place.get("location", ""), offset, length))
            bits = BITS.get(tensor.data_type)
            if bits is not None and len(found[-1]) < (_count(path, tensor.name, tensor.dims) * bits + 7) // 8:
                shape = "x".join(map(str, tensor.dims))
                raise UsageError(f"{path} keeps fewer data for its tensor {tensor.name!r} than its shape {shape} needs")
        return found, files.digests()


def _extent(path: Path, tensor: onnx.TensorProto, place: dict[str, str]) -> tuple[int, int | None]:
    try:
        offset, length = int(place.get("offset") or 0), int(place["length"]) if place.get("length") else None
        if offset < 0 or (length is not None and length < 0):
            raise ValueError
    except ValueError as error:
        raise UsageError(
            f"{path} gives its tensor {tensor.name!r} an impossible place in {place.get('location')!r}; refused"
        ) from error
    bits = BITS.get(tensor.data_type)
    if length is None and bits is not None:
        length = (_count(path, tensor.name, tensor.dims) * bits + 7) // 8
    return offset, length


def _embed(tensor: onnx.TensorProto, data: bytes) -> None:
    tensor.raw_data = data
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.DEFAULT


def _array(path: Path, tensor: onnx.TensorProto, data: bytes) -> NDArray[Any]:
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if BITS.get(tensor.data_type, 0) < 8 or kind.kind not in "biuf":
        raise UsageError(
            f"{path} has more than 2 GB of weights, and {tensor.name!r} among them is of a type that cannot be passed "
            "on; convert it to float32 or int8"
        )
    return np.frombuffer(data, dtype=kind, count=math.prod(tensor.dims)).reshape(tuple(tensor.dims))

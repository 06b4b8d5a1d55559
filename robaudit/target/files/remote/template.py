"""Requests and responses of a service with a form of its own, as an ``endpoint.yaml`` describes them."""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robaudit.errors import AuditError, UsageError
from robaudit.target.files.remote.endpoint import Endpoint
from robaudit.target.files.remote.exchange import BadAnswerError, Outgoing, checked_rows
from robaudit.target.files.remote.paths import follow
from robaudit.target.inputs.several import DeclaredInput
from robaudit.target.outputs.declared import FileOutput

__all__ = ["Template"]

ONE = ("$image", "$row")
"""What stands for the one input of a request; the others for a list of them."""
MANY = ("$images", "$rows")


class Template:
    """Requests and responses as ``request`` and ``response`` say.

    Args:
        endpoint: of protocol ``template``.

    Raises:
        UsageError: the template sends no input, or images of an input that holds none.
    """

    health: str | None = None

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.input is not None
        assert endpoint.request is not None
        assert endpoint.response is not None
        self._url, self._request, self._response = endpoint.url, endpoint.request, endpoint.response
        given = endpoint.input
        self.inputs = [DeclaredInput(given.name, given.shape, given.dtype)]
        self.outputs = [self._output()]
        self.told: Mapping[str, Any] = {"template": endpoint.identity()}
        self.words = "as its template says"
        self.classes = self._response.classes
        used = set(_strings(self._request.multipart or self._request.body))
        marks = used & {*ONE, *MANY}
        if not marks:
            raise UsageError(f"{endpoint.address.shown}: request sends no input; write $image, $row, $images or $rows")
        if marks & set(ONE) and endpoint.batch > 1:
            raise UsageError(f"max_batch: {endpoint.batch} takes $images or $rows in the request, which hold several")
        shape = given.shape or ()
        if any("image" in mark for mark in marks) and not (given.dtype == "uint8" and _is_image(shape)):
            raise UsageError(
                "request sends images, which takes input: {dtype: uint8, shape: [null, HEIGHT, WIDTH, 3]} (channels 1 "
                "or 3, last)"
            )

    def _output(self) -> FileOutput:
        said = self._response
        if said.labels is not None:
            return FileOutput(said.labels, (None,), "string" if said.classes else "int64")
        count = None if said.classes is None else len(said.classes)
        return FileOutput(str(said.scores), (None, count), "float32")

    def request(self, inputs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Outgoing:
        """See :class:`robaudit.target.files.remote.exchange.Exchange`."""
        (values,) = (inputs[given.name] for given in self.inputs)
        if self._request.multipart is not None:
            body, kind = _form(self._request.multipart, values)
        else:
            body, kind = json.dumps(_filled(self._request.body, values)).encode(), "application/json"
        return Outgoing(self._url, body, {**self._request.headers, "Content-Type": kind})

    def answers(
        self, headers: Mapping[str, str], body: bytes, rows: int, names: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """See :class:`robaudit.target.files.remote.exchange.Exchange`."""
        try:
            content = json.loads(body)
            found = self._array(content, rows)
        except AuditError as error:
            raise BadAnswerError(str(error)) from None
        except (ValueError, TypeError, RecursionError, OverflowError):
            raise BadAnswerError("the response is no JSON that holds numbers at the path") from None
        name = self.outputs[0].name
        return [{name: np.asarray(row)} for row in checked_rows(found, rows, name)]

    def _array(self, content: Any, rows: int) -> NDArray[Any]:
        said = self._response
        if said.labels is not None:
            labels = follow(content, said.labels)
            labels = labels if isinstance(labels, list) else [labels]
            return np.array([str(v) for v in labels], dtype=object) if said.classes else np.array(labels, np.int64)
        scores = follow(content, str(said.scores))
        if said.names is None:
            return np.array(_numbers(scores), dtype=np.float64).astype(np.float32)
        names = follow(content, said.names)
        one = not (names and isinstance(names[0], list))
        pairs = zip([names], [scores], strict=True) if one else zip(names, scores, strict=True)
        return np.array([self._ordered(*pair) for pair in pairs], dtype=np.float32)

    def _ordered(self, names: Any, scores: Any) -> list[float]:
        """Scores in the order of the declared classes."""
        known = dict(zip(map(str, names), map(float, scores), strict=True))
        found = []
        for name in self._response.classes or ():
            value = known.get(name, self._response.missing)
            if value is None:
                raise AuditError(
                    f"the answer has no score for the class {name!r}; say with response.missing what it is"
                )
            found.append(value)
        return found


def _is_image(shape: Sequence[int | None]) -> bool:
    return len(shape) == 4 and shape[3] in (1, 3)


def _strings(content: Any) -> list[str]:
    if isinstance(content, Mapping):
        return [text for value in content.values() for text in _strings(value)]
    if isinstance(content, list | tuple):
        return [text for value in content for text in _strings(value)]
    return [content] if isinstance(content, str) else []


def _numbers(content: Any) -> Any:
    """JSON's null, which servers write for NaN, as NaN."""
    if isinstance(content, list):
        return [_numbers(item) for item in content]
    return float("nan") if content is None else content


def _filled(content: Any, values: NDArray[Any]) -> Any:
    """The template with inputs in it."""
    if isinstance(content, Mapping):
        return {key: _filled(value, values) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_filled(value, values) for value in content]
    if content == "$row":
        return values[0].tolist()
    if content == "$rows":
        return values.tolist()
    if content == "$image":
        return _base64(values[0])
    return [_base64(row) for row in values] if content == "$images" else content


def _base64(pixels: NDArray[Any]) -> str:
    return base64.b64encode(_png(pixels)).decode()


def _png(pixels: NDArray[Any]) -> bytes:
    """[H, W, C] uint8 as PNG, which loses nothing."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _form(fields: Mapping[str, str], values: NDArray[Any]) -> tuple[bytes, str]:
    """A multipart form, and its content type."""
    mark = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, text in fields.items():
        for row in values if text in MANY else values[:1]:
            head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"'
            if text in ("$image", "$images"):
                head += '; filename="image.png"\r\nContent-Type: image/png'
                content = _png(row)
            else:
                content = (json.dumps(row.tolist()) if text in ("$row", "$rows") else text).encode()
            parts += [head.encode(), b"\r\n\r\n", content, b"\r\n"]
            if text not in (*ONE, *MANY):
                break
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"

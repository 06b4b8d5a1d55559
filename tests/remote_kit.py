"""Servers on loopback: one that speaks the Open Inference Protocol v2 by ONNX Runtime, and any form of its own; both
misbehave where a test says how."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(uint8)": "UINT8", "tensor(string)": "BYTES"}
NUMPY = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8}
LENGTH = "Inference-Header-Content-Length"


@dataclass
class Seen:
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def rows(self) -> int:
        """Inputs in it, by the protocol."""
        head = self.body[: int(self.headers.get(LENGTH, len(self.body)))]
        return int(json.loads(head)["inputs"][0]["shape"][0])


@dataclass
class Reply:
    """An answer; ``reset``: the connection is reset in its place."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False
    wait: float = 0.0


def reply(content: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(content).encode(), {name.replace("_", "-"): text for name, text in headers.items()})


class Server:
    """A server on loopback.

    Args:
        answer: a request to its answer.
        certificate: file with that of the server and its key; None: plain http.
    """

    def __init__(self, answer: Callable[[Seen], Reply], certificate: Path | None = None) -> None:
        self.answer = answer
        self.misbehave: Callable[[Seen, int], Reply | None] = lambda seen, number: None
        """Takes a posted request and its number from 0; what it returns is answered in place of the truth."""
        self.seen: list[Seen] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen = Seen(self.command, self.path, dict(self.headers), body)
                found = server.served(seen)
                time.sleep(found.wait)
                if found.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(found.status)
                for name, text in {"Content-Type": "application/json", **found.headers}.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body)

            do_GET = do_POST = _serve  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:  # a client that is gone
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._http.server_address[1]}"

    def served(self, seen: Seen) -> Reply:
        with self._lock:
            number = len(self.posts)
            self.seen.append(seen)
        wrong = self.misbehave(seen, number) if seen.method == "POST" else None
        return self.answer(seen) if wrong is None else wrong

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    @property
    def rows(self) -> int:
        """Inputs that were sent by the protocol."""
        return sum(seen.rows for seen in self.posts)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def served(answer: Callable[[Seen], Reply], certificate: Path | None = None) -> Iterator[Server]:
    server = Server(answer, certificate)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Inference:
    """The Open Inference Protocol v2 for one ONNX file.

    Args:
        path: of the file.
        name: of the model.
        binary: tensors may be sent as bytes.
    """

    def __init__(self, path: Path, name: str = "cats", *, binary: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._name, self._binary = name, binary
        self.version = "1"

    def __call__(self, seen: Seen) -> Reply:
        place = f"/v2/models/{self._name}"
        if seen.path == "/v2":
            return reply(
                {"name": "tiny", "version": "1.0", "extensions": ["binary_tensor_data"] if self._binary else []}
            )
        if seen.path == "/v2/health/ready":
            return reply({"ready": True})
        if seen.path == "/v2/repository/index":
            return reply([{"name": self._name, "state": "READY"}])
        if seen.path == place:
            return reply(self._metadata())
        if seen.path == f"{place}/infer":
            return self._infer(seen)
        return reply({"error": f"there is no {seen.path}"}, 404)

    def _metadata(self) -> dict[str, Any]:
        def tensors(entries: Any) -> list[dict[str, Any]]:
            return [
                {
                    "name": e.name,
                    "datatype": DATATYPES[e.type],
                    "shape": [d if isinstance(d, int) else -1 for d in e.shape],
                }
                for e in entries
            ]

        return {
            "name": self._name,
            "versions": [self.version],
            "platform": "onnxruntime_onnx",
            "inputs": tensors(self._session.get_inputs()),
            "outputs": tensors(self._session.get_outputs()),
        }

    def _infer(self, seen: Seen) -> Reply:
        length = int(seen.headers.get(LENGTH, len(seen.body)))
        content, place = json.loads(seen.body[:length]), length
        feeds = {}
        for tensor in content["inputs"]:
            kind = NUMPY[tensor["datatype"]]
            if (size := tensor.get("parameters", {}).get("binary_data_size")) is not None:
                values = np.frombuffer(seen.body[place : place + size], kind)
                place += size
            else:
                values = np.array(tensor["data"], kind)
            feeds[tensor["name"]] = values.reshape(tensor["shape"])
        names = [output["name"] for output in content["outputs"]]
        outputs, raw = [], b""
        for name, array in zip(names, self._session.run(names, feeds), strict=True):
            kind = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}.get(array.dtype, "BYTES")
            output: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": kind}
            if self._binary and kind != "BYTES":
                output["parameters"] = {"binary_data_size": array.nbytes}
                raw += array.tobytes()
            else:
                output["data"] = array.ravel().tolist()
            outputs.append(output)
        head = json.dumps({"model_name": self._name, "outputs": outputs}).encode()
        return Reply(200, head + raw, {LENGTH: str(len(head))} if raw else {})


def write_endpoint(path: Path, url: str, more: str = "") -> Path:
    path.write_text(f"url: {url}\n{more}", encoding="utf-8")
    return path

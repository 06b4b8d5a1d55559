"""Servers that people run, started on loopback: answers, samples, queries and verdict are those of the file.

They take an environment of their own: ``ROBAUDIT_TEST_MLSERVER`` and ``ROBAUDIT_TEST_LITSERVE`` name the Python
interpreters that have them and ONNX Runtime; without, this one is tried (the extra ``servers``).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from remote_kit import write_endpoint
from run_kit import SHAPE, make_data, make_onnx, make_profile, make_request, run_here

from robaudit.target.files.remote.answers import Answers
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import Allowed, open_target

pytest.importorskip("aiohttp", reason="NOT TESTED: the extra `remote` is not installed")
HERE = Path(__file__).parent
BLACK_BOX = "\n  - {id: square, queries: 40}\n  - {id: hopskipjump, queries: 60}\n"
PLAIN = SpecOverrides({"mean": (0.0,), "std": (1.0,), "layout": "nchw", "domain": (0.0, 1.0)}, {})


def interpreter(package: str) -> str:
    named = os.environ.get(f"ROBAUDIT_TEST_{package.upper()}")
    if named is None and importlib.util.find_spec(package) is None:
        pytest.skip(
            f"NOT TESTED: {package} is not installed, and ROBAUDIT_TEST_{package.upper()} names no Python with it"
        )
    return named or sys.executable


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def started(command: list[str], folder: Path, ready: str) -> Iterator[None]:
    """A server, once it answers at an address."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("ROBAUDIT_TEST_SERVER_PATH", "")])
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            end = time.monotonic() + 120
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(ready, timeout=2):
                    break
                said = (folder / "server.log").read_text(errors="replace")[-2000:]
                assert process.poll() is None, said
                assert time.monotonic() < end, said
                time.sleep(0.2)
            yield
        finally:
            os.killpg(process.pid, 15)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def mlserver(model: Path, folder: Path) -> Any:
    python, port = interpreter("mlserver"), free_port()
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **settings}))
    said = {"name": "cats", "implementation": "mlserver_onnx.OnnxRuntime", "parameters": {"uri": str(model)}}
    (folder / "model-settings.json").write_text(json.dumps(said))
    url = f"http://127.0.0.1:{port}"
    command = [python, "-c", "from mlserver.cli import main; main()", "start", str(folder)]
    return started(command, folder, f"{url}/v2/models/cats/ready"), f"{url}/v2/models/cats", "max_batch: 8\n"


def litserve(model: Path, folder: Path) -> Any:
    python, port = interpreter("litserve"), free_port()
    url = f"http://127.0.0.1:{port}"
    shape = ", ".join(map(str, SHAPE))
    more = (
        f"max_batch: 8\nconcurrency: 4\ninput: {{name: x, shape: [null, {shape}], dtype: float32}}\n"
        "request: {json: {instances: $rows}}\nresponse: {scores: 'predictions[*].scores'}\n"
    )
    command = [python, str(HERE / "litserve_onnx.py"), str(model), str(port)]
    return started(command, folder, f"{url}/health"), f"{url}/predict", more


@pytest.mark.slow
@pytest.mark.parametrize("server", [mlserver, litserve])
def test_a_server_is_audited_as_its_file(tmp_path, server):
    model = make_onnx(tmp_path / "m.onnx")
    folder = tmp_path / "server"
    folder.mkdir()
    running, url, more = server(model, folder)
    points = torch.rand((20, *SHAPE), generator=torch.Generator().manual_seed(0))
    local = open_target(model, device="cpu", overrides=PLAIN)
    data, profile = make_data(tmp_path / "d.npz", 6), make_profile(tmp_path / "p.yaml", BLACK_BOX)
    with running:
        endpoint = write_endpoint(tmp_path / "endpoint.yaml", url, more)
        remote = open_target(endpoint, device="cpu", overrides=PLAIN, allowed=Allowed(answers=Answers()))
        assert torch.equal(remote.scores(points, alone=True), local.scores(points, alone=True))
        assert torch.allclose(remote.scores(points), local.scores(points), rtol=0, atol=1e-6)
        there = run_here(make_request(endpoint, data, profile), tmp_path / "remote")
    here = run_here(make_request(model, data, profile), tmp_path / "local")
    assert there.samples == here.samples
    assert [(a.id, a.status, a.queries) for a in there.attacks] == [(a.id, a.status, a.queries) for a in here.attacks]
    assert there.verdict == here.verdict

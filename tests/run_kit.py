"""Tiny models, data and profiles for tests that run whole audits, in this process or as a user runs them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from command_line import ROBAUDIT
from onnx import TensorProto, helper, numpy_helper
from quick_start import ran
from torch import nn

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.events import Event
from robaudit.audit.journal.journal import Journal
from robaudit.audit.outcome.build import Sessions, build_result
from robaudit.audit.result.document import Result
from robaudit.audit.session.session import Session
from robaudit.audit.session.start import Start
from robaudit.audit.stored.file import parse_result

SHAPE = (1, 6, 6)
CLASSES = 4
INPUT = {"mean": "0", "std": "1", "layout": "nchw", "domain": "0,1"}
ALL = """
  - {id: fgsm}
  - {id: apgd-ce, steps: 8, restarts: 2}
  - {id: apgd-t, steps: 8, targets: 2}
  - {id: square, queries: 60}
"""
EVERY_CHECK = "usual"


def weights(seed: int = 0) -> list[np.ndarray]:
    """Of a two-layer network, centred so that every class occurs."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(12, 36)) * 0.8
    second = rng.normal(size=(CLASSES, 12))
    hidden = -first.sum(1) / 2
    return [first, hidden, second, np.zeros(CLASSES)]


def make_onnx(path: Path, *, extra: str | None = None, scale: float = 1.0, bound: float = 0.0) -> Path:
    """A float32 ONNX network.

    Args:
        path: to write.
        extra: None, or what happens between input and network: an operator without translation (``foreign``), eight
            levels (``round``), NaN where the first feature is below ``bound`` (``nan``), noise (``noise``).
        scale: factor on the logits.
        bound: see ``extra``.
    """
    arrays = dict(zip(("w1", "b1", "w2", "b2"), (w.astype(np.float32) for w in weights()), strict=True))
    arrays["w2"] = arrays["w2"] * np.float32(scale)
    nodes = []
    start = "x"
    if extra == "round":
        arrays["levels"] = np.array(8, np.float32)
        nodes += [
            helper.make_node("Mul", ["x", "levels"], ["m"]),
            helper.make_node("Round", ["m"], ["r"]),
            helper.make_node("Div", ["r", "levels"], ["start"]),
        ]
        start = "start"
    elif extra == "noise":
        nodes += [
            helper.make_node("RandomNormalLike", ["x"], ["n"], scale=0.3),
            helper.make_node("Add", ["x", "n"], ["start"]),
        ]
        start = "start"
    elif extra == "foreign":  # the runtime has it, and the translation will never
        arrays["nothing"] = np.array(0, np.float32)
        nodes.append(helper.make_node("Flatten", ["x"], ["flat"]))
        nodes.append(helper.make_node("Multinomial", ["flat"], ["i"], dtype=TensorProto.INT32))
        nodes.append(helper.make_node("Cast", ["i"], ["j"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", ["j", "nothing"], ["z"]))
        nodes.append(helper.make_node("Add", ["flat", "z"], ["start"]))
        start = "start"
    nodes += [
        helper.make_node("Flatten", [start], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "w2", "b2"], ["logits" if extra != "nan" else "inner"], transB=1),
    ]
    if extra == "nan":
        arrays |= {
            "s": np.array([0], np.int64),
            "e": np.array([1], np.int64),
            "axis": np.array([1], np.int64),
            "bound": np.array(bound, np.float32),
            "bad": np.array(np.nan, np.float32),
        }
        nodes += [
            helper.make_node("Slice", ["f", "s", "e", "axis"], ["first"]),
            helper.make_node("Less", ["first", "bound"], ["below"]),
            helper.make_node("Where", ["below", "bad", "inner"], ["logits"]),
        ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def labels_only(path: Path, hide: bool = False) -> Path:
    """The kit's network with an ArgMax at its end; ``hide``: behind arithmetic, so that nothing is found before it."""
    model = onnx.load(make_onnx(path))
    graph = model.graph
    graph.node.append(helper.make_node("ArgMax", ["logits"], ["arg"], axis=1, keepdims=0, name="decide"))
    if hide:
        graph.initializer.append(numpy_helper.from_array(np.int64(1), "one"))
        graph.node.append(helper.make_node("Mul", ["arg", "one"], ["label"]))
    else:
        graph.node.append(helper.make_node("Identity", ["arg"], ["label"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    onnx.save(model, path)
    return path


def make_script(path: Path) -> Path:
    """The same network as float64 TorchScript."""
    w1, b1, w2, b2 = (torch.from_numpy(w) for w in weights())
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.Tanh(), nn.Linear(12, CLASSES)).double().eval()
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), (w1, b1, w2, b2), strict=True):
            parameter.copy_(value)
    torch.jit.trace(module, torch.zeros(2, *SHAPE, dtype=torch.float64)).save(str(path))
    return path


def predict(x: np.ndarray) -> np.ndarray:
    """The network's classes."""
    w1, b1, w2, b2 = weights()
    return (np.tanh(x.reshape(len(x), -1).astype(np.float64) @ w1.T + b1) @ w2.T + b2).argmax(1)


def make_data(path: Path, count: int = 16, *, wrong: int = 2, order: list[int] | None = None) -> Path:
    """Samples around the middle of the box, labelled by the network but for ``wrong`` of them."""
    rng = np.random.default_rng(7)
    x = (0.5 + 0.2 * rng.normal(size=(count, *SHAPE))).clip(0.05, 0.95).astype(np.float32)
    y = predict(x)
    y[:wrong] = (y[:wrong] + 1) % CLASSES
    order = order or list(range(count))
    np.savez(path, x=x[order], y=y[order])
    return path


def make_profile(
    path: Path, attacks: str = ALL, *, eps: float = 0.03, norm: str = "linf", checks: str = "[clean, evidence]"
) -> Path:
    """A profile with coverage and validity gates."""
    path.write_text(
        f"name: tiny\nthreat: {{norm: {norm}, eps: {eps}}}\nattacks:{attacks}\nchecks: {checks}\n"
        "gates:\n  - metric: validity\n  - {metric: coverage, min: 1}\n"
    )
    return path


def make_request(model: Path, data: Path, profile: Path, /, **changes: Any) -> AuditRequest:
    values = {"mean": (0.0,), "std": (1.0,), "layout": "nchw", "domain": (0.0, 1.0)}
    fields = {"data": data, "profile": load_profile(str(profile)), "input_values": values, "batch_size": 8}
    return changed(AuditRequest(model=model, **fields), **changes)


def changed(request: AuditRequest, **changes: Any) -> AuditRequest:
    """The request with other fields, or other settings that it does not hold itself."""
    own = {field.name for field in dataclasses.fields(AuditRequest)}
    settings = {name: changes.pop(name) for name in changes.keys() - own}
    return with_settings(dataclasses.replace(request, **changes), **settings)


def with_settings(request: AuditRequest, **changes: Any) -> AuditRequest:
    """The request with other settings of those that it does not hold itself."""
    return dataclasses.replace(request, settings=dataclasses.replace(request.settings, **changes))


def run_here(
    request: AuditRequest,
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    observer: Callable[[Event], None] = lambda _: None,
    journal: Journal | None = None,
    deadline: float | None = None,
) -> Result:
    """A session in this process, without worker or lock."""
    folder.mkdir(exist_ok=True)
    journal = journal or Journal(folder)
    journal.load()
    resumed = bool(journal.records)
    Session(request, folder, journal, observer, stop, Start(deadline=deadline)).run()
    sessions = Sessions(run_id="test", started=datetime.now(UTC), seconds=0.0, interrupted=stop(), resumed=resumed)
    result = build_result(request, journal, sessions)
    if journal.failure is None:
        assert parse_result(result.to_json(), "the result") == result
    return result


def scan_command(model: Path, data: Path, profile: Path, run_dir: Path, *more: str) -> list[str]:
    options = [text for name, value in INPUT.items() for text in (f"--{name}", value)]
    return [
        *(ROBAUDIT, "scan", str(model), "--data", str(data), "--profile", str(profile), "--run-dir", str(run_dir)),
        *(*options, "--no-progress", *more),
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def scan(*command: Any, timeout: float = 120, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, run to its end."""
    return ran(scan_command(*command)[1:], env=environment(), timeout=timeout, cwd=cwd)


def start(*command: Any) -> subprocess.Popen[str]:
    """The installed command in a process group of its own."""
    return subprocess.Popen(
        scan_command(*command),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """Whole records of a kind in a journal that may be growing."""
    path = run_dir / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Poll until a condition holds, and return what it said."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def worker_of(process: subprocess.Popen[str]) -> int:
    """Process id of an audit's worker: the child that runs multiprocessing's spawn_main."""

    def find() -> int | None:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        return None

    found: int = wait_for(find)
    return found


def load(run_dir: Path) -> Result:
    return Result.model_validate_json((run_dir / "result.json").read_text())


def outcome(result: Result) -> str:
    """All of a result but times and the story of how it was computed, as JSON."""
    content = result.model_dump(mode="json")
    for name in (
        "started",
        "finished",
        "seconds",
        "resumed",
        "notes",
        "command",
        "id",
        "batch_size",
        "shown_again",
        "elsewhere",
    ):
        del content["run"][name]
    content.pop("digest", None)  # of the times too
    del content["profile"]["settings"], content["profile"]["sources"]
    for attack in content["attacks"]:
        del attack["seconds"]
    for fit in content["fits"]:
        del fit["seconds"]
    return json.dumps(content, indent=1, sort_keys=True)

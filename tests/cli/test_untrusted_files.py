"""Files that are not trusted, as a user meets them: crashes, hangs and confinement end in sentences."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import ROBAUDIT
from model_files import FLOAT, Net, linear_onnx, script, weight, write_onnx
from onnx import TensorProto, helper
from results import make_result

from robaudit.audit.config.settings import Settings
from robaudit.audit.process import sandbox
from robaudit.audit.process.calling import in_child
from robaudit.audit.process.child import Child
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.verdict.limitations import limitations
from robaudit.cli.confine import warn_unconfined
from robaudit.errors import AuditError, UsageError

NODE = helper.make_node
NONE = pytest.mark.skipif(sandbox.landlock_version() == 0, reason="NOT TESTED: this system cannot confine a process")
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: not Linux")


@pytest.fixture
def place(tmp_path, no_settings) -> Path:
    return tmp_path


def as_user(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROBAUDIT, *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )


def one_sentence(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("robaudit: error: ")
    for word in words:
        assert word in done.stderr


def endless(path: Path) -> Path:
    """A model whose answer takes for ever."""
    body = helper.make_graph(
        [NODE("Identity", ["c"], ["c1"]), NODE("Tanh", ["h"], ["h1"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", FLOAT, None),
        ],
        [helper.make_tensor_value_info("c1", TensorProto.BOOL, []), helper.make_tensor_value_info("h1", FLOAT, None)],
    )
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("MatMul", ["f", "w"], ["m"]),
        NODE("Loop", ["", "go", "m"], ["y"], body=body),
    ]
    constants = {"w": weight(5, 48), "go": np.array(True)}
    return write_onnx(path, nodes, ("N", 3, 4, 4), constants, outputs={"y": (("N", 5), FLOAT)})


def greedy(path: Path) -> Path:
    """A few bytes that ask for 40 GB while they are loaded or run."""
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("ConstantOfShape", ["size"], ["zeros"]),
        NODE("ReduceSum", ["zeros"], ["none"], keepdims=0),
        NODE("MatMul", ["f", "w"], ["m"]),
        NODE("Add", ["m", "none"], ["y"]),
    ]
    constants = {"w": weight(5, 48), "size": np.array([10 * 2**30])}
    return write_onnx(path, nodes, ("N", 3, 4, 4), constants, outputs={"y": (("N", 5), FLOAT)})


@pytest.mark.parametrize("command", [["scan", "--no-progress"], ["scan", "--dry-run"], ["inspect"]])
def test_a_model_that_never_answers(place, command):
    endless(place / "bad.onnx")
    start = time.monotonic()
    done = as_user(place, *command, "bad.onnx", "--load-timeout", "12")
    one_sentence(done, 3, "bad.onnx was not loaded and run once within 12 s", "--load-timeout SECONDS")
    assert time.monotonic() - start < 120


@LINUX
def test_a_model_that_wants_all_memory(place):
    greedy(place / "bad.onnx")
    done = as_user(place, "inspect", "bad.onnx", "--memory-limit", "3")
    one_sentence(done, 3, "--memory-limit, did not suffice")


def crash(signum: int) -> None:
    import onnxruntime  # noqa: F401

    signal.raise_signal(signum)


def exhaust() -> int:
    return len(bytearray(8 * 2**30))


class Large:
    """Too large to come into being in the other process."""

    def __reduce__(self) -> tuple[object, ...]:
        return exhaust, ()


def grow() -> None:
    held = []
    while True:
        held.append(np.ones(2**24))


def write_large(name: str) -> int:
    with open(name, "wb") as file:
        return file.truncate(8 * 2**30)


def refuse() -> None:
    raise UsageError("not like this")


def fail() -> None:
    raise ValueError("odd")


def echo(value: object) -> object:
    return value


def wait() -> None:
    time.sleep(60)


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_is_a_sentence(signum):
    with pytest.raises(AuditError, match=rf"bad.onnx could not be loaded: .* crashed \({signum.name}\)") as caught:
        in_child(crash, signum, confinement=Confinement(), about="bad.onnx")
    assert caught.value.exit_code == 3


def test_what_a_child_says():
    assert in_child(echo, {"a": 1}, confinement=Confinement(), about="m") == {"a": 1}
    with pytest.raises(UsageError, match="not like this"):
        in_child(refuse, confinement=Confinement(), about="m")
    with pytest.raises(AuditError, match="unexpected ValueError: odd"):
        in_child(fail, confinement=Confinement(), about="m")
    with pytest.raises(AuditError, match="within 2 s"):
        in_child(wait, confinement=Confinement(seconds=2), about="m")


@LINUX
def test_limits_of_a_child(tmp_path):
    with pytest.raises(AuditError, match="--memory-limit, did not suffice"):
        in_child(exhaust, confinement=Confinement(memory=4 * 2**30), about="m")
    with pytest.raises(AuditError, match="--memory-limit, did not suffice"):  # before anything is called
        in_child(echo, Large(), confinement=Confinement(memory=4 * 2**30), about="m")
    with pytest.raises(AuditError, match=r"took more than the 1\.0 GB of memory"):  # as on a GPU: watched alone
        in_child(grow, confinement=Confinement(memory=2**30, gpu=True), about="m")
    with pytest.raises(AuditError, match="File too large"):
        in_child(write_large, str(tmp_path / "large"), confinement=Confinement(), about="m")
    assert os.path.getsize(tmp_path / "large") == 0


def test_temporary_files_of_a_child_are_removed():
    child = Child(print, (), Confinement())
    scratch = Path(child.confinement.scratch)
    assert scratch.is_dir()
    child.close()
    assert not scratch.exists()
    assert not child.process.is_alive()


def attempt(outside: str, inside: str, port: int) -> dict[str, str]:
    """What a hostile model would try."""

    def outcome(action: object) -> str:
        try:
            action()
        except OSError as error:
            return type(error).__name__
        return "done"

    folder = Path(outside)
    return {
        "write inside": outcome(lambda: (Path(inside) / "new").write_text("x")),
        "write": outcome(lambda: (folder / "new").write_text("x")),
        "change": outcome(lambda: (folder / "old").write_text("x")),
        "truncate": outcome(lambda: os.truncate(folder / "old", 0)),
        "empty by opening": outcome(lambda: os.open(folder / "old", os.O_RDONLY | os.O_TRUNC)),
        "delete": outcome(lambda: (folder / "old").unlink()),
        "rename": outcome(lambda: (folder / "old").rename(Path(inside) / "old")),
        "link": outcome(lambda: (folder / "new").symlink_to("old")),
        "folder": outcome(lambda: (folder / "new").mkdir()),
        "mode": outcome(lambda: (folder / "old").chmod(0)),
        "times": outcome(lambda: os.utime(folder / "old", (0, 0))),
        "connect": outcome(lambda: socket.create_connection(("127.0.0.1", port), 5)),
        "datagram": outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        "child": str(subprocess.run(["touch", str(folder / "new")], capture_output=True, check=False).returncode),
        "read": outcome(lambda: (folder / "old").read_text()),
        "device": outcome(lambda: Path("/dev/null").write_text("x")),
        "temporary": outcome(lambda: (Path(os.environ["TMPDIR"]) / "t").write_text("x")),
    }


FREE = {"write inside", "read", "device", "temporary"}


@NONE
@pytest.mark.parametrize("old", [False, True], ids=["this system", "an older Landlock"])
def test_inside_the_sandbox(tmp_path, old):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "old").write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = (str(outside), str(inside), server.getsockname()[1])
        confinement = Confinement(sandbox="required", writable=(str(inside),))
        function = attempt_as_in_2022 if old else attempt
        found = in_child(function, *arguments, confinement=confinement, about="m")
        free = in_child(attempt, str(inside), str(outside), arguments[2], confinement=Confinement(), about="m")
    assert {name for name, outcome in found.items() if outcome == "done"} == FREE
    assert found["child"] != "0"
    assert (outside / "old").read_text() == "kept"
    assert free["connect"] == free["write"] == "done"


def connected(port: int, other: int) -> list[str]:
    """What becomes of connections to two ports, and of a socket of another family."""

    def outcome(action: object) -> str:
        try:
            action()
        except OSError as error:
            return type(error).__name__
        return "done"

    return [
        outcome(lambda: socket.create_connection(("127.0.0.1", port), 5)),
        outcome(lambda: socket.create_connection(("127.0.0.1", other), 5)),
        outcome(lambda: socket.socket(socket.AF_UNIX)),
    ]


@NONE
def test_an_endpoint_opens_its_own_port_alone():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
        confinement = Confinement(sandbox="required", ports=ports[:1])
        found = in_child(connected, *ports, confinement=confinement, about="m")
    other = "PermissionError" if sandbox.landlock_version() >= 4 else "done"  # older ones do not see ports
    assert found == ["done", other, "PermissionError"]


def attempt_as_in_2022(outside: str, inside: str, port: int) -> dict[str, str]:
    """The same once more within what Linux 5.13 to 6.1 offer, where Landlock does not see truncation."""
    sandbox.landlock_version = lambda: 2
    sandbox.enter((inside, os.environ["TMPDIR"]))
    return attempt(outside, inside, port)


def test_a_system_without_a_sandbox(monkeypatch, capsys):
    monkeypatch.setattr(sandbox, "landlock_version", lambda: 0)
    monkeypatch.setattr(sandbox, "_states", [])
    with pytest.raises(sandbox.NoSandboxError, match="cannot confine a process"):
        sandbox.confine("required", ())
    assert sandbox.state() is None
    sandbox.confine("offered", ())
    assert sandbox.state() == sandbox.NOT_OFFERED
    assert sandbox.mode_of(None, trust_model=False) == "offered"
    assert sandbox.mode_of(True, trust_model=True) == "required"
    assert sandbox.mode_of(False, trust_model=False) == sandbox.mode_of(None, trust_model=True) == "off"
    warn_unconfined(Settings())
    said = capsys.readouterr().err
    assert "warning: this system cannot confine a process" in said
    assert said.count("\n") == 1
    for settings in (Settings(sandbox=True), Settings(sandbox=False), Settings(trust_model=True)):
        warn_unconfined(settings)
    assert capsys.readouterr().err == ""


def test_an_audit_without_a_sandbox_says_so():
    confined = make_result()
    place = confined.environment.model_copy(update={"details": {"sandbox": sandbox.NOT_OFFERED}})
    free = confined.model_copy(update={"environment": place})
    assert any("this system offers no sandbox" in sentence for sentence in limitations(free))
    assert not any("sandbox" in sentence for sentence in limitations(confined))


@NONE
@pytest.mark.parametrize("flags", [[], ["--no-sandbox"]])
def test_the_sandbox_is_the_default(place, monkeypatch, flags):
    """A file that gets past every check still writes nothing: here the checks are switched off."""
    out = place / "written"
    line = f'    _9 = ops.aten.save(torch.zeros([1]), "{out}")\n    return '
    with zipfile.ZipFile(script(place / "m.pt", Net())) as old, zipfile.ZipFile(place / "bad.pt", "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info).replace(b"    return ", line.encode()))
    (place / "sitecustomize.py").write_text(
        "import sys\n"
        "if any('spawn_main' in a for a in sys.orig_argv):\n"
        "    from robaudit.target.files.torchscript import file as torchscript_file\n"
        "    torchscript_file._check_records = torchscript_file._check_compiled = lambda *_, **__: None\n"
    )
    done = as_user(place, "inspect", "bad.pt", "--resize", "8", *flags, PYTHONPATH=str(place))
    assert "Traceback" not in done.stderr
    assert out.exists() is bool(flags), done.stderr


PROFILE = "{name: one, extends: quick, attacks: [{id: fgsm}, {id: square, queries: 20}], checks: [clean], gates: []}"


@NONE
@pytest.mark.slow
def test_an_audit_is_the_same_in_the_sandbox(place):
    linear_onnx(place / "m.onnx", output="logits")
    x = np.random.default_rng(0).random((12, 3, 4, 4), dtype=np.float32)
    np.savez(place / "m.data.npz", x=x, y=(x.reshape(12, -1) @ weight(5, 48)).argmax(1))
    (place / "one.yaml").write_text(PROFILE)
    known = ["--mean", "0", "--std", "1", "--layout", "nchw", "--channels", "rgb", "--device", "cpu", "--no-progress"]
    results = []
    for flags in (["--no-sandbox"], []):
        done = as_user(
            place, "scan", "m.onnx", "--profile", "one.yaml", "--fresh", "-o", "r.json", *known, *flags, HOME=str(place)
        )
        assert "Traceback" not in done.stderr
        results.append(json.loads((place / "r.json").read_text()) | {"code": done.returncode})
    free, confined = results
    assert free["code"] == confined["code"]
    assert [s["broken_by"] for s in free["samples"]] == [s["broken_by"] for s in confined["samples"]]
    assert [s["distance"] for s in free["samples"]] == [s["distance"] for s in confined["samples"]]
    assert "Landlock" in confined["environment"]["details"]["sandbox"]
    assert free["environment"]["details"]["sandbox"].startswith("off")
    for result in results:
        assert not any("sandbox" in sentence for sentence in result["limitations"])
    assert not (place / ".cache").exists()


@NONE
def test_a_hostile_archive_that_is_trusted_by_mistake(place):
    """Trust and sandbox together: the file runs, and reaches nothing."""
    source = script(place / "m.pt", Net())
    line = f'    _9 = ops.aten.save(torch.zeros([1]), "{place}/written")\n    return '
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(place / "bad.pt", "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info.filename, content.replace(b"    return ", line.encode()))
    refused = as_user(place, "inspect", "bad.pt", "--resize", "8")
    one_sentence(refused, 2, "aten::save", "--trust-model")
    confined = as_user(place, "inspect", "bad.pt", "--resize", "8", "--trust-model", "--sandbox")
    assert "Traceback" not in confined.stderr
    assert not (place / "written").exists()
    as_user(place, "inspect", "bad.pt", "--resize", "8", "--trust-model")
    assert (place / "written").exists(), "trust lifts the sandbox"


def test_exported_archives_need_trust(place):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)).eval()
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 4, 4),)), place / "m.pt2")
    one_sentence(as_user(place, "scan", "m.pt2", "--dry-run"), 2, "can run any command", "--trust-model")
    done = as_user(place, "inspect", "m.pt2", "--trust-model")
    assert done.returncode == 0, done.stderr
    assert "torch.export" in done.stdout


@LINUX
def test_modules_beside_the_model_are_not_imported(place):
    """Processes that are started must not find ``multiprocessing.py`` in the folder that a user happens to be in."""
    linear_onnx(place / "m.onnx")
    for name in ("multiprocessing", "numpy", "pickle", "faulthandler"):
        (place / f"{name}.py").write_text(f"open({str(place / 'ran')!r}, 'w').write('{name}')\nraise SystemExit(9)\n")
    done = as_user(place, "inspect", "m.onnx")
    assert not (place / "ran").exists()
    assert done.returncode == 0, done.stderr


def test_custom_operators_must_be_named(place):
    linear_onnx(place / "m.onnx")
    one_sentence(as_user(place, "inspect", "m.onnx", "--custom-ops", "gone.so"), 2, "no library of custom operators")
    (place / "bad.so").write_bytes(b"no library")
    one_sentence(as_user(place, "inspect", "m.onnx", "--custom-ops", "bad.so"), 2, "cannot load")


def test_a_pipe_in_place_of_a_model(place):
    os.mkfifo(place / "pipe.onnx")
    one_sentence(as_user(place, "scan", "pipe.onnx"), 2, "no ordinary file")

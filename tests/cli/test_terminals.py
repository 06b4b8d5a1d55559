"""Terminals of all kinds, pipes, plain ASCII, JSON alone on stdout, and what the shell completes."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import ROBAUDIT
from results import make_result, make_stored

from robaudit.attacks.names import SHORT
from robaudit.attacks.registry import attack_classes, transform_classes
from robaudit.audit.config.profile import GateSpec
from robaudit.audit.config.profile_files import list_profiles, load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.settings import Settings
from robaudit.audit.replay.document import Replay, Replayed
from robaudit.audit.result.document import Sample
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.certificates.registry import certifier_classes
from robaudit.checks.registry import check_classes
from robaudit.cli import audit, complete
from robaudit.defenses.registry import defense_classes
from robaudit.detectors.registry import detector_classes
from robaudit.purifiers.registry import purifier_classes
from robaudit.report.registry import suffixes
from robaudit.report.replay import replay_lines
from robaudit.surrogates.registry import surrogate_classes
from robaudit.threat.sets.registry import chosen_classes

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run with many samples, whose report is longer than a pipe holds."""
    path = tmp_path_factory.mktemp("run")
    samples = [Sample(id=f"cat/{i}.png", index=i, label=3, clean_prediction=3) for i in range(3000)]
    draft = make_stored(make_result(samples=samples))
    resolved = {"threat": load_profile("quick").model_dump(mode="json")["threat"]}
    draft = draft.model_copy(update={"profile": draft.profile.model_copy(update={"resolved": resolved})})
    save_result(conclude(draft, [GateSpec(metric="robust_accuracy", min=0.2)]), path / "result.json")
    return path


def environment(**more: str) -> dict[str, str]:
    dropped = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "LINES", "CLICOLOR", "PYTHONIOENCODING", "PYTHONUTF8")
    clean = {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith(("ROBAUDIT_", "LC_", "LANG"))}
    return {**clean, "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "TERM": "xterm-256color", **more}


def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([ROBAUDIT, *map(str, arguments)], env=environment(**more), capture_output=True, timeout=120)


def on_terminal(width: int, *arguments: object, **more: str) -> str:
    """What a terminal of so many columns gets."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = subprocess.Popen(
        [ROBAUDIT, *map(str, arguments)], env=environment(**more), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    text = b"".join(read(master))
    assert process.wait(60) in (0, 1)
    os.close(master)
    return text.decode().replace("\r\n", "\n")


def read(descriptor: int) -> Iterator[bytes]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux: the other side is closed
            return
        if not part:
            return
        yield part


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_gets_lines_that_fit(folder, width) -> None:
    text = on_terminal(width, "report", folder)
    assert "\x1b[" in text
    lines = ANSI.sub("", text).splitlines()
    kept = [line for line in lines if "robaudit scan" not in line]  # the command is one line, to be copied
    assert max(map(len, kept)) <= width, max(kept, key=len)
    assert any("Verdict" in line for line in lines)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(folder, variables) -> None:
    text = on_terminal(80, "report", folder, **variables)
    colours = re.findall(r"\x1b\[([0-9;]*)m", text)
    assert not [code for code in colours if set(code.split(";")) - {"", "0", "1", "2", "3", "4"}]
    if variables.get("TERM"):
        assert "\x1b" not in text


def test_a_pipe_gets_plain_text(folder) -> None:
    done = run("report", folder)
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize(
    "variables", [{"LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"}]
)
@pytest.mark.parametrize("command", ["report", "gate"])
def test_a_locale_without_utf8_gets_ascii(folder, variables, command) -> None:
    done = run(command, folder, **variables)
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("report", "-f", "json"), ("gate", "-f", "json"), ("gate",), ("report",), ("profile", "schema")]
)
def test_a_reader_that_leaves_early_sees_no_traceback(folder, arguments) -> None:
    """As `| head -c 1`; a verdict's exit code stays what it is."""
    command, *more = arguments
    words = [command, *more] if command == "profile" else [command, folder, *more]
    process = subprocess.Popen(
        [ROBAUDIT, *map(str, words)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read()
    assert b"Traceback" not in told
    assert b"Exception" not in told
    assert process.wait(60) == (0 if command == "gate" else 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["report", "gate", "explain"])
def test_a_full_disk_under_stdout_is_told_in_a_sentence(folder, command) -> None:
    words = [ROBAUDIT, command, *([] if command == "explain" else [str(folder)])]
    with open("/dev/full", "wb") as full:
        told = subprocess.run(words, env=environment(), stdout=full, stderr=subprocess.PIPE, timeout=120)
        silent = subprocess.run([*words[:2], "none"], env=environment(), stdout=full, stderr=full, timeout=120)
    assert told.stderr == b"robaudit: error: the output cannot be written: No space left on device\n"
    assert (told.returncode, silent.returncode) == (3, 2)


def test_a_full_disk_under_stdout_costs_no_report(folder, tmp_path, monkeypatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    result = load_result(folder / "result.json")
    monkeypatch.setattr(audit, "carry_out", lambda *args, **more: (result, folder))
    monkeypatch.setattr(sys, "stdout", Full())
    settings = Settings(device="cpu", output=(str(tmp_path / "a.md"), str(tmp_path / "b.csv")))
    request = AuditRequest(model=Path("m.onnx"), profile=load_profile("quick"), settings=settings)
    with pytest.raises(OSError, match="No space"):
        audit.audit_and_report(request, as_json=False, quiet=True, live=False, verbose=False)
    assert {path.name for path in tmp_path.iterdir()} == {"a.md", "b.csv"}


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_output_changes_no_verdict(folder, closed) -> None:
    """As `>&-`."""
    command = f'"$0" gate "$1" {1 if closed == "stdout" else 2}>&-'
    done = subprocess.run(
        ["sh", "-c", command, str(ROBAUDIT), str(folder)], env=environment(), capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (closed == "stderr")


def test_a_run_told_again_names_bounds_and_exceptions_in_columns(folder) -> None:
    gates = ("--gate", "robust_accuracy>=0.2", "--gate", "attack.apgd-ce.success_rate<=0.9")
    lines = run("gate", folder, *gates).stdout.decode().splitlines()
    assert lines[0].startswith("pass         robust_accuracy ≥ 0.2             ")
    assert lines[1].startswith("pass         attack.apgd-ce.success_rate ≤ 0.9 ")


@pytest.mark.parametrize("command", ["report", "gate"])
def test_json_alone_is_on_stdout(folder, command) -> None:
    done = run(command, folder, "--format", "json", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    content = json.loads(done.stdout)
    assert content["verdict"]["exit_code"] == 0
    assert len(content["samples"]) == 3000
    refused = run(command, folder, "-f", "yaml")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, b"", 1)


def test_a_replay_fits_any_width() -> None:
    row = Replayed(
        sample="a/very/long/name/of/a/sample.png",
        index=0,
        attack="apgd-ce",
        norm="linf",
        eps=8 / 255,
        distance=0.03137,
        label=3,
        original=3,
        recorded=5,
        prediction=5,
        status="fools",
    )
    found = Replay(
        version="1",
        run="1",
        model="m.onnx",
        sha256="a" * 64,
        same_model=False,
        judge="ONNX Runtime",
        evidence="evidence.npz",
        evidence_sha256="b" * 64,
        count=1,
        fooled=1,
        examples=(row,) * 3,
    )
    for width in (40, 60, 100):
        lines = list(replay_lines(found, width=width))
        assert max(map(len, lines)) <= width
        assert " ".join(" ".join(lines).split()).endswith("lies in its ball and the box.")


# Completion


def test_completion_knows_what_there_is() -> None:
    assert set(complete.checks_and_attacks("")) == {
        *(*attack_classes(), *SHORT, *transform_classes(), *surrogate_classes()),
        *(
            *check_classes(),
            *defense_classes(),
            *detector_classes(),
            *purifier_classes(),
            *chosen_classes(),
            *certifier_classes(),
            "goal",
            "loss",
        ),
    }
    assert complete.checks_and_attacks("mi+") == [f"mi+{name}" for name in sorted(transform_classes())]
    assert complete.checks_and_attacks("mi+di+t") == ["mi+di+ti"]
    assert complete.checks_and_attacks("mi+di+d") == []
    assert set(complete.profiles("")) == set(list_profiles())
    assert complete.checks_and_attacks("apgd-c") == ["apgd-ce"]
    assert complete.formats("j") == ["json"]
    assert set(complete.reports("")) == {f"report{suffix}" for suffix in suffixes()}
    assert complete.reports("out.sarif.") == ["out.sarif.json"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("robaudit explain apgd-", "apgd-ce"),
        ("robaudit scan m.onnx --profile aut", "autoattack"),
        ("robaudit scan m.onnx --norm l", "linf l2 l1 l0"),
        ("robaudit scan m.onnx --on-inconclusive w", "warn"),
        ("robaudit rep", "replay"),
    ],
)
def test_the_shell_is_answered(line, found) -> None:
    """As bash asks, once `robaudit --install-completion` has run."""
    words = line.split(" ")
    done = run(
        _ROBAUDIT_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(words),
        COMP_CWORD=str(len(words) - 1),
        SHELL="/bin/bash",
    )
    assert set(found.split()) <= set(done.stdout.decode().split()), done.stderr


def test_the_completion_script_can_be_shown() -> None:
    done = run("--show-completion", "bash")
    assert done.returncode == 0, done.stderr
    assert b"_ROBAUDIT_COMPLETE" in done.stdout


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(
    "command",
    [("report",), ("gate",), ("explain", "loss"), ("inspect", "Straße-ε≤∞.onnx"), ("scan", "--dry-run", "模型.onnx")],
    ids=" ".join,
)
def test_every_command_prints_in_a_console_of_few_characters(folder, command, encoding) -> None:
    arguments = (*command, folder) if command[0] in ("report", "gate") else command
    done = run(*arguments, PYTHONIOENCODING=encoding)
    out, err = (text.decode(encoding) for text in (done.stdout, done.stderr))
    assert "Traceback" not in err
    assert "UnicodeEncodeError" not in err
    assert (done.returncode == 2) == (command[0] in ("inspect", "scan"))
    if command[0] == "report":
        assert "Linf <=" in out
    if command[0] == "inspect":
        assert ("Straße-" if encoding == "cp1252" else "Strasse-") + "eps<=inf.onnx" in err
    if command[0] == "scan":
        assert "\\u6a21\\u578b.onnx" in err

"""What the process with the model in it prints reaches nobody raw, and never without end."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing import Pipe

import pytest

from robaudit.audit.process.calling import in_child
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.said import FIRST, LAST, WIDTH, Said
from robaudit.errors import AuditError


def told_of(*parts: bytes) -> list[str]:
    reader, writer = Pipe(duplex=False)
    said = Said(reader)
    for part in parts:
        os.write(writer.fileno(), part)
    writer.close()
    return said.rest()


def test_lines_are_cleaned_and_cut() -> None:
    assert told_of(b"plain\n\n  \x1b[2J\x1b]52;c;eA==\x07two\xff\r\n", b"three", b" more") == [
        "plain",
        "two\N{REPLACEMENT CHARACTER}",
        "three more",
    ]
    assert told_of("\u202eabc\u2066\n".encode()) == ["\N{REPLACEMENT CHARACTER}abc\N{REPLACEMENT CHARACTER}"]
    (cut,) = told_of(b"x" * 100_000 + b"\n")
    assert len(cut) == WIDTH


def test_of_many_lines_the_first_and_the_last_are_told() -> None:
    lines = told_of(b"".join(b"line %d\n" % i for i in range(1000)))
    assert lines[:FIRST] == [f"line {i}" for i in range(FIRST)]
    assert lines[FIRST:] == [f"… {1000 - FIRST - LAST} more lines were not shown", "line 997", "line 998", "line 999"]
    assert told_of(b"".join(b"%d\n" % i for i in range(FIRST + 1)))[-2:] == [str(FIRST - 1), str(FIRST)]


def chatter(size: int) -> str:
    print("\x1b[2Jfrom Python \u202e")  # noqa: T201
    os.write(1, b"\x1b]0;title\x07from the runtime\n")
    os.write(2, b"a warning\n")
    block = b"x" * 99 + b"\n"
    for _ in range(size // len(block) // 1000):
        os.write(1, block * 1000)
    return "done"


def aborts() -> None:
    os.write(2, b"terminate called after throwing\n")
    os.abort()


def no_newline(size: int) -> int:
    for _ in range(size // 65536):
        os.write(1, b"y" * 65536)
    return size


def test_a_child_prints_to_its_parent_alone(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    done = in_child(chatter, 0, confinement=Confinement(seconds=60), about="a model", told=told.append)
    assert done == "done"
    assert told == ["from Python \N{REPLACEMENT CHARACTER}", "from the runtime", "a warning"]
    assert capfd.readouterr() == ("", "")


def test_a_child_that_prints_without_end_waits_for_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    begin = time.monotonic()
    assert in_child(chatter, 300_000_000, confinement=Confinement(seconds=60), about="a model", told=told.append)
    assert time.monotonic() - begin < 20
    assert len(told) == FIRST + LAST + 1
    size = 100_000_000
    assert in_child(no_newline, size, confinement=Confinement(seconds=60), about="a model", told=told.append) == size
    assert len(told[-1]) == WIDTH
    assert capfd.readouterr() == ("", "")


def test_the_last_words_of_a_crash_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    with pytest.raises(AuditError, match="SIGABRT"):
        in_child(aborts, confinement=Confinement(seconds=60), about="a model", told=told.append)
    assert told == ["terminate called after throwing"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are given to other processes otherwise there")
def test_descriptors_that_are_closed_are_not_taken_for_pipes() -> None:
    """In a process of its own, for pytest needs its streams."""
    import subprocess

    program = (
        "import os\n"
        "for number in (0, 1, 2): os.close(number)\n"
        "from test_said import Confinement, chatter, in_child\n"
        "def main():\n"
        "    told = []\n"
        "    done = in_child(chatter, 0, confinement=Confinement(seconds=60), about='a model', told=told.append)\n"
        "    os._exit(0 if done == 'done' and len(told) == 3 else 1)\n"
        "if __name__ == '__main__': main()\n"
    )
    folder = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": folder}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60).returncode == 0

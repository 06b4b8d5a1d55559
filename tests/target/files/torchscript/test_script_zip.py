"""Archives that two parsers read differently: what is looked at would not be what PyTorch loads."""

from __future__ import annotations

import io
import struct
import subprocess
import zipfile
from collections.abc import Callable

import pytest
import torch
from archives import end, rezipped, two_tables
from command_line import ROBAUDIT
from model_files import Net, script

from robaudit.errors import UsageError
from robaudit.target.files.held import HeldFile
from robaudit.target.files.torchscript.zip import plain_archive
from robaudit.target.load import open_target

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("command", [["inspect"], ["scan", "--no-progress"]])
def test_an_archive_with_two_tables_of_contents_writes_nothing(tmp_path, no_settings, command):
    out = tmp_path / "written"
    (tmp_path / "bad.pt").write_bytes(two_tables(script(tmp_path / "m.pt", Net()), out))
    with zipfile.ZipFile(tmp_path / "bad.pt") as archive:
        assert not any(b"save" in archive.read(name) for name in archive.namelist())
    with pytest.raises(RuntimeError, match="left uninitialized after '__setstate__'"):
        torch.jit.load(tmp_path / "bad.pt")
    assert out.exists(), "PyTorch runs the other code"
    out.unlink()
    call = [ROBAUDIT, *command, "bad.pt", "--resize", "8"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no archive that torch.jit.save wrote" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def code_entry(content: bytes) -> tuple[int, int, int]:
    """(header, header in the table, size of the data) of the first entry of code."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith(".py"))
    _, size, start = end(content)
    place = content.index(info.filename.encode(), start, start + size) - 46
    return info.header_offset, place, info.file_size


def change_at(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def duplicated(content: bytes) -> bytes:
    made = io.BytesIO(content)
    with zipfile.ZipFile(made, "a") as archive:
        name = next(n for n in archive.namelist() if n.endswith(".py"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(name, "x = 1\n")
    return made.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "before the first entry": lambda z: b"PK\x03\x04" + z,
    "after the end record": lambda z: z + b"\0" * 22,
    "comment": lambda z: z[:-2] + b"\x04\0PK\5\6",
    "between entries": lambda z: (
        z[: end(z)[2]] + b"gap!" + z[end(z)[2] : -22] + z[-22:-6] + struct.pack("<LH", end(z)[2] + 4, 0)
    ),
    "two entries of one name": duplicated,
    "another name": lambda z: change_at(z, code_entry(z)[0] + 30, b"M"),
    "another size": lambda z: change_at(z, code_entry(z)[1] + 24, struct.pack("<L", code_entry(z)[2] - 1)),
    "another packing": lambda z: change_at(z, code_entry(z)[0] + 8, b"\x08"),
    "encrypted": lambda z: change_at(change_at(z, code_entry(z)[1] + 8, b"\1"), code_entry(z)[0] + 6, b"\1"),
    "several disks": lambda z: change_at(z, len(z) - 18, b"\1"),
    "fewer entries": lambda z: change_at(z, len(z) - 14, struct.pack("<2H", end(z)[0] - 1, end(z)[0] - 1)),
    "a checksum": lambda z: change_at(z, code_entry(z)[1] + 16, b"\0\0\0\0"),
    "as a flatbuffer": lambda z: change_at(z, 4, b"PTMF"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_archives_that_can_be_read_in_two_ways(tmp_path, damage):
    content = rezipped(script(tmp_path / "m.pt", Net()))
    (tmp_path / "bad.pt").write_bytes(DAMAGE[damage](content))
    with pytest.raises(UsageError, match=r"no archive that torch.jit.save wrote|damaged zip archive") as caught:
        plain_archive(HeldFile(tmp_path / "bad.pt"))
    assert "export the model again" in str(caught.value)


@pytest.mark.parametrize("record", ["model_files.py", "data.pkl"])
def test_a_record_that_is_damaged(tmp_path, record):
    """Its checksum is looked at where it is read."""
    content = rezipped(script(tmp_path / "m.pt", Net()))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith(record))
    place = info.header_offset + 30 + len(info.filename) + 20
    (tmp_path / "bad.pt").write_bytes(change_at(content, place, b"\xf6\x80"))
    with pytest.raises(UsageError, match="damaged zip archive"):
        open_target(tmp_path / "bad.pt", device="cpu", sample_shape=(3, 8, 8))


@pytest.mark.parametrize("version", ["9" * 30, "x", ""])
def test_a_version_that_is_no_number(tmp_path, version):
    content = rezipped(
        script(tmp_path / "m.pt", Net()), lambda name, text: version.encode() if name.endswith("/version") else text
    )
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(UsageError, match="does not state the version of its format"):
        open_target(tmp_path / "bad.pt", device="cpu", sample_shape=(3, 8, 8))


def test_a_name_that_is_no_text(tmp_path):
    content = rezipped(script(tmp_path / "m.pt", Net()))
    assert content.count(b"m/version") == 2
    (tmp_path / "bad.pt").write_bytes(content.replace(b"m/version", b"m/ve\xf6sion"))
    with pytest.raises(UsageError, match="is no text"):
        open_target(tmp_path / "bad.pt", device="cpu", sample_shape=(3, 8, 8))


def test_a_bomb_is_refused_by_its_stated_size(tmp_path):
    bomb = b"x = 0" + b" " * (65 * 2**20) + b"\n"
    content = rezipped(
        script(tmp_path / "m.pt", Net()),
        lambda name, text: bomb if name.endswith("model_files.py") else text,
        compression=zipfile.ZIP_DEFLATED,
    )
    assert len(content) < 200_000
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(UsageError, match="more than any exporter writes"):
        open_target(tmp_path / "bad.pt", device="cpu", sample_shape=(3, 8, 8))


@pytest.mark.parametrize("how", [{}, {"compression": zipfile.ZIP_DEFLATED}], ids=["stored", "deflated"])
def test_archives_packed_again_are_loaded(tmp_path, how):
    source = script(tmp_path / "m.pt", Net())
    (tmp_path / "again.pt").write_bytes(rezipped(source, **how))
    made = plain_archive(HeldFile(tmp_path / "again.pt"))
    original = plain_archive(HeldFile(source))
    assert list(made.entries) == list(original.entries)
    assert made.read("data.pkl") == original.read("data.pkl")
    assert open_target(tmp_path / "again.pt", device="cpu", sample_shape=(3, 8, 8)).num_classes == 4

"""Archives of old and of mobile PyTorch, and of versions that this one does not read: loaded properly, or refused."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from command_line import refused
from model_files import Net, script
from torch import nn

from robaudit.target.load import open_target

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SHAPE = (3, 8, 8)
CHECKPOINT = "a pickled state_dict or module, not TorchScript"


def edited(path: Path, record: str, content: bytes | None) -> Path:
    """An archive with another record, or without it."""
    source = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            kept = old.read(name) if name.partition("/")[2] != record else content
            if kept is not None:
                new.writestr(name, kept)
    return path


class Halves(nn.Module):
    """Divides, which PyTorch does otherwise from version 4 of its format on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = torch.floor(x.sum(dim=(1, 2, 3)) * 8).to(torch.int64)
        return self.net(x) + torch.div(whole, 2).to(torch.float32)[:, None]


@pytest.mark.parametrize("version", ["1", "3", "9"])
def test_an_older_version_answers_as_pytorch_loads_it(tmp_path, version):
    path = edited(script(tmp_path / "m.pt", Halves()), "version", version.encode() + b"\n")
    x = torch.rand(1, *SHAPE)
    target = open_target(path, device="cpu", sample_shape=SHAPE)
    assert torch.equal(target.file.run(x), torch.jit.load(str(path))(x))


@pytest.mark.parametrize(
    ("record", "content", "words"),
    [
        ("version", b"11", ("is of version 11 of PyTorch's archive format", "install a newer PyTorch")),
        ("version", b"0", ("is of version 0 of PyTorch's archive format", "export the model again")),
        ("version", b"three", ("does not state the version of its format",)),
        ("version", None, ("does not state the version of its format",)),
        ("constants.pkl", None, ("cannot be loaded as TorchScript", "constants.pkl")),
    ],
)
@pytest.mark.parametrize("trust", [False, True])
def test_a_version_or_a_record_that_is_missing(robaudit, tmp_path, record, content, words, trust):
    path = edited(script(tmp_path / "m.pt", Net()), record, content)
    outcome = robaudit("inspect", str(path), "--resize", "8", *["--trust-model"] * trust)
    refused(outcome, str(path), *words)
    assert "enforce fail" not in outcome.err
    assert "miniz" not in outcome.err


def test_a_module_for_the_lite_interpreter(robaudit, tmp_path):
    """One that holds its TorchScript is audited as that; one that does not is told."""
    module = torch.jit.script(Net().eval())
    module._save_for_lite_interpreter(str(tmp_path / "m.ptl"))
    x = torch.rand(1, *SHAPE)
    target = open_target(tmp_path / "m.ptl", device="cpu", sample_shape=SHAPE)
    assert torch.allclose(target.file.run(x), module(x), atol=1e-6)
    module._save_for_lite_interpreter(str(tmp_path / "flat.ptl"), _use_flatbuffer=True)
    assert (tmp_path / "flat.ptl").read_bytes()[4:8] == b"PTMF"
    refused(robaudit("inspect", str(tmp_path / "flat.ptl")), "a module for PyTorch's lite interpreter")
    with zipfile.ZipFile(tmp_path / "m.ptl") as old, zipfile.ZipFile(tmp_path / "bare.ptl", "w") as new:
        for name in old.namelist():
            if "/code/" not in name:
                new.writestr(name, old.read(name))
    refused(robaudit("inspect", str(tmp_path / "bare.ptl")), "a module for PyTorch's lite interpreter")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("new", [False, True])
def test_what_torch_save_wrote_under_the_name_of_torchscript(robaudit, tmp_path, protocol, new):
    options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": new}
    torch.save(Net().state_dict(), tmp_path / "m.pt", **options)
    refused(robaudit("inspect", str(tmp_path / "m.pt")), CHECKPOINT, "torch.jit.save")


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_a_checkpoint_in_a_tar_archive(robaudit, tmp_path, kind):
    """As PyTorch before 0.2 wrote it."""
    with tarfile.open(tmp_path / "m.pt", "w", format=kind) as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name))
    refused(robaudit("inspect", str(tmp_path / "m.pt")), CHECKPOINT)

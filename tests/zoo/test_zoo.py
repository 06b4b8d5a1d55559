"""The zoo's command trains, exports and measures; on made-up images, so that it needs no data."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from .__main__ import main
from .data import FILES, Data, read
from .entry import Making
from .export import as_onnx, as_torchscript, shipped
from .kwta import Winners
from .measuring import accuracy
from .registry import NETS, find
from .training import gradient, pgd

MASKED = {"fgsm-at", "sap", "distillation", "thermometer", "k-wta", "capped-logits", "k-nn"}


def made_up(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy stripes, whose place is the class: uint8 [N, 28, 28] and [N]."""
    draws = np.random.default_rng(seed)
    y = draws.integers(0, 10, images).astype(np.uint8)
    x = draws.integers(0, 60, (images, 28, 28))
    for image, label in zip(x, y, strict=True):
        image[2 * label + 3 : 2 * label + 7] += 150
    return x.astype(np.uint8), y


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idx")
    for split, seed in (("train", 0), ("t10k", 1)):
        for kind, array in zip(("images-idx3", "labels-idx1"), made_up(256, seed), strict=True):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Data:
    return read(folder)


def test_the_command_trains_what_is_missing_and_keeps_what_is_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(folder), "--cache", str(tmp_path), "--seeds", "3", "--only", "undefended", "rse", "--effort", "2"]
    main(words)
    names = ["rse-3.json", "rse-3.onnx", "rse-3.pt", "test.npz", "undefended-3.json", "undefended-3.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    record = json.loads((tmp_path / "undefended-3.json").read_text())
    assert record["clean"] > 0.9
    assert record["pgd20"] <= record["clean"]
    assert record["seed"] == 3
    written = (tmp_path / "undefended-3.onnx").stat().st_mtime_ns
    capsys.readouterr()
    main(words)
    assert capsys.readouterr().out == "undefended-3: there already\nrse-3: there already\n"
    assert (tmp_path / "undefended-3.onnx").stat().st_mtime_ns == written
    main([*words[:-1], "0.3"])
    assert "there already" not in capsys.readouterr().out
    with np.load(tmp_path / "test.npz") as arrays:
        assert arrays["x"].shape == (256, 1, 28, 28)
        assert arrays["x"].dtype == np.uint8


def test_the_same_seed_gives_the_same_net_whatever_was_trained_before(data: Data) -> None:
    alone = Making(data, 1, 0.2).net(NETS["weight-sparse"])
    behind = Making(data, 1, 0.2)
    behind.net(NETS["undefended"])
    behind.net(NETS["k-wta"])
    assert all(
        torch.equal(a, b)
        for a, b in zip(alone.parameters(), behind.net(NETS["weight-sparse"]).parameters(), strict=True)
    )


def test_missing_data_and_unknown_names_are_said_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"lacks {FILES[0]}.*dataset-fashion-mnist"):
        main([str(tmp_path), "--cache", str(tmp_path)])
    with pytest.raises(SystemExit, match="the zoo has no kwta; it has undefended, k-wta"):
        main([str(folder), "--cache", str(tmp_path), "--only", "kwta"])


def run_onnx(path: Path, x: torch.Tensor) -> torch.Tensor:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


@pytest.mark.parametrize("name", [name for name, entry in NETS.items() if not entry.random])
def test_a_file_computes_what_was_trained(name: str, data: Data, tmp_path: Path) -> None:
    few = Data(data.x[:128], data.y[:128], data.test_x[:16], data.test_y[:16])
    entry = NETS[name]
    net = Making(few, 0, 0.01).net(entry)
    as_onnx(entry, net, few.test_x, tmp_path / "net.onnx")
    with torch.no_grad():
        expected = shipped(entry, net)(few.test_x)
    for batch in (1, 16):
        answers = torch.cat([run_onnx(tmp_path / "net.onnx", x) for x in few.test_x.split(batch)])
        assert torch.allclose(answers, expected, atol=1e-3, rtol=1e-3), (answers - expected).abs().max()


@pytest.mark.parametrize("name", [name for name, entry in NETS.items() if entry.random])
def test_a_random_file_draws_as_the_net_does(name: str, data: Data, tmp_path: Path) -> None:
    few = Data(data.x[:128], data.y[:128], data.test_x[:4], data.test_y[:4])
    entry = NETS[name]
    net = Making(few, 0, 0.3).net(entry)
    as_onnx(entry, net, few.test_x, tmp_path / "net.onnx")
    as_torchscript(entry, net, few.test_x, tmp_path / "net.pt")
    traced = torch.jit.load(str(tmp_path / "net.pt"))
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    forms: list[Callable[[torch.Tensor], torch.Tensor]] = [
        net,
        traced,
        lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0]),
    ]
    with torch.no_grad():
        drawn = [torch.stack([form(few.test_x) for _ in range(400)]) for form in forms]
    for draws in drawn:
        assert draws.std(0).min() > 1e-4  # every logit varies
        error = 5 * (draws.std(0) + drawn[0].std(0)) / 20  # five standard errors
        assert ((draws.mean(0) - drawn[0].mean(0)).abs() < error).all()
        ratio = draws.std(0) / drawn[0].std(0)
        assert ratio.min() > 0.6
        assert ratio.max() < 1.6


def test_gradients_are_hidden_as_the_registry_says(data: Data) -> None:
    making = Making(data, 0, 0.6)
    for name in ("thermometer", "k-nn"):
        assert not gradient(making.net(NETS[name]), data.x[:8], data.y[:8]).any(), name
    assert gradient(making.net(NETS["undefended"]), data.x[:8], data.y[:8]).any()
    assert {entry.name for entry in NETS.values() if entry.masked} == MASKED


def test_attacks_stay_in_the_ball_and_break_what_is_undefended(data: Data) -> None:
    net = Making(data, 0, 1.0).net(NETS["undefended"])
    x, y = data.test_x, data.test_y
    found = pgd(net, x, y, 0.3, 20)
    assert (found - x).abs().max() <= 0.3 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert accuracy(net, found, y) < accuracy(net, x, y) - 0.3


def test_winners_are_the_largest_of_each_sample() -> None:
    x = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-4.0, -3.0, -2.0, -1.0]])
    assert Winners(0.5)(x).tolist() == [[3, 0, 2, 0], [0, 0, -2, -1]]
    assert isinstance(Winners(0.5), nn.Module)


def test_every_net_says_what_an_audit_must_reach() -> None:
    assert len(NETS) == 24
    for entry in find(None):
        assert entry.verdict, entry.name
        assert entry.claim, entry.name
        assert entry.source, entry.name
        assert entry.twin in NETS or entry.name == "undefended"
        assert entry.hides or entry.layer or not (entry.masked or entry.random), entry.name


def test_trained_nets_are_what_their_papers_made(zoo: Path) -> None:
    """Figures of the trained zoo, where there is one: each net shows what it is here for."""
    found = {path.stem: json.loads(path.read_text()) for path in zoo.glob("*-[0-9].json")}
    assert found, f"{zoo} has no nets"
    for stem, record in found.items():
        plain, name = record["pgd20"], record["name"]
        assert record["clean"] > (0.6 if name in ("fgsm-at", "k-nn", "synthesis", "adv-bnn") else 0.75), stem
        if name == "fgsm-at":
            assert record["fgsm"] > plain + 0.4, stem
            assert plain < 0.1, stem
        elif name in ("undefended", "fixed-mask"):
            assert plain < 0.2, stem
        elif name in ("pgd-at", "feature-denoising"):
            assert plain > 0.5, stem
        elif NETS[name].masked and name != "sap":
            assert plain > 0.25, stem  # hidden from plain attacks

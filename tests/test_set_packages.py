"""A perturbation set from another package: the documented one, installed and run as it stands, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from plugin_kit import blocks, install, pretend, with_package

PAGE = "adding-a-perturbation-set"
GROUP = "robaudit.sets"
SHAPE = (3, 4, 4)
MEANING = ("--mean", "0", "--std", "1", "--layout", "nchw", "--domain", "0,1", "--no-progress")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    return install(PAGE, "robaudit_lamp", source, target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear classifier of images, its data and the documented profile."""
    folder = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(48, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(-weight.sum(0) / 2, "bias")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    x = rng.uniform(0.2, 0.8, size=(12, *SHAPE)).astype(np.float32)
    np.savez(folder / "m.data.npz", x=x, y=((x.reshape(12, -1) - 0.5) @ weight).argmax(1))
    (folder / "lamp.yaml").write_text(blocks(PAGE)["yaml"])
    return folder


def reachable(folder: Path, eps: float) -> list[bool]:
    """Whether each sample can be made wrong by changing all channels of each pixel alike: the exact answer."""
    weight = numpy_helper.to_array(onnx.load(folder / "m.onnx").graph.initializer[0]).astype(np.float64)
    data = np.load(folder / "m.data.npz")
    found = []
    for x, y in zip(data["x"].astype(np.float64), data["y"], strict=True):
        low, high = np.maximum(-eps, -x.min(0)).ravel(), np.minimum(eps, 1 - x.max(0)).ravel()
        leads = []
        for other in set(range(3)) - {int(y)}:
            towards = weight[:, other] - weight[:, y]
            slope = towards.reshape(3, -1).sum(0)
            leads.append((x.ravel() - 0.5) @ towards + np.maximum(slope * low, slope * high).sum())
        found.append(max(leads) > 0)
    return found


@pytest.mark.slow
def test_attacks_keep_to_it_and_a_replay_knows_it(site: Path, folder: Path) -> None:
    done = with_package(
        site, folder, "scan", "m.onnx", "--profile", "lamp.yaml", "--eps", "0.04", "--run-dir", "run", *MEANING
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "where all channels of a pixel change alike" in " ".join(done.stdout.split())
    result = json.loads((folder / "run" / "result.json").read_text())
    (told,) = result["threat_model"]["sets"]
    assert (told["id"], told["content"]) == ("lamp", {"darker": True})
    assert all(attack["candidates_refused"] == 0 for attack in result["attacks"])
    fallen = [sample["broken_by"] is not None for sample in result["samples"]]
    assert fallen == reachable(folder, 0.04)
    assert {True, False} == set(fallen)
    kept = dict(np.load(folder / "run" / "evidence.npz"))
    change = kept["adversarial"].astype(np.float64) - kept["original"]
    assert np.ptp(change, axis=1).max() <= 1e-6
    assert 0 < np.abs(change).max() <= 0.04 + 1e-6
    again = with_package(site, folder, "replay", "run")
    assert again.returncode == 0, again.stderr
    assert f"All {sum(fallen)} examples hold up" in again.stdout
    alone = with_package(folder, folder, "replay", "run")  # where the package is not
    assert alone.returncode == 3
    assert "unknown perturbation set 'lamp'" in alone.stderr


def test_it_is_explained_and_its_parameters_are_checked(site: Path, folder: Path) -> None:
    told = with_package(site, folder, "explain", "lamp")
    assert told.returncode == 0, told.stderr
    assert "under a white lamp" in told.stdout
    assert "darker = false" in told.stdout
    assert with_package(site, folder, "profile", "validate", "lamp.yaml").returncode == 0
    for old, new, words in (
        ("darker", "bright", "has no parameter 'bright'; known are darker"),
        ("id: lamp", "id: lamb", "unknown perturbation set 'lamb'; did you mean 'lamp'?"),
        ("eps: 0.1", "eps: 3", "lamp can be joined with l1, l2, linf, and the threat model is l0"),
    ):
        text = blocks(PAGE)["yaml"].replace(old, new)
        (folder / "wrong.yaml").write_text(text.replace("norm: linf", "norm: l0" if new == "eps: 3" else "norm: linf"))
        refused = with_package(site, folder, "profile", "validate", "wrong.yaml")
        assert refused.returncode == 2
        assert words in refused.stderr
        assert "wrong.yaml:" in refused.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nowhere", "cannot be imported"),
        ("class Lamp: pass", "is not a PerturbationSet class"),
        (None, "two installed packages"),
    ],
)
def test_a_broken_package_is_named(code: str | None, words: str, folder: Path, tmp_path: Path) -> None:
    code = blocks(PAGE)["python"].replace('"lamp"', '"mask"') if code is None else code
    done = with_package(pretend(tmp_path, GROUP, "lamp = other:Lamp", code), folder, "explain", "mask")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1

"""``robaudit train-purifier`` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import ROBAUDIT
from quick_start import ran
from run_kit import INPUT, environment, labels_only, make_data, make_onnx

from robaudit.audit.defenses.document import TrainedPurifier

MEANING = [part for name, value in INPUT.items() for part in (f"--{name}", value)]
TINY = "ape-gan:epochs=2,width=4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("purifiers")
    make_onnx(found / "m.onnx")
    make_data(found / "d.npz", 40, wrong=0)
    return found


def train(folder: Path, *more: str, model: str = "m.onnx", data: str = "d.npz") -> subprocess.CompletedProcess[str]:
    words = ["train-purifier", model, "--data", data, "--samples", "8", "--eps", "0.1", *MEANING, *more]
    done = ran(words, cwd=folder, env=environment())
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.slow
def test_it_makes_the_same_file_each_time_which_is_a_defense(folder: Path) -> None:
    told = []
    for name in ("a.onnx", "b.onnx"):
        done = train(folder, "--recipe", TINY, "-o", name, "--format", "json", "--no-progress")
        assert (done.returncode, done.stderr) == (0, "")
        told.append(TrainedPurifier.model_validate_json(done.stdout))
    assert told[0] == told[1]
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()
    first = told[0]
    assert (first.trained_on, first.held_out, first.audited) == (29, 3, 8)  # 8 of 40 are audited
    assert (first.rounds, first.planned, first.complete, first.guided) == (2, 2, True, True)
    assert 0 <= first.disturbed_behind <= 3
    command = ["scan", "m.onnx", "--data", "d.npz", "--samples", "8", "--eps", "0.1", "--profile", "quick"]
    done = ran(
        [*command, *MEANING, "--defense", "purifier:a.onnx", "--quiet", "--run-dir", "r"], cwd=folder, env=environment()
    )
    assert done.returncode in (0, 3), done.stderr
    result = json.loads((folder / "r" / "result.json").read_text())
    assert result["defense"]["id"] == "purifier"
    assert len(result["samples"]) == 8


@pytest.mark.slow
def test_it_says_what_it_made_and_how_far_it_is(folder: Path) -> None:
    done = train(folder, "--recipe", "patches:size=3,count=20", "-o", "p.npz")
    assert done.returncode == 0, done.stderr
    for words in (
        "made of 29 samples apart from the 8",
        "of 3 held-out samples",
        "wrote p.npz",
        "--defense quilting:p.npz",
    ):
        assert words in " ".join(done.stdout.split())
    assert "1 of 1 round" in done.stderr
    assert np.load(folder / "p.npz")["patches"].shape == (20, 1, 3, 3)


@pytest.mark.slow
def test_a_model_that_names_labels_alone_has_a_denoiser(folder: Path) -> None:
    labels_only(folder / "labels.onnx", hide=True)
    done = train(folder, "--recipe", "denoiser:epochs=1,width=2", "-o", "l.onnx", model="labels.onnx")
    assert done.returncode == 0, done.stderr
    assert "the model has no gradient" in done.stdout
    done = train(folder, "--recipe", "ape-gan", "-o", "n.onnx", model="labels.onnx")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "learns from adversarial examples of the model, which has no gradient" in done.stderr
    assert not (folder / "n.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-o", "p.txt"], "is written as a file .onnx, not as 'p.txt'"),
        (["-o", "m.onnx"], "would replace the model"),
        (["-o", "none/p.onnx"], "the folder 'none' of the purifier 'p.onnx' does not exist"),
        (["-o", "p.onnx", "--recipe", "magnett"], "unknown purifier 'magnett'"),
        (["-o", "p.onnx", "--recipe", "magnet:epochs=0"], "epochs"),
        (["-o", "p.onnx", "--norm", "l1", "--eps", "2"], "in linf or l2, and the norm is l1"),
        (["-o", "p.onnx", "--samples", "40"], "0 readable samples apart from the 40 that are audited"),
        (["-o", "p.npz", "--recipe", "patches:size=9"], "its patches of 9 are larger than the model's images, 6x6"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_sentence(folder: Path, more: list[str], words: str) -> None:
    done = train(folder, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.slow
def test_tables_are_refused(folder: Path) -> None:
    onnx_table(folder / "t.onnx")
    (folder / "t.csv").write_text("a,b,c,d,label\n" + "".join(f"{i / 40},0.5,0.2,{i % 3},{i % 2}\n" for i in range(40)))
    command = ["train-purifier", "t.onnx", "--data", "t.csv", "--label-column", "label", "-o", "p.onnx"]
    done = ran(command, cwd=folder, env=environment())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "it needs images, and the model takes 4 features" in done.stderr


def onnx_table(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [1.0, -1, 0.5, 0, 0, 1, -1, 1])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "table",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.mark.slow
@pytest.mark.parametrize("eps", [[], ["--eps", "8/255"]], ids=["usual", "fraction"])
def test_a_radius_may_be_a_fraction_and_may_be_left_to_the_profile(folder: Path, eps: list[str]) -> None:
    command = ["train-purifier", "m.onnx", "--data", "d.npz", "--samples", "8", *MEANING, *eps]
    done = ran(
        [*command, "--recipe", "magnet:epochs=1,width=4", "-o", f"f{len(eps)}.onnx", "--no-progress"],
        cwd=folder,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_time_budget_ends_it_with_what_it_has(folder: Path) -> None:
    done = train(
        folder, "--recipe", "magnet:epochs=100000,width=4", "--time-budget", "25s", "-o", "t.onnx", "--no-progress"
    )
    assert done.returncode == 0, done.stderr
    assert "the time budget ended it after" in done.stdout
    assert (folder / "t.onnx").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_writes_nothing(folder: Path) -> None:
    command = [ROBAUDIT, "train-purifier", "m.onnx", "--data", "d.npz", "--samples", "8", *MEANING]
    command += ["--recipe", "magnet:epochs=100000,width=4", "-o", "i.onnx"]
    with subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "of 100000 rounds" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        rest = process.stderr.read()
    assert process.returncode == 130
    assert time.monotonic() - begun < 60
    assert rest.splitlines()[-1] == "stopped; nothing was written"
    assert not (folder / "i.onnx").exists()

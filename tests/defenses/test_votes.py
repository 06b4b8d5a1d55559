"""Targets behind which many answers vote, and audits of random and voting defenses as a user runs them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from plugin_kit import with_package
from run_kit import CLASSES, INPUT, labels_only, make_data, make_onnx, predict
from target_kit import complete, load, points

from robaudit.defenses.registry import fitted, parse_chain
from robaudit.target.reading.opened import OpenedTarget

PROFILE = (
    "name: p\nthreat: {norm: linf, eps: 0.3}\nattacks:\n  - {id: pgd, steps: 4}\n  - {id: square, queries: 20}\n"
    "checks: [clean, parity, evidence]\n"
)
MEANING = [part for name, value in INPUT.items() for part in (f"--{name}", value)]


def behind(path: Path, chain: str) -> OpenedTarget:
    bare = load(path)
    spec = dataclasses.replace(bare.spec, defenses=tuple(fitted(one, bare.spec) for one in parse_chain(chain)))
    return bare.reread(spec=spec)


def counted(chain: str, u: np.ndarray) -> np.ndarray:
    """[N, K] votes, by the network in NumPy."""
    found = u
    for one in parse_chain(chain):
        found = one.shown(found)
    classes = predict(found).reshape(len(u), -1)
    return np.stack([(classes == k).sum(1) for k in range(CLASSES)], 1)


@pytest.mark.parametrize(
    "chain", ["region-vote:radius=0.3,votes=9", "bits:3+smoothing:sigma=0.3,votes=9", "smoothing:votes=9+bits:2"]
)
def test_scores_are_votes_and_the_gradient_is_that_of_the_mean_softmax(tmp_path: Path, chain: str) -> None:
    path = make_onnx(tmp_path / "m.onnx")
    target, bare = behind(path, chain), load(path)
    u = points(target, 5)
    votes = counted(chain, u.numpy())
    assert (votes.sum(1) == 9).all()
    assert (votes.max(1) < 9).any()
    expected = np.log((votes + 0.5) / (9 + 0.5 * CLASSES))
    np.testing.assert_allclose(target.scores(u).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(target.scores(u[2:3], alone=True).numpy(), expected[2:3], rtol=1e-5)
    shown = target.spec.to_file(u)
    mean = bare.logits(shown).softmax(1).reshape(5, 9, CLASSES).mean(1)
    leaf = u.clone().requires_grad_()
    logits = target.logits(leaf)
    torch.testing.assert_close(logits.detach(), mean.log().to(logits), rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), leaf)
    assert bool((gradient != 0).any())


def test_labels_vote_too(tmp_path: Path) -> None:
    chain = "region-vote:radius=0.3,votes=9"
    target = behind(labels_only(tmp_path / "m.onnx"), chain)
    u = points(target, 5)
    np.testing.assert_allclose(target.scores(u).numpy(), counted(chain, u.numpy()) / 9, rtol=1e-5)


def test_votes_that_name_no_class_are_an_answer_without_one(tmp_path: Path) -> None:
    target = behind(make_onnx(tmp_path / "m.onnx"), "smoothing:sigma=0.2,votes=9,alpha=0.01")
    u = points(target, 12)
    votes = np.sort(counted("smoothing:sigma=0.2,votes=9", u.numpy()), 1)
    # two-sided, 9 to 0: 2 ** -8; 8 to 1: 0.039
    named = (votes[:, -1] == 9) | ((votes[:, -1] == 8) & (votes[:, -2] == 0))
    assert named.any()
    assert not named.all()
    scores = target.scores(u)
    np.testing.assert_array_equal(torch.isnan(scores).all(1).numpy(), ~named)
    np.testing.assert_array_equal(torch.isnan(scores).any(1).numpy(), ~named)


def test_the_file_is_measured_without_the_votes(tmp_path: Path) -> None:
    target = behind(make_onnx(tmp_path / "m.onnx"), "region-vote:radius=0.3,votes=9")
    measured = complete(target, points(target, 6))
    assert measured.spec.voting is not None
    assert (measured.batch_invariant, measured.repeats_itself, measured.head.kind) == (True, True, "logits")
    assert measured.parity(points(target, 6)).argmax_agreement == 1.0


def test_random_defenses_behind_votes_draw_apart(tmp_path: Path) -> None:
    target = behind(make_onnx(tmp_path / "m.onnx"), "region-vote:radius=1e-9,votes=4+noise:0.2")
    u = points(target, 2)
    shown = target.spec.to_file(u, np.array([1, 2], dtype=np.uint64))
    assert len({row.numpy().tobytes() for row in shown}) == 8
    draws = target.draws(u, range(3))
    assert draws.shape == (2, 3, CLASSES)
    assert torch.equal(draws, target.draws(u, range(3)))
    np.testing.assert_array_equal(target.spec.file_array(u.numpy(), np.array([1, 2], dtype=np.uint64)), shown.numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("votes")
    make_onnx(found / "m.onnx")
    make_data(found / "d.npz", 8, wrong=0)
    (found / "p.yaml").write_text(PROFILE)
    return found


def ran(folder: Path, *command: str) -> tuple[int, str, str]:
    done = with_package(folder, folder, *command)
    return done.returncode, done.stdout, done.stderr


SCAN = ("m.onnx", "--data", "d.npz", "--profile", "p.yaml", "--no-progress", *MEANING)


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["region-vote:radius=0.05,votes=7", "noise:0.02", "resize-pad:0.8", "barrage:2"])
def test_an_audit_behind_it_is_replayed(folder: Path, defense: str) -> None:
    code, _, err = ran(folder, "scan", *SCAN, "--quiet", "--run-dir", defense.partition(":")[0], "--defense", defense)
    assert code == 0, err
    result = json.loads((folder / defense.partition(":")[0] / "result.json").read_text())
    assert result["target"].get("random") == (None if "vote" in defense else "defense")
    assert any(sample["broken_by"] for sample in result["samples"])
    code, out, err = ran(folder, "replay", defense.partition(":")[0])
    assert code == 0, out + err


@pytest.mark.slow
def test_random_and_voting_defenses_are_compared(folder: Path) -> None:
    chains = ("--defense", "noise:0.02", "--defense", "smoothing:sigma=0.02,votes=5")
    code, _, err = ran(folder, "defenses", "compare", *SCAN, "--run-dir", "c", *chains, "-o", "c.json")
    assert code == 0, err
    rows = json.loads((folder / "c.json").read_text())["rows"]
    assert len(rows) == 2
    for row in rows:
        assert row["clean"]["pairs"] == 8
        assert 0 < row["latency"] < 25  # of one draw, and not of fifty


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--defense", "smoothing", "--defense", "region-vote"], "two defenses of the chain answer by vote"),
        (["--defense", "smoothing", "--reject-below", "0.5"], "--reject-below is about the confidence of one answer"),
    ],
)
@pytest.mark.slow
def test_what_votes_cannot_do_is_refused(folder: Path, flags: list[str], words: str) -> None:
    code, _, err = ran(folder, "scan", *SCAN, *flags, "--run-dir", "refused")
    assert (code, err.count("\n")) == (2, 1)
    assert words in err

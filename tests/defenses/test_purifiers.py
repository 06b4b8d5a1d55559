"""Purifiers that are given as files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from wrapper_kit import SHAPE, images, meaning, onnx_purifier, script_purifier

from robaudit.defenses.base import Defense
from robaudit.defenses.registry import fitted, make_defense
from robaudit.errors import UsageError


def ready(path: Path, shape: tuple[int, ...] = SHAPE) -> Defense:
    return fitted(make_defense("purifier", {"file": str(path)}), meaning(shape))


def test_an_onnx_file_is_the_defense_and_its_gradient_is_exact(tmp_path: Path) -> None:
    defense = ready(onnx_purifier(tmp_path / "p.onnx"))
    u = images()
    np.testing.assert_allclose(defense.shown(u), u / 2 + 0.25, atol=1e-6)
    leaf = torch.from_numpy(u).requires_grad_()
    (gradient,) = torch.autograd.grad(defense.backward_path(leaf).sum(), leaf)
    torch.testing.assert_close(gradient, torch.full_like(gradient, 0.5))


def test_where_a_file_has_no_gradient_the_identity_stands_for_it(tmp_path: Path) -> None:
    defense = ready(onnx_purifier(tmp_path / "p.onnx", out="rounded"))
    u = torch.from_numpy(images()).requires_grad_()
    assert set(np.unique(defense.shown(u.detach().numpy()))) <= {0.0, 1.0}
    (gradient,) = torch.autograd.grad(defense.backward_path(u).sum(), u)
    assert torch.equal(gradient, torch.ones_like(gradient))


@pytest.mark.parametrize("shape", [(1, 3, 12, 10), (1, 12, 10, 3), (4, 3, 12, 10)])
def test_a_file_may_take_channels_last_or_a_batch_of_its_own(tmp_path: Path, shape: tuple[int, ...]) -> None:
    defense = ready(onnx_purifier(tmp_path / "p.onnx", shape=shape))
    u = images()
    np.testing.assert_allclose(defense.shown(u), u / 2 + 0.25, atol=1e-6)
    assert defense.forward(torch.from_numpy(u)).numpy().tobytes() == defense.shown(u).tobytes()


def test_a_script_is_a_purifier_too(tmp_path: Path) -> None:
    path = script_purifier(tmp_path / "p.pt")
    defense, module = ready(path), torch.jit.load(str(path))
    u = torch.from_numpy(images()).requires_grad_()
    expected = torch.cat([module(row[None]) for row in u])
    np.testing.assert_allclose(defense.shown(u.detach().numpy()), expected.detach().numpy(), atol=1e-6)
    found = torch.autograd.grad(defense.backward_path(u).pow(2).sum(), u)[0]
    torch.testing.assert_close(found, torch.autograd.grad(expected.pow(2).sum(), u)[0])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"shape": (1, 3, 32, 32)}, "does not take images of 3x12x10, as the model does"),
        ({"out": "summed"}, "makes 1x3x12x1 of 1x3x12x10; both must be equal"),
        ({"out": "noisy"}, "answers otherwise each time; random defenses are not supported yet"),
    ],
)
def test_a_file_that_is_no_purifier_of_these_images_is_refused(tmp_path: Path, made, words: str) -> None:
    path = onnx_purifier(tmp_path / "p.onnx", **made)
    with pytest.raises(UsageError) as refusal:
        ready(path)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        ready(tmp_path / "p.onnx")


def test_an_onnx_file_is_asked_without_torch(tmp_path: Path) -> None:
    path = onnx_purifier(tmp_path / "p.onnx")
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from robaudit.defenses.registry import make_defense, fitted\n"
        "from robaudit.target.inputs.meaning import InputMeaning\n"
        "meaning = InputMeaning('x', (3, 4, 4), (3, 4, 4), 'image', 'nchw')\n"
        f"asked = (('purifier', {{'file': {str(path)!r}}}), ('jpeg', {{}}), ('median', {{}}))\n"
        "chain = [fitted(make_defense(*one), meaning) for one in asked]\n"
        "u = np.zeros((2, 3, 4, 4), np.float32)\n"
        "for one in chain: u = one.shown(u)\n"
        "assert abs(u - 0.25).max() < 0.01\n"
        "print('torch' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.stdout == "False\n", told.stderr

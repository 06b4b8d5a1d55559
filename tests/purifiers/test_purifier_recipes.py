"""How purifiers are made of clean images."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from robaudit.defenses.registry import fitted, make_defense
from robaudit.errors import AuditError, UsageError
from robaudit.purifiers.base import Lessons, Schedule
from robaudit.purifiers.networks import ImageNetwork, Layer
from robaudit.purifiers.registry import parse_recipe, purifier_classes
from robaudit.target.inputs.spec import InputSpec

NETWORKS = ("ape-gan", "denoiser", "magnet")
EPS = 0.1


def bars(count: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Images [N, C, H, W] of one bright bar each: class 0 where it stands, 1 where it lies."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.full((count, *shape), 0.2)
    for row in found:
        along = int(torch.randint(2, (1,), generator=generator))
        place = int(torch.randint(1, min(shape[1:]) - 1, (1,), generator=generator))
        row[(slice(None), place) if along else (slice(None), slice(None), place)] = 0.8
    return found


def ramps(count: int, seed: int) -> Tensor:
    """Smooth images [N, 1, 8, 8]."""
    ends = torch.rand((count, 1, 2, 2), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(ends, (8, 8), mode="bilinear", align_corners=True)


def logits(u: Tensor) -> Tensor:
    """Standing against lying bars, by the spread of the means of columns and rows."""
    spreads = [u.mean((1, axis)).var(1) for axis in (2, 3)]
    return 200 * torch.stack(spreads, 1)


def lessons(
    shape: tuple[int, int, int] = (1, 9, 10), *, model: Callable[[Tensor], Tensor] | None = logits, count: int = 64
) -> Lessons:
    return Lessons(bars(count, shape), model, "linf", EPS, 0)


def ran(content: bytes, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.numpy()})[0]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 9, 10), (3, 4, 7)])
def test_a_network_is_written_as_torch_computes_it(name: str, shape: tuple[int, int, int]) -> None:
    network = parse_recipe(name).network(shape, 3)  # type: ignore[attr-defined]
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.2, generator=torch.Generator().manual_seed(1))
    x = torch.rand((2, *shape), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network.eval()(x).numpy()
    found = ran(network.as_onnx(), x)
    assert found.shape == x.shape
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["ape-gan", "denoiser"])
def test_what_is_made_takes_perturbations_off_images_that_it_has_not_seen(name: str) -> None:
    content = parse_recipe(f"{name}:epochs=60,width=8").make(lessons(count=128), Schedule())
    clean = bars(40, (1, 9, 10), seed=9)
    disturbed = lessons().disturbed(clean, torch.Generator().manual_seed(4))
    found = torch.from_numpy(ran(content, disturbed))
    if name == "denoiser":  # told by logits alone
        far, near = (logits(u) - logits(clean) for u in (disturbed, found))
    else:
        far, near = disturbed - clean, found - clean
    assert float(near.square().mean()) < 0.6 * float(far.square().mean())


def test_a_reformer_takes_noise_off_smooth_images() -> None:
    mine = Lessons(ramps(128, 0), None, "linf", EPS, 0)
    content = parse_recipe("magnet:epochs=80,width=8,noise=0.2").make(mine, Schedule())
    clean = ramps(40, 1)
    noisy = (clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(4))).clamp(0, 1)
    near = torch.from_numpy(ran(content, noisy)) - clean
    assert float(near.square().mean()) < 0.6 * float((noisy - clean).square().mean())


@pytest.mark.parametrize("name", [*NETWORKS, "patches:count=50,size=3"])
def test_the_same_lessons_make_the_same_file_and_another_seed_another(name: str) -> None:
    text = name if "patches" in name else f"{name}:epochs=1,width=4"
    first, second = (parse_recipe(text).make(lessons(), Schedule()) for _ in range(2))
    assert first == second
    assert parse_recipe(text).make(Lessons(lessons().images, logits, "linf", EPS, 1), Schedule()) != first


def test_the_file_is_a_defense_with_a_gradient(tmp_path: Path) -> None:
    file = tmp_path / "p.onnx"
    file.write_bytes(parse_recipe("ape-gan:epochs=2,width=4").make(lessons(), Schedule()))
    meaning = InputSpec("x", (1, 9, 10), (1, 9, 10), "image", "nchw")
    defense = fitted(make_defense("purifier", {"file": str(file)}), meaning)
    u = bars(2, (1, 9, 10)).requires_grad_()
    np.testing.assert_allclose(defense.shown(u.detach().numpy()), ran(file.read_bytes(), u.detach()), atol=1e-5)
    (gradient,) = torch.autograd.grad(defense.backward_path(u).square().sum(), u)
    assert not torch.equal(gradient, 2 * u.detach())  # that of the identity
    assert bool((gradient != 0).any())


def test_a_model_without_a_gradient_has_a_denoiser_of_pixels() -> None:
    blind = Lessons(ramps(128, 0), None, "linf", EPS, 0)
    content = parse_recipe("denoiser:epochs=60,width=16").make(blind, Schedule())
    clean = ramps(20, 1)
    disturbed = blind.disturbed(clean, torch.Generator().manual_seed(4))
    near = torch.from_numpy(ran(content, disturbed)) - clean
    assert float(near.abs().mean()) < 0.9 * float((disturbed - clean).abs().mean())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_perturbations_stay_in_ball_and_box_and_against_the_model(norm: str) -> None:
    clean = bars(50, (1, 9, 10))
    found = Lessons(clean, logits, norm, EPS, 0).disturbed(clean, torch.Generator().manual_seed(0))
    change = (found - clean).flatten(1)
    length = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert float(length.max()) <= EPS * (1 + 1e-5)
    assert float(length.min()) < EPS / 5  # radii are drawn
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    right = logits(clean).argmax(1)
    margin = [
        (torch.gather(z, 1, right[:, None]) * 2 - z.sum(1, keepdim=True)).mean() for z in (logits(clean), logits(found))
    ]
    assert margin[1] < margin[0]


def test_time_that_is_over_ends_the_training() -> None:
    steps = iter([True] * 5)
    schedule = Schedule(lambda: next(steps, False))
    content = parse_recipe("magnet:epochs=10,width=4").make(lessons(), schedule)
    assert (schedule.done, schedule.rounds) == (2, 10)  # of two batches each
    assert ran(content, bars(1, (1, 9, 10))).shape == (1, 1, 9, 10)
    for name in (*NETWORKS, "patches:size=3"):
        with pytest.raises(AuditError, match="the time budget was over before"):
            parse_recipe(name).make(lessons(), Schedule(lambda: False))


def test_progress_is_told_round_by_round() -> None:
    told: list[tuple[int, int, float]] = []
    parse_recipe("magnet:epochs=3,width=4").make(lessons(), Schedule(told=lambda *one: told.append(one)))
    assert [one[:2] for one in told] == [(1, 3), (2, 3), (3, 3)]
    assert all(math.isfinite(loss) for *_, loss in told)


def test_a_training_that_diverges_is_no_purifier() -> None:
    wild = Lessons(torch.full((32, 1, 8, 8), math.inf), None, "linf", EPS, 0)
    with pytest.raises(AuditError, match="diverged"):
        parse_recipe("magnet:epochs=1,width=4").make(wild, Schedule())


def test_patches_are_cut_out_of_the_images() -> None:
    mine = torch.rand((3, 2, 6, 5), generator=torch.Generator().manual_seed(0))
    content = parse_recipe("patches:count=30,size=3").make(Lessons(mine, None, "linf", EPS, 0), Schedule())
    patches = np.load(io.BytesIO(content))["patches"]
    assert patches.shape == (30, 2, 3, 3)
    windows = np.lib.stride_tricks.sliding_window_view(mine.numpy(), (3, 3), axis=(2, 3))
    known = {
        np.ascontiguousarray(one).tobytes() for image in np.moveaxis(windows, 1, 3) for row in image for one in row
    }
    assert {np.ascontiguousarray(one).tobytes() for one in patches} <= known
    assert len(np.unique(patches.reshape(30, -1), axis=0)) > 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("magnett", "unknown purifier 'magnett'; did you mean"),
        ("magnet:epoch=3", "has no parameter 'epoch'"),
        ("magnet:epochs=0", "epochs"),
        ("magnet:noise=2", "noise"),
        ("patches:size=1", "size"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_recipe(text)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_images_may_be_too_small() -> None:
    assert {*NETWORKS, "patches"} <= set(purifier_classes())
    for name in NETWORKS:
        assert "at least 4x4" in (parse_recipe(name).unsuited((1, 3, 9)) or "")
        assert parse_recipe(name).unsuited((1, 4, 4)) is None
    assert "larger than the model's images" in (parse_recipe("patches").unsuited((1, 4, 9)) or "")


def test_layers_double_to_any_size() -> None:
    layers = [Layer("halve"), Layer("double", size=(5, 7)), Layer("add", name="x")]
    network = ImageNetwork(layers, (1, 5, 7), 0)
    x = torch.arange(35.0).reshape(1, 1, 5, 7) / 100
    np.testing.assert_allclose(ran(network.as_onnx(), x), network(x).numpy(), atol=1e-6)

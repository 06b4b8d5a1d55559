"""Each defense of images: what it makes of them, the gradient behind it, and what it does not apply to."""

from __future__ import annotations

import dataclasses
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from wrapper_kit import SHAPE, images, meaning

from robaudit.defenses.base import Defense
from robaudit.defenses.blurs import Gaussian, Median
from robaudit.defenses.jpeg import Jpeg
from robaudit.defenses.registry import fitted, parse_chain, parse_defense, rooted, words_of_chain
from robaudit.errors import UsageError
from robaudit.target.inputs.spec import InputSpec

CORE = ["jpeg:75", "jpeg:20,subsampling=4:4:4", "jpeg:60,subsampling=4:2:2", "median:2", "median:3", "gaussian:0.8"]
OF_SKIMAGE = ["nl-means:0.1", "tv:0.1"]


def made(text: str) -> Defense:
    if text in OF_SKIMAGE:
        pytest.importorskip("skimage")
    return parse_defense(text)


def behind(*chain: Defense) -> InputSpec:
    return dataclasses.replace(meaning(), defenses=chain)


@pytest.mark.parametrize("text", [*CORE, *OF_SKIMAGE, "bits:3"])
@pytest.mark.parametrize("shape", [SHAPE, (1, 9, 9)])
def test_torch_shows_the_same_bits_and_each_row_by_itself(text: str, shape: tuple[int, ...]) -> None:
    defense = made(text)
    assert defense.unsuited(meaning(shape)) is None
    for dtype in (np.float32, np.float64):
        u = images(3, shape).astype(dtype)
        shown = defense.shown(u)
        assert (shown.dtype, shown.shape) == (u.dtype, u.shape)
        assert 0 <= shown.min() <= shown.max() <= 1
        assert defense.forward(torch.from_numpy(u)).numpy().tobytes() == shown.tobytes()
        for row in range(3):
            assert defense.shown(u[row : row + 1]).tobytes() == shown[row : row + 1].tobytes()
    assert not np.array_equal(shown, u), "it does something"


@pytest.mark.parametrize(("quality", "subsampling"), [(75, 2), (30, 0)])
def test_jpeg_is_the_codec_of_pillow(quality: int, subsampling: int) -> None:
    u = images(1)
    file = io.BytesIO()
    Image.fromarray(np.rint(u[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(
        file, "JPEG", quality=quality, subsampling=subsampling
    )
    expected = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
    named = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}[subsampling]
    shown = Jpeg(quality=quality, subsampling=named).shown(u)  # type: ignore[arg-type]
    np.testing.assert_allclose(shown[0], expected, atol=1e-6)


def test_a_grey_image_is_coded_as_grey() -> None:
    u = images(1, (1, 16, 16))
    file = io.BytesIO()
    Image.fromarray(np.rint(u[0, 0] * 255).astype(np.uint8)).save(file, "JPEG", quality=50)
    np.testing.assert_allclose(Jpeg(quality=50).shown(u)[0, 0], np.asarray(Image.open(file)) / 255, atol=1e-6)


@pytest.mark.parametrize("quality", [10, 50, 75])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("shape", [(3, 24, 20), (1, 17, 13)])
def test_the_soft_codec_is_the_codec_where_it_is_averaged_over_hardly_any_noise(
    quality: int, subsampling: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robaudit.defenses._soft_jpeg.NOISE", 0.1)
    monkeypatch.setattr("robaudit.defenses._soft_jpeg.STRAIGHT", 0.0)
    u = images(4, shape)
    u = np.clip(u + np.random.default_rng(1).normal(0, 0.05, u.shape), 0, 1).astype(np.float32)
    defense = Jpeg(quality=quality, subsampling=subsampling)  # type: ignore[arg-type]
    shown, soft = defense.shown(u), defense.backward_path(torch.from_numpy(u)).numpy()
    error, alone = np.abs(soft - shown).mean(), np.abs(u - shown).mean()
    assert error < 0.25 * alone, (error, alone)


def test_the_gradient_of_the_soft_codec_is_that_of_its_values() -> None:
    u = torch.from_numpy(images(1, (3, 8, 8))).double().requires_grad_()
    assert torch.autograd.gradcheck(Jpeg(quality=60).backward_path, u, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_median_goes_back_to_the_pixel_that_it_was(size: int) -> None:
    defense = Median(size=size)
    u = torch.rand(2, 3, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    path = defense.backward_path(u)
    np.testing.assert_array_equal(path.detach().numpy(), defense.shown(u.detach().numpy()))
    (gradient,) = torch.autograd.grad(path.sum(), u)
    assert gradient.sum() == path.numel(), "each place is one pixel's"
    assert torch.equal(gradient, gradient.round())


def test_the_blur_is_linear_and_its_gradient_exact() -> None:
    defense = Gaussian(sigma=1.3)
    u = torch.rand(2, 1, 9, 5, dtype=torch.float64).requires_grad_()
    path = defense.backward_path(u)
    np.testing.assert_allclose(path.detach().numpy(), defense.shown(u.detach().numpy()), atol=1e-12)
    expected = ndimage.gaussian_filter(u.detach().numpy(), (0, 0, 1.3, 1.3), mode="reflect")
    np.testing.assert_allclose(path.detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("text", OF_SKIMAGE)
def test_denoisers_take_noise_away(text: str) -> None:
    defense = made(text)
    clean = np.full((2, 3, 24, 24), 0.3, dtype=np.float32)
    clean[:, 0, :, 12:] += 0.4
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 0.04, clean.shape), 0, 1).astype(np.float32)
    assert np.square(defense.shown(noisy) - clean).mean() < 0.6 * np.square(noisy - clean).mean()


def test_the_first_steps_of_total_variation_come_near_all_of_them() -> None:
    u = np.clip(images(2) + np.random.default_rng(0).normal(0, 0.03, (2, *SHAPE)), 0, 1).astype(np.float32)
    defense = made("tv:0.1")
    shown, soft = defense.shown(u), defense.backward_path(torch.from_numpy(u)).numpy()
    assert np.abs(soft - shown).mean() < 0.25 * np.abs(u - shown).mean()
    flat = torch.full((1, *SHAPE), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(defense.backward_path(flat).sum(), flat)
    assert torch.isfinite(gradient).all()


def test_what_a_defense_does_not_apply_to_is_told_in_a_sentence() -> None:
    table, signal, two = meaning((4,)), meaning((2, 30)), meaning((2, 8, 8))
    for text, spec in itertools.product(["jpeg", "median", "gaussian", "purifier:p.onnx"], [table, signal]):
        with pytest.raises(UsageError, match=rf"the defense {text.partition(':')[0]} does not apply: it needs images"):
            fitted(parse_defense(text), spec)
    with pytest.raises(UsageError, match="images of 1 or 3 channels, and the model takes 2"):
        fitted(parse_defense("jpeg"), two)
    with pytest.raises(UsageError, match=r"images of 8 bits, and the model's domain is \[-3, 3\]"):
        fitted(parse_defense("jpeg"), meaning(lo=-3.0, hi=3.0))
    for low, high in ((0.0, 255.0), (-1.0, 1.0)):
        assert fitted(parse_defense("jpeg"), meaning(lo=low, hi=high)) == Jpeg()
    with pytest.raises(UsageError, match="its window of 9 is larger than the model's images, 8x8"):
        fitted(parse_defense("median:9"), two)
    with pytest.raises(UsageError, match="its window of 10 has no middle"):
        fitted(parse_defense("nl-means:window=10"), two)


@pytest.mark.parametrize("text", ["tv", "nl-means"])
def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"it needs scikit-image, .*pip install 'robaudit\[defenses\]'"):
        fitted(parse_defense(text), meaning())


def test_a_chain_is_shown_in_order_and_its_gradient_comes_back_in_reverse() -> None:
    blur, bits = parse_chain("gaussian:0.8+bits:2")
    ordered, swapped = behind(blur, bits), behind(bits, blur)
    u = torch.from_numpy(images(2)).double()
    expected = bits.shown(blur.shown(u.numpy()))
    assert ordered.to_file(u).numpy().tobytes() == expected.tobytes()
    assert not torch.equal(ordered.to_file(u), swapped.to_file(u))
    assert ordered.file_array(u.float().numpy()).tobytes() == ordered.to_file(u.float()).numpy().tobytes()
    leaf = u.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((ordered.to_file(leaf) ** 2).sum(), leaf)
    again = u.clone().requires_grad_()  # 2 x of the values behind both, back through the blur alone
    (wanted,) = torch.autograd.grad(blur.backward_path(again), again, 2 * torch.from_numpy(expected))
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bits:4", ["bits:depth=4"]),
        ("jpeg:80+bits:4", ["jpeg:quality=80,subsampling=4:2:0", "bits:depth=4"]),
        ("tv:1e+0+median", ["tv:weight=1.0,steps=100", "median:size=3"]),
        ("purifier:a+b.onnx", ["purifier:file=a+b.onnx"]),
        ("purifier:dir/p.onnx+bits", ["purifier:file=dir/p.onnx", "bits:depth=3"]),
    ],
)
def test_how_settings_name_a_chain(text: str, words: list[str]) -> None:
    chain = parse_chain(text)
    assert words_of_chain(chain) == "+".join(words)
    assert parse_chain(words_of_chain(chain)) == chain


def test_files_of_a_chain_are_named_from_the_folder_of_the_file_that_names_them(tmp_path: Path) -> None:
    assert rooted("bits+purifier:p.onnx", tmp_path) == f"bits:depth=3+purifier:file={tmp_path / 'p.onnx'}"
    absolute = tmp_path / "other" / "p.onnx"
    assert rooted(f"purifier:{absolute}", tmp_path) == f"purifier:file={absolute}"

"""Models of timm by name. The library needs torchvision, which the test extra does not have: a small one stands in."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from models import network, samples_for
from test_recipes import fit
from torch import Tensor, nn

from robaudit.errors import AuditError, UsageError
from robaudit.surrogates.registry import make_recipe

SHAPE = (3, 12, 10)


@dataclass
class Config:
    num_classes: int = 5
    input_size: tuple[int, ...] = (3, 8, 8)
    mean: tuple[float, ...] = (0.5, 0.4, 0.3)
    std: tuple[float, ...] = (0.2, 0.25, 0.5)
    hf_hub_id: str | None = None
    hf_hub_filename: str | None = None
    url: str = ""


class Library(ModuleType):
    """Knows one model, ``tiny`` with the weights ``tiny.a``."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.config = Config()

    def is_model(self, name: str) -> bool:
        return name == "tiny"

    def get_pretrained_cfg(self, name: str, allow_unregistered: bool) -> Config | None:
        assert not allow_unregistered
        return self.config if name in ("tiny", "tiny.a") else None

    def create_model(self, name: str, num_classes: int, checkpoint_path: str) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))
        model.load_state_dict(torch.load(checkpoint_path, weights_only=True))
        return model


@pytest.fixture
def library(monkeypatch, tmp_path) -> Library:
    made = Library()
    monkeypatch.setitem(sys.modules, "timm", made)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return made


def stored(path: Path, classes: int = 5) -> Path:
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"1.weight": torch.randn(classes, 192), "1.bias": torch.randn(classes)}, path)
    return path


def parameters(path: Path) -> dict[str, Any]:
    return {"name": "tiny.a", "weights": str(path)}


def test_it_is_asked_with_the_models_own_size_mean_and_deviation(library: Library, tmp_path) -> None:
    path = stored(tmp_path / "w.pth")
    target = network(SHAPE, 5)
    recipe = make_recipe("timm", parameters(path) | {"held": 7})
    assert recipe.unsuited(5, SHAPE) is None
    found, _ = fit(target, recipe, samples_for(target, 7))
    assert found is not None
    assert found.cost.queries == int(found.artefact["held_out"]) == 7
    assert int(found.artefact["trained_on"]) == 0
    assert recipe.digest(found.artefact) == hashlib.sha256(path.read_bytes()).hexdigest()
    model = recipe.model(found.artefact, 5, SHAPE)
    u = torch.rand(4, *SHAPE, dtype=torch.float64, requires_grad=True)
    shown = torch.nn.functional.interpolate(u.float(), (8, 8), mode="bilinear", antialias=True)
    weights = torch.load(path, weights_only=True)
    normal = (shown - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.25, 0.5]).view(3, 1, 1)
    expected = normal.flatten(1) @ weights["1.weight"].T + weights["1.bias"]
    answer = model.logits(u)
    assert answer.dtype == torch.float64
    torch.testing.assert_close(answer, expected.double())
    (slope,) = torch.autograd.grad(answer.sum(), u)
    assert (slope != 0).any()
    agreed = sum(
        int(model.logits(torch.as_tensor(s.u)[None]).argmax())
        == int(target.scores(torch.as_tensor(s.u)[None]).argmax())
        for s in samples_for(target, 7)
    )
    assert int(found.artefact["agreed"]) == agreed


def test_grey_images_are_shown_as_colour_and_no_sample_apart_is_needed(library: Library, tmp_path) -> None:
    target = network((1, 8, 8), 5)
    recipe = make_recipe("timm", parameters(stored(tmp_path / "w.pth")))
    assert recipe.fit_needs == 0
    found, _ = fit(target, recipe, [])
    assert found is not None
    assert int(found.artefact["held_out"]) == int(found.artefact["agreed"]) == 0
    assert recipe.model(found.artefact, 5, (1, 8, 8)).logits(torch.rand(2, 1, 8, 8)).shape == (2, 5)


def test_images_may_be_shown_in_another_size(library: Library, tmp_path, monkeypatch) -> None:
    shapes = []

    class Halved(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            shapes.append(tuple(image.shape))
            return image[..., ::2, ::2]

    made = library.create_model
    monkeypatch.setattr(library, "create_model", lambda *a, **k: nn.Sequential(Halved(), made(*a, **k)))
    target = network(SHAPE, 5)
    recipe = make_recipe("timm", parameters(stored(tmp_path / "w.pth")) | {"size": 16})
    assert fit(target, recipe, samples_for(target, 3))[0] is not None
    assert shapes == [(3, 3, 16, 16)]


def test_weights_of_timms_cache_are_found(library: Library, tmp_path) -> None:
    library.config.url = "https://example.org/files/tiny-1.pth"
    recipe = make_recipe("timm", {"name": "tiny.a"})
    assert "robaudit downloads nothing" in (recipe.unsuited(5, SHAPE) or "")
    stored(tmp_path / "torch" / "hub" / "checkpoints" / "tiny-1.pth")
    assert recipe.unsuited(5, SHAPE) is None
    assert "5 classes and the model 1,000" in (recipe.unsuited(1000, SHAPE) or "")


def test_weights_that_change_after_they_were_compared_are_refused(library: Library, tmp_path) -> None:
    path = stored(tmp_path / "w.pth")
    target = network(SHAPE, 5)
    recipe = make_recipe("timm", parameters(path))
    found, _ = fit(target, recipe, samples_for(target, 3))
    assert found is not None
    torch.save({"1.weight": torch.zeros(5, 192), "1.bias": torch.zeros(5)}, path)
    with pytest.raises(AuditError, match="have changed since"):
        recipe.model(found.artefact, 5, SHAPE)


@pytest.mark.parametrize(
    ("changes", "shape", "words"),
    [
        ({"name": "huge"}, SHAPE, "timm has no model 'huge'"),
        ({"name": "tiny.b", "weights": None}, SHAPE, "timm has no weights 'tiny.b'"),
        ({"weights": "nowhere.pth"}, SHAPE, "there is no file of weights nowhere.pth"),
        ({}, (2, 8, 8), "images of 1 or 3 channels, and a sample is 2x8x8"),
        ({}, (9,), "images of 1 or 3 channels, and a sample is 9"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(library: Library, tmp_path, changes, shape, words) -> None:
    recipe = make_recipe("timm", parameters(stored(tmp_path / "w.pth")) | changes)
    assert words in (recipe.unsuited(5, shape) or "")


def test_weights_of_other_classes_are_refused(library: Library, tmp_path) -> None:
    target = network(SHAPE, 5)
    recipe = make_recipe("timm", parameters(stored(tmp_path / "w.pth", classes=4)))
    with pytest.raises(UsageError, match=r"are not those of tiny\.a with 5 classes"):
        fit(target, recipe, samples_for(target, 3))


def test_without_the_library_the_reason_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    recipe = make_recipe("timm", parameters(tmp_path / "w.pth"))
    assert "timm cannot be imported" in (recipe.unsuited(5, SHAPE) or "")

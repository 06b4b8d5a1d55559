"""The models and samples of the black-box benchmark."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import torch
from common import correct_samples, fashion, lenet5, resnet_2b
from PIL import Image
from torch import Tensor

from robaudit.engine.units import Sample
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import Target, ready

__all__ = ["DATA", "load"]

DATA = ("photos", "lenet-robust", "lenet-clean", "fashion-clean", "resnet")


def _photo(path: Path) -> Tensor:
    """Bicubic, shorter side 256, centre 224: as robaudit cuts images."""
    image = Image.open(path).convert("RGB")
    factor = 256 / min(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _photos(models: Path) -> tuple[Target, Tensor, Tensor]:
    """EfficientNet-Lite0 with the 20 ImageNet photos that Foolbox ships, whose names end in the class."""
    folder = Path(str(importlib.import_module("foolbox").__file__)).parent / "data"
    paths = sorted(folder.glob("imagenet_*.jpg"))
    x = torch.stack([_photo(path) for path in paths])
    y = torch.tensor([int(path.stem.rsplit("_", maxsplit=1)[1]) for path in paths])
    file = models / "efficientnet_lite0.onnx"
    target = open_target(file, overrides=SpecOverrides({"scale": 1.0}, {}), device="cpu")
    return ready(measure(target, x[:8])), x, y


def load(name: str, models: Path, count: int) -> tuple[Target, list[Sample]]:
    """A model and the samples that it classifies correctly, of the first ``count`` images.

    Args:
        name: one of :data:`DATA`.
        models: folder of the ONNX files and arrays that the repository does not hold.
        count: images.
    """
    if name == "photos":
        target, x, y = _photos(models)
    elif name == "fashion-clean":
        target, x, y = fashion("clean")
    elif name == "resnet":
        target, x, y = resnet_2b(models)
    else:
        target, x, y = lenet5(models, count, "adv" if name == "lenet-robust" else "cln")
    return target, correct_samples(target, x[:count], y[:count])

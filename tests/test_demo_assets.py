"""The files that ship with the wheel: the demo's models and images, and the bundled images."""

from __future__ import annotations

import importlib.util
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from PIL import Image

DEMO = Path(str(resources.files("robaudit"))) / "demo"
BUNDLED = Path(str(resources.files("robaudit"))) / "data" / "bundled"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
MODELS = ["clean", "robust"]
# Correct of the 500 images, measured by ONNX Runtime on the CPU; two either way for other processors.
CORRECT = {"clean": 455, "robust": 427}


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    with np.load(DEMO / "fashion_test500.npz", allow_pickle=False) as f:
        assert sorted(f.files) == ["x", "y"]
        return f["x"], f["y"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "train_demo.py"
    spec = importlib.util.spec_from_file_location("train_demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def session(name: str) -> ort.InferenceSession:
    return ort.InferenceSession(str(DEMO / f"fashion_{name}.onnx"), providers=["CPUExecutionProvider"])


def model_input(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.float32) / np.float32(255))[:, None]


def test_everything_together_is_well_under_a_megabyte() -> None:
    models = sum(p.stat().st_size for p in DEMO.glob("*.onnx"))
    bundled = sum(p.stat().st_size for p in BUNDLED.iterdir())
    everything = bundled + sum(p.stat().st_size for p in DEMO.iterdir())
    assert models < 300_000
    assert bundled < 300_000
    assert everything < 800_000


def test_the_licence_is_beside_the_demo() -> None:
    assert "MIT" in (DEMO / "LICENSE-fashion-mnist.txt").read_text(encoding="utf-8")


def test_images_are_500_and_balanced(images: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = images
    assert (x.shape, x.dtype) == ((500, 28, 28), np.uint8)
    assert (y.shape, y.dtype) == ((500,), np.int64)
    assert np.bincount(y, minlength=10).tolist() == [50] * 10
    assert len(np.unique(x.reshape(500, -1), axis=0)) == 500


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="Fashion-MNIST is not installed")
def test_images_are_the_first_fifty_of_each_class(images: tuple[np.ndarray, np.ndarray], script: ModuleType) -> None:
    x, y = script.read_split(FASHION_MNIST, "t10k")
    subset = script.first_of_each_class(y, 50)
    np.testing.assert_array_equal(images[0], x[subset])
    np.testing.assert_array_equal(images[1], y[subset])


@pytest.mark.parametrize("name", MODELS)
def test_model_is_valid_and_declares_its_input(name: str) -> None:
    proto = onnx.load(DEMO / f"fashion_{name}.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 17)]
    assert [i.name for i in proto.graph.input] == ["image"]
    assert [o.name for o in proto.graph.output] == ["logits"]
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_param
    assert [d.dim_value for d in dims[1:]] == [1, 28, 28]
    props = {p.key: p.value for p in proto.metadata_props}
    assert props["robaudit.domain"] == "0,1"
    assert props["robaudit.layout"] == "nchw"
    assert props["robaudit.mean"] == "0"
    assert props["robaudit.std"] == "1"
    classes = props["robaudit.classes"].split(",")
    assert len(classes) == 10
    assert (classes[0], classes[9]) == ("T-shirt/top", "Ankle boot")


@pytest.mark.parametrize("name", MODELS)
def test_clean_accuracy(name: str, images: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = images
    (logits,) = session(name).run(["logits"], {"image": model_input(x)})
    assert logits.shape == (500, 10)
    assert abs(int((logits.argmax(1) == y).sum()) - CORRECT[name]) <= 2


@pytest.mark.parametrize("name", MODELS)
def test_the_batch_does_not_change_the_answer(name: str, images: tuple[np.ndarray, np.ndarray]) -> None:
    x = model_input(images[0][::50])
    model = session(name)
    (together,) = model.run(["logits"], {"image": x})
    alone = np.concatenate([model.run(["logits"], {"image": one[None]})[0] for one in x])
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize(("name", "low", "high"), [("clean", 0.0, 0.05), ("robust", 0.65, 0.85)])
def test_the_twins_differ_under_attack(
    name: str, low: float, high: float, images: tuple[np.ndarray, np.ndarray], script: ModuleType
) -> None:
    """PGD-20 at eps 0.1, written without robaudit, judged by the file itself."""
    path = DEMO / f"fashion_{name}.onnx"
    x, y = script.to_input(images[0][::2]), torch.from_numpy(images[1][::2])
    adv = script.pgd(script.weights_of(path), x, y, 0.1, 0.025, 20, torch.Generator().manual_seed(0))
    assert float((adv - x).abs().max()) <= 0.1 + 1e-6
    assert 0 <= float(adv.min()) <= float(adv.max()) <= 1
    robust = float((script.runtime_logits(path, adv).argmax(1) == y.numpy()).mean())
    assert low <= robust <= high


def test_bundled_images_open_and_have_a_source() -> None:
    files = sorted(BUNDLED.glob("*.jpg"))
    assert 12 <= len(files) <= 16
    assert [int(p.name[:2]) for p in files] == list(range(len(files)))
    pixels = []
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256))
            assert not image.getexif()
            pixels.append(np.asarray(image, dtype=np.float64))
        assert pixels[-1].std() > 15, f"{path.name} shows almost nothing"
    assert len({p.tobytes() for p in pixels}) == len(files)


def test_sources_cover_every_bundled_image() -> None:
    rows = [
        line
        for line in (BUNDLED / "SOURCES.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and line[2].isdigit()
    ]
    covered: set[int] = set()
    for row in rows:
        _, names, _, source, licence, _ = (cell.strip() for cell in row.split("|"))
        numbers = [int(name[:2]) for name in names.split(" to ")]
        covered.update(range(numbers[0], numbers[-1] + 1))
        assert source
        assert any(word in licence for word in ("public domain", "CC0", "Apache-2.0"))
    assert covered == {int(p.name[:2]) for p in BUNDLED.glob("*.jpg")}

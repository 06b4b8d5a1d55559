from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from model_files import write_onnx
from onnx import helper

from robaudit.errors import UsageError
from robaudit.target.inputs.discover import FileInput, find_spec
from robaudit.target.inputs.spec import InputSpec, SpecOverrides
from robaudit.target.load import open_target

IMAGE = FileInput("x", (None, 3, 8, 8), "float32")
HUGGINGFACE = {
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "size": {"shortest_edge": 10},
    "do_center_crop": True,
    "crop_size": {"height": 8, "width": 8},
    "resample": 2,
}
TIMM = {
    "architecture": "resnet18",
    "pretrained_cfg": {
        "mean": [0.4, 0.4, 0.4],
        "std": [0.2, 0.2, 0.2],
        "input_size": [3, 8, 8],
        "crop_pct": 0.95,
        "interpolation": "bilinear",
    },
}


def find(
    folder: Path,
    given: FileInput = IMAGE,
    metadata: dict[str, str] | None = None,
    sample: tuple[int, ...] | None = None,
    sources: dict[str, str] | None = None,
    **values: object,
) -> InputSpec:
    return find_spec(folder / "m.onnx", given, metadata or {}, SpecOverrides(values, sources or {}), sample)


def beside(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def test_nothing_known_is_assumed(tmp_path):
    spec = find(tmp_path)
    assert (spec.lo, spec.hi, spec.scale, spec.mean, spec.std, spec.channels) == (0, 1, 1, (), (), "rgb")
    assert spec.assumed == ("mean", "std", "scale", "domain", "channels")
    assert spec.provenance["layout"] == "shape"


def test_each_source_yields_to_a_more_trusted_one(tmp_path):
    steps = []

    def mean(metadata=None, given=IMAGE, **flags):
        spec = find(tmp_path, given, metadata, **flags)
        steps.append((spec.mean, spec.provenance["mean"]))

    typed = FileInput("x", (None, 3, 8, 8), "float32", {"scale": 2.0, "mean": (1.0,), "std": ()})
    mean(given=typed)
    beside(tmp_path, "config.json", TIMM)
    mean(given=typed)
    beside(tmp_path, "preprocessor_config.json", HUGGINGFACE)
    mean(given=typed)
    metadata = {"robaudit.mean": "0.1,0.2,0.3", "robaudit.std": "1"}
    mean(metadata, typed)
    mean(metadata, typed, mean="7", sources={"mean": "robaudit.yaml"})
    mean(metadata, typed, mean=(9,), sources={"mean": "flag --mean"})
    assert steps == [
        ((1.0,), "image type"),
        ((0.4, 0.4, 0.4), "config.json"),
        ((0.5, 0.5, 0.5), "preprocessor_config.json"),
        ((0.1, 0.2, 0.3), "onnx metadata"),
        ((7.0,), "robaudit.yaml"),
        ((9.0,), "flag --mean"),
    ]


def test_declared_normalisation_leaves_nothing_assumed(tmp_path):
    spec = find(tmp_path, mean="0.5", std="0.5", sources={"mean": "flag --mean", "std": "flag --std"})
    assert spec.assumed == ()
    assert spec.provenance["channels"] == "default with flag --mean"


def test_huggingface_crop_size_and_filter(tmp_path):
    beside(tmp_path, "preprocessor_config.json", HUGGINGFACE)
    spec = find(tmp_path, FileInput("x", (None, 3, None, None), "float32"))
    assert spec.shape == (3, 8, 8)
    assert (spec.crop, spec.interpolation, spec.scale) == (0.8, "bilinear", 1.0)


@pytest.mark.parametrize(
    ("content", "scale"),
    [({"do_rescale": False, "image_mean": [1], "image_std": [2]}, 255.0), ({"rescale_factor": 1 / 127.5}, 2.0)],
)
def test_huggingface_rescaling(tmp_path, content, scale):
    beside(tmp_path, "preprocessor_config.json", content)
    assert find(tmp_path).scale == pytest.approx(scale)


def test_huggingface_channel_order(tmp_path):
    beside(tmp_path, "preprocessor_config.json", {"do_rescale": True, "do_flip_channel_order": True})
    spec = find(tmp_path)
    assert (spec.channels, spec.provenance["channels"]) == ("bgr", "preprocessor_config.json")


def test_huggingface_offset_is_part_of_the_mean(tmp_path):
    content = {"rescale_factor": 1 / 127.5, "rescale_offset": True}
    beside(tmp_path, "preprocessor_config.json", content)
    file = find(tmp_path).to_file(torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1).expand(3, 3, 8, 8))
    torch.testing.assert_close(file[:, 0, 0, 0], torch.tensor([-1.0, 0.0, 1.0]))
    beside(tmp_path, "preprocessor_config.json", content | {"image_mean": [0.5], "image_std": [0.25]})
    assert find(tmp_path).mean == (1.5,)


def test_huggingface_normalisation_that_is_not_written_down_stays_assumed(tmp_path):
    beside(tmp_path, "preprocessor_config.json", {"do_rescale": True, "do_normalize": True})
    assert set(find(tmp_path).assumed) >= {"mean", "std", "scale"}


@pytest.mark.parametrize(("size", "crop"), [(8, 0.875), (384, 1.0)])
def test_huggingface_crop_share(tmp_path, size, crop):
    content = {"image_mean": [0.5], "image_std": [0.5], "size": {"shortest_edge": size}, "crop_pct": 0.875}
    beside(tmp_path, "preprocessor_config.json", content)
    assert find(tmp_path, FileInput("x", (None, 3, None, None), "float32")).crop == crop


def test_huggingface_without_std_or_with_odd_size_still_serves(tmp_path):
    beside(tmp_path, "preprocessor_config.json", {"image_mean": [0.5] * 3, "size": {"longest_edge": 99}})
    spec = find(tmp_path)
    assert (spec.mean, spec.std) == ((0.5,) * 3, ())


def test_timm_settings(tmp_path):
    beside(tmp_path, "config.json", TIMM)
    spec = find(tmp_path, FileInput("x", (None, 3, None, None), "float32"))
    assert (spec.shape, spec.crop, spec.interpolation) == ((3, 8, 8), 0.95, "bilinear")
    beside(tmp_path, "config.json", {"interpolation": "random", "mean": [1, 1, 1]})
    assert find(tmp_path).interpolation == "bicubic"


@pytest.mark.parametrize("content", ["[1, 2]", "{", "\udcff", "null"])
def test_files_beside_that_say_nothing(tmp_path, content):
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert "mean" in find(tmp_path).assumed


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"mean": "grey"}),
        ("preprocessor_config.json", {"image_mean": {"a": 1}, "image_std": 1}),
        ("preprocessor_config.json", {"rescale_factor": "a lot"}),
        ("config.json", {"crop_pct": 7}),
    ],
)
def test_files_beside_that_cannot_be_understood_are_named(tmp_path, name, content):
    beside(tmp_path, name, content)
    with pytest.raises(UsageError, match=f"{name}.* cannot be understood"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "scale", "mean"), [("uint8", 255.0, ()), ("int8", 255.0, (128.0,)), ("int32", 255.0, ())]
)
def test_whole_numbers_mean_0_to_255(tmp_path, dtype, scale, mean):
    spec = find(tmp_path, FileInput("x", (None, 8, 8, 3), dtype))
    assert (spec.scale, spec.mean, spec.layout) == (scale, mean, "nhwc")
    assert spec.assumed == ("channels",)
    assert spec.provenance["scale"] == "integer type"


@pytest.mark.parametrize(
    ("dtype", "domain"), [("int8", (-128.0, 127.0)), ("uint8", (0.0, 255.0)), ("int64", (0.0, 9.0))]
)
def test_whole_numbers_in_a_domain_of_their_own_are_in_the_files_units(
    tmp_path: Path, dtype: str, domain: tuple[float, float]
) -> None:
    overrides = SpecOverrides({"domain": domain}, {})
    spec = find_spec(tmp_path / "m.onnx", FileInput("x", (None, 4), dtype), {}, overrides, None)
    assert (spec.scale, spec.mean, spec.std) == (1.0, (), ())
    ends = spec.to_file(torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    assert ends.tolist() == [[domain[0], domain[0], domain[1], domain[1]]]


@pytest.mark.parametrize(
    ("shape", "sample", "flags", "layout", "canonical"),
    [
        ((None, 1, 28, 28), None, {}, "nchw", (1, 28, 28)),
        ((1, 32, 24, 4), None, {}, "nhwc", (4, 32, 24)),
        ((None, 3, None, None), None, {"resize": "16x24"}, "nchw", (3, 16, 24)),
        ((None, 3, None, None), None, {"resize": "16"}, "nchw", (3, 16, 16)),
        ((None, 3, None, None), (3, 5, 6), {}, "nchw", (3, 5, 6)),
        ((None, None, None, None), (1, 5, 6), {}, "nchw", (1, 5, 6)),
        ((None, None, None, None), None, {"layout": "nhwc", "resize": 6}, "nhwc", (3, 6, 6)),
        ((None, 3, 3, 3), None, {"layout": "NHWC"}, "nhwc", (3, 3, 3)),
        ((None, 17), None, {}, "none", (17,)),
        ((None, None), (17,), {}, "none", (17,)),
        ((None, 5, 6), None, {}, "none", (5, 6)),
    ],
)
def test_layout_and_size(tmp_path, shape, sample, flags, layout, canonical):
    spec = find(tmp_path, FileInput("x", shape, "float32"), sample=sample, **flags)
    assert (spec.layout, spec.shape, spec.batch) == (layout, canonical, shape[0])
    if layout == "none":
        assert "channels" not in spec.assumed
        assert "layout" not in spec.assumed


def test_sequences_of_any_length_take_that_of_the_data(tmp_path):
    found = find(tmp_path, FileInput("x", (None, 1, None), "float32"), sample=(1, 1, 64))
    assert (found.kind, found.shape, found.file_shape) == ("vector", (1, 64), (1, 64))


def test_a_layout_that_could_be_either_is_assumed(tmp_path):
    assert "layout" in find(tmp_path, FileInput("x", (1, 3, 3, 3), "float32")).assumed


@pytest.mark.parametrize(
    ("shape", "flags", "words"),
    [
        ((None, 3, None, None), {}, "--resize"),
        ((None, 7, 9, 11), {}, "--layout"),
        ((None, None), {}, "--data"),
        ((None, 3, 8, 8), {"resize": "9"}, "does not fit"),
        ((None, 3, 8, 8), {"layout": "nhwc"}, "8 channels"),
        ((None, 3, 8, 8), {"mean": "1,2"}, "--mean has 2 values"),
        ((None, 3), {"std": "1,2"}, "--std has 2 values for an input of 3 features"),
        ((None, 3, 8, 8), {"std": "1,0,1"}, "above 0"),
        ((None, 3, 8, 8), {"mean": "nan"}, "finite"),
        ((None, 3, 8, 8), {"scale": 0}, "scale"),
        ((None, 3, 8, 8), {"domain": "1,0"}, "LOW,HIGH"),
        ((None, 3, 8, 8), {"domain": "0,inf"}, "LOW,HIGH"),
        ((None, 3, 8, 8), {"domain": "1"}, "LOW,HIGH"),
        ((None, 3, 8, 8), {"layout": "hwc"}, "nchw or nhwc"),
        ((None, 3, 8, 8), {"channels": "gbr"}, "rgb or bgr"),
        ((None, 3, 8, 8), {"mean": "a,b"}, "cannot be understood"),
        ((None, 3, None, None), {"resize": "8x8x8"}, "cannot be understood"),
        ((None, 3, None, None), {"resize": "0"}, "cannot be understood"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, shape, flags, words):
    with pytest.raises(UsageError, match=words):
        find(tmp_path, FileInput("x", shape, "float32"), **flags)


def test_files_one_folder_above_serve_and_no_higher(tmp_path):
    folder = tmp_path / "repo" / "onnx"
    folder.mkdir(parents=True)
    beside(tmp_path, "preprocessor_config.json", HUGGINGFACE)
    assert "mean" in find(folder).assumed
    beside(tmp_path / "repo", "preprocessor_config.json", HUGGINGFACE)
    spec = find(folder, FileInput("x", (None, 3, None, None), "float32"))
    assert (spec.mean, spec.shape) == ((0.5, 0.5, 0.5), (3, 8, 8))
    assert spec.provenance["mean"] == "../preprocessor_config.json"
    assert find(folder, FileInput("x", (None, 3, 6, 6), "float32")).shape == (3, 6, 6)  # the file's own size stays
    beside(folder, "config.json", TIMM)
    spec = find(folder)
    assert (spec.mean, spec.provenance["mean"]) == ((0.4, 0.4, 0.4), "config.json")


def test_a_config_above_must_say_whose_it_is(tmp_path):
    (tmp_path / "onnx").mkdir()
    beside(tmp_path, "config.json", {"mean": [9, 9, 9], "std": [1, 1, 1]})
    assert "mean" in find(tmp_path / "onnx").assumed
    beside(tmp_path, "config.json", TIMM)
    assert find(tmp_path / "onnx").provenance["mean"] == "../config.json"


def test_preprocessing_inside_a_processor(tmp_path):
    beside(tmp_path, "processor_config.json", {"image_processor": HUGGINGFACE, "processor_class": "X"})
    spec = find(tmp_path)
    assert (spec.mean, spec.provenance["mean"]) == ((0.5, 0.5, 0.5), "processor_config.json")


def test_ultralytics_size_and_task(tmp_path):
    metadata = {"names": "{0: 'a', 1: 'b'}", "task": "classify", "imgsz": "[16, 24]"}
    spec = find(tmp_path, FileInput("x", (None, 3, None, None), "float32"), metadata)
    assert (spec.shape, spec.provenance["resize"]) == ((3, 16, 24), "metadata")
    assert find(tmp_path, FileInput("x", (None, 3, 8, 8), "float32"), metadata).shape == (3, 8, 8)
    with pytest.raises(UsageError, match="task 'detect', as Ultralytics writes it"):
        find(tmp_path, metadata=metadata | {"task": "detect"})


@pytest.mark.parametrize(
    ("flat", "found"), [(True, (3, 20, 20)), (False, "leaves its size free.*it takes 224x224 and 32x32 alike")]
)
@pytest.mark.parametrize("kind", ["onnx", "script"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_size_that_is_left_free_is_the_only_one_that_the_file_takes(tmp_path, flat, found, kind):
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
            self.pool = torch.nn.MaxPool2d(2) if flat else torch.nn.AdaptiveAvgPool2d(1)
            self.head = torch.nn.Linear(400 if flat else 4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.pool(self.conv(x)).flatten(1))

    net, path = Net().eval(), tmp_path / ("m.onnx" if kind == "onnx" else "m.pt")
    if kind == "script":
        torch.jit.script(net).save(str(path))
    else:
        w, b = net.head.weight.detach().numpy().T, net.head.bias.detach().numpy()
        constants = {"k": net.conv.weight.detach().numpy(), "w": w, "b": b}
        pool = (
            helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2])
            if flat
            else helper.make_node("GlobalAveragePool", ["c"], ["p"])
        )
        nodes = [
            helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
            pool,
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
        ]
        write_onnx(path, nodes, ["N", 3, "H", "W"], constants)
    if isinstance(found, str):
        with pytest.raises(UsageError, match=found):
            open_target(path, device="cpu")
    else:
        spec = open_target(path, device="cpu").spec
        assert spec.shape == found
        assert spec.provenance["resize"] == "the only size it takes"

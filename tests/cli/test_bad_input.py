"""Bad input as a user meets it: one sentence on stderr, nothing on stdout, exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from command_line import ROBAUDIT, Command, Outcome, refused
from model_files import FLOAT, Net, linear_onnx, script, weight, write_onnx
from onnx import TensorProto, helper
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NODE = helper.make_node
KNOWN = ["--mean", "0.5", "--std", "0.5", "--layout", "nchw"]


@pytest.fixture
def place(tmp_path, monkeypatch, no_settings):
    """An empty working directory with a good model, its data, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    linear_onnx(tmp_path / "good.onnx", output="logits")
    save_data(tmp_path / "good.npz")
    return tmp_path


@pytest.fixture
def robaudit(place, no_child, robaudit) -> Command:
    """The command line, in this process, where the good model lies; test_untrusted_files has processes."""
    return robaudit


def save_data(path: Path, count: int = 12, shape: tuple[int, ...] = (3, 4, 4), **changes: object) -> Path:
    x = np.random.default_rng(0).random((count, *shape), dtype=np.float32)
    features = x.reshape(count, -1)
    arrays: dict[str, object] = {"x": x, "y": (features @ weight(5, features.shape[1])).argmax(1)} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def truncated(place: Path) -> None:
    content = (place / "good.onnx").read_bytes()
    (place / "bad.onnx").write_bytes(content[: len(content) // 2])


def external_missing(place: Path) -> None:
    model = onnx.load(place / "good.onnx")
    onnx.save(model, place / "bad.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (place / "weights.bin").unlink()


def external_elsewhere(place: Path) -> None:
    external_missing(place)
    model = onnx.load(place / "bad.onnx", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../weights.bin"
    (place / "bad.onnx").write_bytes(model.SerializeToString())


def of_any_size() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


def detector(place: Path) -> None:
    write_onnx(
        place / "bad.onnx",
        [
            NODE("Flatten", ["x"], ["boxes"]),
            NODE("ReduceMax", ["boxes"], ["scores"], axes=[1], keepdims=0),
            NODE("ArgMax", ["boxes"], ["labels"], axis=1, keepdims=0),
        ],
        ("N", 3, 4, 4),
        outputs={
            "boxes": (("M", 4), FLOAT),
            "scores": (("M",), FLOAT),
            "labels": (("M",), TensorProto.INT64),
        },
    )


def segmenter(place: Path) -> None:
    nodes = [NODE("Conv", ["x", "w"], ["y"])]
    constants = {"w": weight(5, 3).T.reshape(5, 3, 1, 1)}
    write_onnx(place / "bad.onnx", nodes, ("N", 3, 4, 4), constants, outputs={"y": (("N", 5, 4, 4), FLOAT)})


def two_inputs(place: Path) -> None:
    nodes = [NODE("Add", ["x", "z"], ["s"]), NODE("Flatten", ["s"], ["y"])]
    extra = {"z": (("N", 3, 4, 4), FLOAT)}
    write_onnx(place / "bad.onnx", nodes, ("N", 3, 4, 4), extra_inputs=extra)


def tokens(place: Path) -> None:
    nodes = [NODE("Gather", ["table", "x"], ["e"]), NODE("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0)]
    table = {"table": np.eye(9, 4, dtype=np.float32)}
    outputs = {"y": (("N", 4), FLOAT)}
    write_onnx(place / "bad.onnx", nodes, ("N", 16), table, dtype=TensorProto.INT64, outputs=outputs)


def nothing_to_perturb(place: Path) -> None:
    write_onnx(place / "bad.onnx", [NODE("Flatten", ["x"], ["y"])], ("N", 3, 0, 4))


def text_input(place: Path) -> None:
    nodes = [NODE("Size", ["x"], ["n"]), NODE("Cast", ["n"], ["y"], to=FLOAT)]
    write_onnx(place / "bad.onnx", nodes, ("N", 16), dtype=TensorProto.STRING)


def unknown_operator(place: Path) -> None:
    nodes = [NODE("Mystery", ["x"], ["y"], domain="acme")]
    write_onnx(place / "bad.onnx", nodes, ("N", 3, 4, 4), domains={"acme": 1}, outputs={"y": (("N", 5), FLOAT)})


def sequence(place: Path) -> None:
    nodes = [NODE("Flatten", ["x"], ["f"]), NODE("SequenceConstruct", ["f", "f"], ["y"])]
    model = onnx.load(write_onnx(place / "bad.onnx", nodes, ("N", 3, 4, 4)))
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    model.graph.output[0].CopyFrom(helper.make_value_info("y", kind))
    onnx.save(model, place / "bad.onnx")


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda place: (place / name).write_bytes(content) and None


MODELS: dict[str, tuple[Callable[[Path], object], str, tuple[str, ...]]] = {
    "no such file": (lambda p: None, "gone.onnx", ("there is no file gone.onnx",)),
    "empty": (write("bad.onnx", b""), "bad.onnx", ("bad.onnx is empty",)),
    "folder": (lambda p: (p / "bad.onnx").mkdir(), "bad.onnx", ("is a folder",)),
    "truncated": (truncated, "bad.onnx", ("truncated",)),
    "noise": (write("bad.onnx", np.random.default_rng(0).bytes(5000)), "bad.onnx", ("neither an ONNX model nor",)),
    "noise .pt": (write("bad.pt", np.random.default_rng(1).bytes(5000)), "bad.pt", ("neither an ONNX model nor",)),
    "text": (write("bad.onnx", b"This is my model.\n" * 50), "bad.onnx", ("neither an ONNX model nor",)),
    "json": (write("bad.json", b'{"model": 1}'), "bad.json", ("neither an ONNX model nor",)),
    "keras": (write("bad.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)), "bad.h5", ("Keras", "export the model")),
    "tflite": (write("bad.tflite", b"\x1c\0\0\0TFL3" + bytes(99)), "bad.tflite", ("TensorFlow Lite",)),
    "safetensors": (write("m.safetensors", b"\x40" + bytes(7) + b'{"a":{}}'), "m.safetensors", ("weights alone",)),
    "pickle": (write("bad.pt", b"\x80\x04\x95\x10\0\0\0"), "bad.pt", ("Python pickle", "TorchScript")),
    "state_dict": (lambda p: torch.save(Net().state_dict(), p / "bad.pt"), "bad.pt", ("state_dict", "torch.jit")),
    "npz": (lambda p: None, "good.npz", ("zip archive but no TorchScript",)),
    "external data missing": (external_missing, "bad.onnx", ("'weights.bin'", "missing")),
    "external data elsewhere": (external_elsewhere, "bad.onnx", ("'../weights.bin'", "outside")),
    "detector": (detector, "bad.onnx", ("no classifier", "boxes", "detectors")),
    "segmenter": (segmenter, "bad.onnx", ("no classifier", "y Nx5x4x4")),
    "sequence": (sequence, "bad.onnx", ("y is a sequence of tensors",)),
    "two inputs": (two_inputs, "bad.onnx", ("2 inputs", "--input z=VALUE", "--input-name")),
    "zero size": (nothing_to_perturb, "bad.onnx", ("holds no values", "is 0")),
    "strings": (text_input, "bad.onnx", ("of type string",)),
    "unknown operator": (unknown_operator, "bad.onnx", ("ONNX Runtime cannot load", "Mystery")),
    "torchscript of any size": (lambda p: script(p / "m.pt", of_any_size()), "m.pt", ("--data", "--resize", "alike")),
}


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("command", [("scan", "--dry-run"), ("inspect",)], ids=["scan", "inspect"])
def test_models_that_cannot_be_audited(place, robaudit, case, command):
    prepare, name, words = MODELS[case]
    prepare(place)
    refused(robaudit(*command, name), *words)
    assert not (place / ".robaudit").exists()


def test_tokens_are_not_audited(place, robaudit):
    tokens(place)
    refused(robaudit("scan", "--dry-run", "bad.onnx"), "takes tokens (x int64)", "robaudit inspect shows the model")


def bad_labels(place: Path) -> None:
    save_data(place / "bad.npz", y=np.array([0, 1, 2, 3, 4, 5] * 2))


def labels_from_one(place: Path) -> None:
    save_data(place / "bad.npz", y=np.array([1, 2, 3, 4, 5, 1] * 2))


def one_image(place: Path, name: str = "0") -> None:
    (place / "images" / name).mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(place / "images" / name / "a.png")


DATA: dict[str, tuple[Callable[[Path], object], list[str], tuple[str, ...]]] = {
    "no such data": (lambda p: None, ["--data", "gone.npz"], ("there is no data at gone.npz",)),
    "not data": (lambda p: None, ["--data", "good.onnx"], ("is neither a table", "an image folder")),
    "no archive": (write("bad.npz", b"hello"), ["--data", "bad.npz"], ("no readable .npz",)),
    "empty folder": (lambda p: (p / "d").mkdir(), ["--data", "d"], ("holds no images",)),
    "no x": (lambda p: np.savez(p / "bad.npz", images=np.zeros(3)), ["--data", "bad.npz"], ("no array x", "images")),
    "labels out of range": (bad_labels, ["--data", "bad.npz"], ("label 5", "5 classes")),
    "labels from 1": (labels_from_one, ["--data", "bad.npz"], ("do they start at 1?",)),
    "wrong size": (
        lambda p: save_data(p / "bad.npz", shape=(3, 5, 5)),
        ["--data", "bad.npz"],
        ("3x5x5", "3x4x4", "never resized"),
    ),
    "wrong channels": (lambda p: save_data(p / "bad.npz", shape=(1, 4, 4)), ["--data", "bad.npz"], ("1x4x4", "3x4x4")),
    "all NaN": (
        lambda p: save_data(p / "bad.npz", x=np.full((2, 3, 4, 4), np.nan), y=None),
        ["--data", "bad.npz", "--labels", "model"],
        ("no finite value",),
    ),
    "255 in floats": (
        lambda p: save_data(p / "bad.npz", x=np.full((12, 3, 4, 4), 255.0)),
        ["--data", "bad.npz"],
        ("outside of the domain", "--domain", "uint8"),
    ),
    "no such labels": (one_image, ["--data", "images", "--labels", "gone.csv"], ("there is no labels file",)),
    "folder out of range": (lambda p: one_image(p, "7"), ["--data", "images"], ("label 7", "out of range")),
    "classes without order": (lambda p: one_image(p, "cat"), ["--data", "images"], ("1 classes by name", "declare")),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_used(place, robaudit, case):
    prepare, arguments, words = DATA[case]
    prepare(place)
    refused(robaudit("scan", "good.onnx", "--dry-run", *arguments), *words)


SETTINGS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "eps 0": (["--eps", "0"], ("eps",)),
    "eps below 0": (["--eps=-0.1"], ("eps",)),
    "eps nan": (["--eps", "nan"], ("eps",)),
    "eps inf": (["--eps", "inf"], ("eps",)),
    "eps inf in l2": (["--eps", "inf", "--norm", "l2"], ("eps",)),
    "eps above 1 in linf": (["--eps", "8", "--norm", "linf"], ("eps", "1")),
    "eps by 0": (["--eps", "8/0"], ("eps",)),
    "eps in words": (["--eps", "small"], ("eps",)),
    "norm": (["--norm", "l7"], ("norm",)),
    "profile": (["--profile", "quik"], ("quik", "quick")),
    "profile file": (["--profile", "gone.yaml"], ("gone.yaml",)),
    "samples": (["--samples", "0"], ("samples",)),
    "batch": (["--batch-size", "0"], ("batch",)),
    "seed": (["--seed", "-1"], ("seed",)),
    "device": (["--device", "tpu"], ("tpu", "cuda")),
    "mean in words": (["--mean", "a,b"], ("mean",)),
    "mean count": (["--mean", "1,2", "--std", "1,1"], ("--mean has 2 values", "3 channels")),
    "std 0": (["--std", "0"], ("--std",)),
    "domain": (["--domain", "1,0"], ("domain", "LOW")),
    "layout": (["--layout", "hwc"], ("layout", "nchw")),
    "channels": (["--channels", "gbr"], ("channels", "bgr")),
    "resize": (["--resize", "99"], ("--resize 99x99", "4x4")),
    "resize in words": (["--resize", "big"], ("resize", "big")),
    "output suffix": (["--output", "report.xyz"], (".xyz", ".json")),
    "output folder": (["--output", "gone/report.json"], ("gone", "does not exist")),
    "gate": (["--min-robust", "1.5"], ("robust",)),
    "flag": (["--epsilon", "1"], ("--epsilon",)),
    "surrogate": (["--surrogate", "gone.onnx"], ("there is no file gone.onnx",)),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_cannot_be(robaudit, case):
    arguments, words = SETTINGS[case]
    refused(robaudit("scan", "good.onnx", "--data", "good.npz", "--dry-run", *arguments), *words)


CONFIGS = {
    "key": ("epss: 8/255", ("epss", "did you mean 'eps'")),
    "nested key": ("input: {men: 1}", ("men", "mean")),
    "no yaml": ("eps: [", ("robaudit.yaml",)),
    "no map": ("- eps", ("robaudit.yaml",)),
    "value": ("samples: many", ("samples", "robaudit.yaml")),
    "profile's attack": ("profile: mine.yaml", ("pgdd", "pgd")),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_config_files_that_cannot_be(place, robaudit, case):
    content, words = CONFIGS[case]
    (place / "robaudit.yaml").write_text(content)
    (place / "mine.yaml").write_text("{name: mine, extends: quick, attacks: [{id: pgdd}]}")
    refused(robaudit("scan", "good.onnx", "--dry-run"), *words)


def test_unknown_environment_variable(robaudit, monkeypatch):
    monkeypatch.setenv("ROBAUDIT_EPSS", "1")
    refused(robaudit("scan", "good.onnx", "--dry-run"), "ROBAUDIT_EPSS", "ROBAUDIT_EPS")


def test_a_gpu_where_none_is(place, robaudit, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for arguments in (["scan", "good.onnx"], ["scan", "good.onnx", "--dry-run"], ["inspect", "good.onnx"]):
        refused(robaudit(*arguments, "--device", "cuda"), "--device cuda", "no CUDA GPU", "--device cpu")
    assert not (place / ".robaudit").exists()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refused(robaudit("scan", "good.onnx", "--device", "cuda:2"), "--device cuda:2", "2 CUDA GPU(s)")


def test_a_run_directory_that_cannot_be_used(place, robaudit):
    (place / "taken").write_text("a file")
    refused(robaudit("scan", "good.onnx", "--data", "good.npz", "--run-dir", "taken"), "run directory taken")
    refused(robaudit("scan", "good.onnx", "--data", "good.npz", "--run-dir", "taken/deeper"), "taken/deeper")


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT TESTED: root may write everywhere")
def test_folders_without_permission(place, robaudit):
    (place / "locked").mkdir(mode=0o500)
    refused(robaudit("scan", "good.onnx", "--run-dir", "locked/run"), "locked/run")
    refused(robaudit("scan", "good.onnx", "--output", "locked/r.json"), "cannot be written")
    (place / "good.onnx").chmod(0)
    refused(robaudit("scan", "good.onnx"), "cannot be read")


def as_user(place: Path, *arguments: str) -> Outcome:
    done = subprocess.run([ROBAUDIT, *arguments], cwd=place, capture_output=True, text=True, timeout=120, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_what_only_the_worker_sees_is_said_as_plainly(place):
    """The model is parsed in another process: its sentence must come through, alone."""
    detector(place)
    refused(as_user(place, "scan", "bad.onnx", "--no-progress"), "no classifier")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["truncated", "state_dict", "two inputs"])
def test_models_that_cannot_be_audited_by_the_worker(place, case):
    prepare, name, words = MODELS[case]
    prepare(place)
    refused(as_user(place, "scan", name, "--no-progress"), *words)


@pytest.mark.slow
def test_data_that_cannot_be_used_by_the_worker(place):
    bad_labels(place)
    refused(as_user(place, "scan", "good.onnx", "--data", "bad.npz", "--no-progress"), "label 5")


PROFILE = "{name: one, extends: quick, attacks: [{id: fgsm}], checks: [clean, evidence], gates: []}"


def scan(place: Path, *arguments: str) -> tuple[Outcome, dict]:
    (place / "one.yaml").write_text(PROFILE)
    outcome = as_user(
        place, "scan", "good.onnx", "--profile", "one.yaml", "-o", "r.json", *KNOWN, "--no-progress", *arguments
    )
    return outcome, json.loads((place / "r.json").read_text())


def test_nan_in_the_data_costs_that_sample_alone_and_is_counted(place):
    x = np.random.default_rng(0).random((12, 3, 4, 4))
    x[3, 0, 0, 0] = np.nan
    save_data(place / "nan.npz", x=x, y=((x.reshape(12, -1) - 0.5) @ weight(5, 48)).argmax(1) * 0)
    outcome, result = scan(place, "--data", "nan.npz")
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert len(result["samples"]) == 12
    assert result["clean"]["accuracy"]["n"] == 12
    assert result["clean"]["accuracy"]["k"] <= 11
    assert result["worst_case"]["upper_bound_observed"]["n"] == 12
    assert any("1 of 12 samples drawn has no answer" in text for text in result["limitations"])
    assert any("nan.npz[3]" in str(error) and "NaN" in str(error) for error in result["errors"])
    assert "NaN" in outcome.out + outcome.err


def test_images_are_cut_to_size_and_the_report_says_so(place):
    images = place / "images"
    for label in range(3):
        (images / str(label)).mkdir(parents=True)
        pixels = np.random.default_rng(label).integers(0, 255, (20, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / str(label) / "a.png")
    Image.new("L", (4, 4), 90).save(images / "2" / "grey.png")
    (images / "1" / "broken.jpg").write_bytes(b"no image at all")
    outcome, result = scan(place, "--data", "images")
    assert "Traceback" not in outcome.err
    notes = " ".join(result["data"]["notes"])
    assert "3 of 5 images were resized (bicubic) and cut to the centre 4x4" in notes
    assert "1 of 5 images was converted to RGB (from L 1)" in notes
    assert any("1/broken.jpg" in str(error) for error in result["errors"])
    words = " ".join(outcome.out.split())
    assert "3 of 5 images were resized" in words
    assert "1/broken.jpg" in words

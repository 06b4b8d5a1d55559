"""Files that are not trusted: what they may make the reader read, allocate and write out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from model_files import FLOAT, linear_onnx, weight, write_onnx
from onnx import TensorProto, helper, numpy_helper

from robaudit.errors import UsageError
from robaudit.memory import available_memory
from robaudit.target.files import confined
from robaudit.target.files.onnx import nesting as onnx_nesting
from robaudit.target.files.onnx import source as onnx_source
from robaudit.target.files.onnx.source import read_onnx
from robaudit.target.load import open_target

NODE = helper.make_node
W = weight(5, 48)


def external(name: str, location: str, dims: tuple[int, ...] = (48, 5), **place: object) -> TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **place}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def flat(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    return [NODE("Flatten", ["x"], ["flat"]), *nodes]


def product(w: str = "w", y: str = "y") -> onnx.NodeProto:
    return NODE("MatMul", ["flat", w], [y])


def initialiser(tensor: TensorProto) -> onnx.ModelProto:
    return build(flat([product()]), [tensor])


def attribute(tensor: TensorProto) -> onnx.ModelProto:
    return build(flat([NODE("Constant", [], ["w"], value=tensor), product()]))


def branch(tensor: TensorProto) -> onnx.ModelProto:
    result = [helper.make_tensor_value_info("inner", FLOAT, None)]
    inner = helper.make_graph([product("w", "inner")], "branch", [], result, [tensor])
    chosen = NODE("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return build(flat([chosen]), [numpy_helper.from_array(np.array(True), "c")])


def local_function(tensor: TensorProto) -> onnx.ModelProto:
    body = [NODE("Constant", [], ["w"], value=tensor), NODE("MatMul", ["a", "w"], ["b"])]
    function = helper.make_function("local", "Last", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    return build(flat([NODE("Last", ["flat"], ["y"], domain="local")]), functions=[function])


def build(
    nodes: list[onnx.NodeProto], tensors: list[TensorProto] = (), functions: list[onnx.FunctionProto] = ()
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", FLOAT, ["N", 3, 4, 4])
    y = helper.make_tensor_value_info("y", FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "test", [x], [y], list(tensors))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))


PLACES: dict[str, Callable[[TensorProto], onnx.ModelProto]] = {
    "initialiser": initialiser,
    "attribute": attribute,
    "branch": branch,
    "function": local_function,
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A model's folder with weights, beside a secret, seen from a third folder that holds a decoy."""
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "model" / "deep" / "w.bin").write_bytes(b"head" + W.tobytes())
    (tmp_path / "secret.bin").write_bytes(W.tobytes())
    (tmp_path / "elsewhere" / "w.bin").write_bytes(np.zeros_like(W).tobytes())
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "model"


def save(folder: Path, model: onnx.ModelProto) -> Path:
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def answer(path: Path) -> np.ndarray:
    session = read_onnx(path).session(onnxruntime.SessionOptions(), ["CPUExecutionProvider"])
    return session.run(None, {"x": np.eye(48, dtype=np.float32).reshape(48, 3, 4, 4)})[0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("where", [("w.bin", {}), ("deep/w.bin", {"offset": 4, "length": W.nbytes})])
def test_weights_in_the_models_folder(folder, place, where):
    np.testing.assert_array_equal(answer(save(folder, PLACES[place](external("w", where[0], **where[1])))), W)


def test_a_model_that_names_files_gives_the_runtime_none(folder):
    source = read_onnx(save(folder, branch(external("w", "w.bin"))))
    assert b"w.bin" not in source.content
    target = open_target(folder / "m.onnx", device="cpu")
    assert target.num_classes == 5


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("../secret.bin", "outside of its folder"),
        ("deep/../../secret.bin", "outside of its folder"),
        ("{outside}/secret.bin", "outside of its folder"),
        ("", "outside of its folder"),
        (".", "outside of its folder"),
        ("C:\\secret.bin", "outside of its folder"),
        ("w.bin\0", "outside of its folder"),
        ("gone.bin", "missing"),
        ("w.bin/w.bin", "cannot be read"),
        ("deep", "no ordinary file"),
        ("link.bin", "symbolic link"),
        ("inner.bin", "symbolic link"),
        ("up/secret.bin", "symbolic link"),
        ("pipe", "no ordinary file"),
    ],
)
def test_weights_elsewhere(folder, place, location, words):
    outside = folder.parent
    (folder / "link.bin").symlink_to(outside / "secret.bin")
    (folder / "inner.bin").symlink_to("w.bin")
    (folder / "up").symlink_to(outside, target_is_directory=True)
    os.mkfifo(folder / "pipe")
    path = save(folder, PLACES[place](external("w", location.format(outside=outside))))
    with pytest.raises(UsageError, match=words) as caught:
        read_onnx(path)
    assert str(path) in str(caught.value) or words == "no ordinary file"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="NOT TESTED: there is no /dev/zero")
def test_a_device_is_no_weight(folder, monkeypatch):
    monkeypatch.setattr(confined.stat, "S_ISREG", lambda mode: False)
    with pytest.raises(UsageError, match="no ordinary file"):
        read_onnx(save(folder, initialiser(external("w", "w.bin"))))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"offset": 4}, "has only 960"),
        ({"offset": -4}, "impossible place"),
        ({"offset": 10**30}, "has only 960"),
        ({"length": 961}, "has only 960"),
        ({"length": 10**12}, "memory|has only"),
        ({"length": "many"}, "impossible place"),
        ({"length": 956}, "fewer data"),
        ({"length": -1}, "impossible place"),
    ],
)
def test_parts_that_the_file_does_not_have(folder, place, words):
    with pytest.raises(UsageError, match=words):
        read_onnx(save(folder, initialiser(external("w", "w.bin", **place))))


def test_the_model_itself_may_be_a_link_but_no_pipe(folder):
    path = save(folder, initialiser(external("w", "w.bin")))
    (folder / "other.onnx").symlink_to(path)
    np.testing.assert_array_equal(answer(folder / "other.onnx"), W)
    os.mkfifo(folder / "pipe.onnx")
    with pytest.raises(UsageError, match="no ordinary file"):
        open_target(folder / "pipe.onnx", device="cpu")


def test_weights_too_large_for_one_message(folder, monkeypatch):
    path = save(folder, branch(external("w", "w.bin")))
    monkeypatch.setattr(onnx_source, "PROTOBUF", 900)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer.append(external("b", "deep/w.bin", (5,), offset=4))
    model.graph.node[-1].output[0] = "product"
    model.graph.node.append(NODE("Add", ["product", "b"], ["y"]))
    path.write_bytes(model.SerializeToString())
    source = read_onnx(path)
    assert list(source.weights) == ["b"]
    np.testing.assert_allclose(answer(path), W + W.reshape(-1)[:5])
    assert numpy_helper.to_array(source.model.graph.initializer[-1]).tolist() == W.reshape(-1)[:5].tolist()


def test_a_file_beyond_protobufs_limit(folder, monkeypatch):
    path = linear_onnx(folder / "m.onnx")
    monkeypatch.setattr(onnx_source, "PROTOBUF", 100)
    with pytest.raises(UsageError, match="2 GB at most"):
        read_onnx(path)


def test_more_weights_than_memory(folder, monkeypatch):
    path = save(folder, initialiser(external("w", "w.bin")))
    monkeypatch.setattr(onnx_source, "available_memory", lambda: 3000)
    with pytest.raises(UsageError, match="of weights and would need"):
        read_onnx(path)


def nested(depth: int) -> onnx.ModelProto:
    nodes = [NODE("Identity", ["x"], ["deepest"])]
    for level in range(depth):
        result = [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)]
        graph = helper.make_graph(nodes, "g", [], result)
        nodes = [NODE("If", ["c"], [f"y{level}"], then_branch=graph, else_branch=graph)]
    constants = [numpy_helper.from_array(W, "w"), numpy_helper.from_array(np.array(True), "c")]
    return build([*nodes, *flat([product()])], constants)


def calls(edges: dict[str, list[str]]) -> onnx.ModelProto:
    functions = [
        helper.make_function(
            "local",
            name,
            ["a"],
            [f"{len(called)}b" if called else "b"],
            [
                NODE(other, [f"{i}b" if i else "a"], [f"{i + 1}b"], domain="" if other == "Identity" else "local")
                for i, other in enumerate(called)
            ],
            [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        )
        for name, called in edges.items()
    ]
    first = NODE(next(iter(edges)), ["flat"], ["z"], domain="local")
    return build(flat([first, NODE("MatMul", ["z", "w"], ["y"])]), [numpy_helper.from_array(W, "w")], functions)


GROWING: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a function that calls itself": (lambda: calls({"F": ["F"]}), "'F', which calls itself"),
    "two that call each other": (lambda: calls({"F": ["G"], "G": ["F"]}), "calls itself"),
    "an unused one": (lambda: calls({"F": ["Identity"], "G": ["G"]}), "'G', which calls itself"),
    "doubling": (
        lambda: calls({f"F{i}": [f"F{i + 1}"] * 2 for i in range(25)} | {"F25": ["Identity"]}),
        "more than 1000000 nodes",
    ),
    "a chain": (
        lambda: calls({f"F{i}": [f"F{i + 1}"] for i in range(40)} | {"F40": ["Identity"]}),
        "more than 32 deep",
    ),
}


@pytest.mark.parametrize("case", GROWING)
def test_what_grows_without_end(folder, case):
    make, words = GROWING[case]
    with pytest.raises(UsageError, match=words):
        read_onnx(save(folder, make()))


def test_branches_inside_branches(folder, monkeypatch):
    path = save(folder, nested(5))
    read_onnx(path)
    monkeypatch.setattr(onnx_nesting, "DEEPEST", 4)
    with pytest.raises(UsageError, match="more than 4 deep"):
        read_onnx(path)


def test_honest_functions_and_branches(folder):
    np.testing.assert_array_equal(answer(save(folder, calls({"F": ["G", "G"], "G": ["Identity"]}))), W)
    np.testing.assert_array_equal(answer(save(folder, nested(5))), W)


def tensors() -> Iterator[tuple[str, TensorProto, str]]:
    small = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    for name, dims in {"more": [48, 5], "overflow": [2**31, 2**31, 4], "negative": [-1, 5], "many": [1] * 65}.items():
        tensor = TensorProto()
        tensor.CopyFrom(small)
        del tensor.dims[:]
        tensor.dims.extend(dims)
        yield name, tensor, "lacks data" if name == "more" else "impossible shape"
    yield "no data", TensorProto(name="w", data_type=FLOAT, dims=[2**20]), "lacks data"
    yield "half typed", TensorProto(name="w", data_type=FLOAT, dims=[4], float_data=[1, 2]), "lacks data"
    packed = TensorProto(name="w", data_type=TensorProto.INT4, dims=[5], raw_data=b"12")
    yield "packed", packed, "lacks data"


@pytest.mark.parametrize("case", list(tensors()), ids=lambda case: case[0])
@pytest.mark.parametrize("place", PLACES)
def test_tensors_without_their_data(folder, place, case):
    with pytest.raises(UsageError, match=case[2]):
        read_onnx(save(folder, PLACES[place](case[1])))


def test_a_sparse_tensor_larger_than_memory(folder):
    values, indices = numpy_helper.from_array(np.ones(1, np.float32), "w"), numpy_helper.from_array(np.zeros(1, int))
    sparse = helper.make_sparse_tensor(values, indices, [2**29, 2**29])
    model = build(flat([product()]))
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(UsageError, match="of weights and would need"):
        read_onnx(save(folder, model))


def test_bytes_of_the_runtimes_own_format_are_not_taken(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", [NODE("Flatten", ["x"], ["y"])], ("N", 3, 4, 4))
    options = onnxruntime.SessionOptions()
    read_onnx(path).session(options, ["CPUExecutionProvider"])
    assert options.get_session_config_entry("session.load_model_format") == "ONNX"


@pytest.mark.parametrize(("batch", "size"), [("N", 2**40), ("N", 2**62), (2**60, 4)])
def test_an_input_larger_than_any(tmp_path, batch, size):
    nodes = [NODE("ReduceMax", ["x"], ["m"], axes=[2, 3], keepdims=0), NODE("MatMul", ["m", "w"], ["y"])]
    path = write_onnx(tmp_path / "m.onnx", nodes, (batch, 3, size, 8), {"w": weight(5, 3)})
    with pytest.raises(UsageError, match="more numbers than any classifier has"):
        open_target(path, device="cpu")


def test_a_place_that_is_no_text(folder):
    path = save(folder, initialiser(external("w", "w.bin")))
    path.write_bytes(path.read_bytes().replace(b"w.bin", b"w\xe5bin"))
    with pytest.raises(UsageError, match="outside of its folder"):
        read_onnx(path)


def test_names_that_are_no_text_are_refused_in_silence(tmp_path, capfd):
    path = linear_onnx(tmp_path / "m.onnx", output="scores")
    path.write_bytes(path.read_bytes().replace(b"scores", b"sc\xe5res"))
    with pytest.raises(UsageError, match=r"cannot load|neither an ONNX"):
        open_target(path, device="cpu")
    assert capfd.readouterr() == ("", "")


def test_memory_is_known_here():
    free = available_memory()
    assert free is None or free > 2**20

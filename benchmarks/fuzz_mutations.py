"""Damages model files: bytes, the structure of ONNX graphs, the entries and code of TorchScript archives."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

import onnx
from google.protobuf.message import Error as ProtobufError
from onnx import TensorProto, helper

EXTREMES = (0, 1, -1, 2, 7, 255, 2**15, 2**31 - 1, -(2**31), 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
REALS = (0.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))
OPERATORS = tuple(
    """
    Conv Relu Gemm MatMul Add Mul Div Reshape Transpose Concat Slice Gather GatherND ScatterND Softmax
    ReduceMean Tile Expand ConstantOfShape Range Resize Pad MaxPool AveragePool LSTM Loop If Scan Cast Shape
    Size Squeeze Unsqueeze TopK NonZero OneHot Einsum QuantizeLinear DequantizeLinear QLinearConv QLinearMatMul
    ConvInteger CumSum EyeLike SequenceConstruct SequenceAt ConcatFromSequence Optional StringNormalizer
    RandomNormal GridSample Where Compress Unique NonMaxSuppression ArgMax Split DepthToSpace BatchNormalization
    InstanceNormalization LayerNormalization Identity Constant Dropout Multinomial DFT Bernoulli Trilu Hardmax
    LpPool MaxRoiPool MaxUnpool Col2Im
    """.split()  # noqa: SIM905
)


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, repeats, splices."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        place, length = rng.randrange(len(data)), rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind <= 1:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[place : place + length] = rng.randbytes(len(data[place : place + length]))
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = rng.choice((b"\xff" * length, b"\x00" * length, rng.randbytes(length)))
        elif kind == 5:
            start = rng.randrange(len(data))
            data[place:place] = data[start : start + length * 8]
        elif rng.random() < 0.3:
            del data[place:]
    return bytes(data)


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    found, graphs = [], [model.graph]
    while graphs:
        for node in graphs.pop().node:
            found.append(node)
            graphs += [a.g for a in node.attribute if a.HasField("g")]
    return found + [node for function in model.functions for node in function.node]


def _names(model: onnx.ModelProto) -> list[str]:
    names = [name for node in _nodes(model) for name in (*node.input, *node.output)]
    return [*names, "x", "y", ""] + [tensor.name for tensor in model.graph.initializer]


def _operator(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(_nodes(model))
    node.op_type = rng.choice(OPERATORS)
    if rng.random() < 0.2:
        node.domain = rng.choice(("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "local", "x" * 999, "\u2603"))


def _wire(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(_nodes(model))
    side = rng.choice((node.input, node.output))
    kind, name = rng.randrange(4), rng.choice(_names(model))
    if kind == 0 or not side:
        side.append(name)
    elif kind == 1:
        del side[rng.randrange(len(side))]
    else:
        side[rng.randrange(len(side))] = name


def _nodes_moved(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = model.graph.node
    kind, place = rng.randrange(4), rng.randrange(len(nodes))
    if kind == 0 and len(nodes) > 1:
        del nodes[place]
    elif kind == 1:
        nodes.add().CopyFrom(nodes[place])
    elif kind == 2:
        held = list(nodes)
        rng.shuffle(held)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in held]
        del nodes[:]
        nodes.extend(copies)
    else:  # a chain that multiplies a size
        name = nodes[place].output[0] if nodes[place].output else "x"
        for i in range(rng.choice((3, 20))):
            nodes.add().CopyFrom(helper.make_node("Concat", [name] * 8, [f"grown{i}"], axis=rng.choice((0, 1, -1))))
            name = f"grown{i}"
        if nodes[place].output:
            nodes.add().CopyFrom(helper.make_node("ReduceMean", [name], ["y"]))


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(_nodes(model))
    if not node.attribute or rng.random() < 0.2:
        name = rng.choice(("axis", "axes", "perm", "pads", "strides", "kernel_shape", "to", "group", "mode", "body"))
        value = rng.choice((rng.choice(EXTREMES[:10]), [rng.choice(EXTREMES) for _ in range(4)], 0.5, "linear"))
        node.attribute.add().CopyFrom(helper.make_attribute(name, value))
        return
    attribute = rng.choice(node.attribute)
    kind = rng.randrange(6)
    if kind == 0:
        node.attribute.remove(attribute)
    elif kind == 1:
        attribute.type = rng.randrange(0, 15)
    elif kind == 2:
        attribute.i = rng.choice(EXTREMES)
        attribute.f = rng.choice(REALS)
        attribute.s = rng.choice((b"", b"\xff\xfe", b"linear", b"x" * 9999))
    elif attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(EXTREMES)
        if rng.random() < 0.3:
            attribute.ints.extend([rng.choice(EXTREMES)] * rng.choice((1, 4, 100)))
    elif attribute.floats:
        attribute.floats[rng.randrange(len(attribute.floats))] = rng.choice(REALS)
    else:
        attribute.name = rng.choice(("axis", "value", "then_branch", "alpha", ""))


def _tensors(model: onnx.ModelProto) -> list[TensorProto]:
    held = [a.t for node in _nodes(model) for a in node.attribute if a.HasField("t")]
    return [*model.graph.initializer, *held]


def _tensor(model: onnx.ModelProto, rng: random.Random) -> None:
    if not (tensors := _tensors(model)):
        return
    tensor = rng.choice(tensors)
    kind = rng.randrange(6)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(EXTREMES)
    elif kind == 1:
        tensor.dims.extend([rng.choice((1, 1, 0, -1, 2**40))] * rng.choice((1, 3, 70)))
    elif kind == 2:
        tensor.data_type = rng.randrange(0, 28)
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 4 and tensor.raw_data:
        tensor.raw_data = rng.choice((rng.randbytes(len(tensor.raw_data)), b"\xff" * len(tensor.raw_data)))
    else:
        tensor.name = rng.choice(_names(model))


def _place(model: onnx.ModelProto, rng: random.Random) -> None:
    if not (tensors := _tensors(model)):
        return
    tensor = rng.choice(tensors)
    tensor.data_location = TensorProto.EXTERNAL
    if rng.random() < 0.7:
        tensor.ClearField("raw_data")
    del tensor.external_data[:]
    places = ("weights.bin", "../outside/secret.bin", "{outside}/secret.bin", "link.bin", "up/secret.bin", "pipe", "")
    entries = {
        "location": rng.choice((*places, "./weights.bin", "up/../weights.bin", "/dev/zero", "gone.bin", "/", "."))
    }
    if rng.random() < 0.7:
        entries["offset"] = str(rng.choice(EXTREMES))
    if rng.random() < 0.7:
        entries["length"] = str(rng.choice((4, 16, 100, *EXTREMES)))
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _interface(model: onnx.ModelProto, rng: random.Random) -> None:
    entry = rng.choice((*model.graph.input, *model.graph.output))
    dims = entry.type.tensor_type.shape.dim
    kind = rng.randrange(5)
    if kind == 0 and dims:
        rng.choice(dims).dim_value = rng.choice(EXTREMES)
    elif kind == 1 and dims:
        rng.choice(dims).dim_param = rng.choice(("N", "", "M" * 99))
    elif kind == 2:
        entry.type.tensor_type.elem_type = rng.randrange(0, 28)
    elif kind == 3:
        rng.choice((model.graph.input, model.graph.output)).add().CopyFrom(entry)
    else:
        entry.name = rng.choice(_names(model))


def _version(model: onnx.ModelProto, rng: random.Random) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        model.ir_version = rng.choice((0, 1, 3, 8, 13, 99, 2**40))
    elif kind == 1 and model.opset_import:
        rng.choice(model.opset_import).version = rng.choice((0, 1, 6, 9, 13, 18, 21, 25, 99, 2**40, -1))
    elif kind == 2 and model.opset_import:
        del model.opset_import[rng.randrange(len(model.opset_import))]
    else:
        entry = model.metadata_props.add()
        entry.key = rng.choice(
            ("robaudit.mean", "robaudit.std", "robaudit.layout", "robaudit.classes", "robaudit.scale")
        )
        entry.value = rng.choice(("nan", "0", "1e999", "a,b", "nhwc", "x" * 9999, "0.5,0.5,0.5"))


def _nested(model: onnx.ModelProto, rng: random.Random) -> None:
    node = onnx.NodeProto.FromString(rng.choice(model.graph.node).SerializeToString())
    output = node.output[0] if node.output else "y"
    for level in range(rng.choice((1, 3, 20, 28))):
        result = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph([node], "g", [], result)
        try:
            node = helper.make_node("If", ["c"], [f"deep{level}"], then_branch=graph)
        except Exception:  # protobuf's own limit
            break
        output = f"deep{level}"
    model.graph.node.add().CopyFrom(node)
    model.graph.initializer.add().CopyFrom(TensorProto(name="c", data_type=TensorProto.BOOL, raw_data=b"\1"))


def _recursive(model: onnx.ModelProto, rng: random.Random) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    last = rng.choice((0, 3, 30))
    for i in range(last + 1):
        called = f"F{i + 1}" if i < last else rng.choice(("F0", "Tanh"))
        domain = "local" if called.startswith("F") else ""
        body = [
            helper.make_node(called, ["a"], ["m"], domain=domain),
            helper.make_node(called, ["m"], ["b"], domain=domain),
        ]
        model.functions.add().CopyFrom(helper.make_function("local", f"F{i}", ["a"], ["b"], body, imports))
    node = rng.choice(model.graph.node)
    node.op_type, node.domain = "F0", "local"
    if not any(entry.domain == "local" for entry in model.opset_import):
        model.opset_import.add().CopyFrom(imports[1])


STRUCTURAL: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    *(_operator, _wire, _nodes_moved, _attribute, _tensor, _place, _interface, _version, _nested, _recursive),
    *(_operator, _wire, _attribute, _attribute, _tensor),
)


def mutate_onnx(content: bytes, rng: random.Random, outside: str) -> bytes:
    """One to four changes to the graph; ``outside``: a folder in which nothing may be read."""
    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        try:
            rng.choice(STRUCTURAL)(model, rng)
        except (ValueError, TypeError, IndexError, ProtobufError):  # a value that the format itself does not take
            continue
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            entry.value = entry.value.replace("{outside}", outside)
    return model.SerializeToString()


LINES = (
    '_9 = torch.from_file("{outside}/secret.bin", False, 4)',
    't = torch; _9 = t.from_file("{outside}/secret.bin", False, 4)',
    '_9 = ops.aten.save(x, "{outside}/written")',
    '_9 = ops . aten . save(x, "{outside}/written")',
    "x = torch.zeros([100000, 100000, 100000])",
    "while True:\n      x = torch.add(x, 1)",
    "x = torch.slice(x, 0, 9223372036854775807)",
    "_9 = torch.view(x, [-1, 2147483648])",
    "raise Exception('no')",
    "return None",
    "x = torch.detach(x)",
    "def __setstate__(self): pass",
    "_9 = CONSTANTS.c99",
    "_9 = self.gone",
)


def mutate_archive(content: bytes, rng: random.Random, outside: str) -> bytes:
    """Changes entries of a zip archive, code lines among them; or bytes of the archive itself."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        entries = [(info.filename, old.read(info)) for info in old.infolist()]
        for _ in range(rng.choice((1, 1, 2))):
            place = rng.randrange(len(entries))
            code = [i for i, (name, _) in enumerate(entries) if name.endswith(".py")]
            if code and rng.random() < 0.6:
                place = rng.choice(code)
            entries[place] = _entry(*entries[place], rng)
            kind = rng.random()
            if kind < 0.05:
                entries.append((entries[place][0].upper(), entries[rng.randrange(len(entries))][1]))
            elif kind < 0.1:
                del entries[place]
            elif kind < 0.15:
                entries.append(("../escape.py", b"x"))
        for name, data in entries:
            new.writestr(name, data.replace(b"{outside}", outside.encode()))
    return made.getvalue()


def _entry(name: str, data: bytes, rng: random.Random) -> tuple[str, bytes]:
    if not name.endswith(".py") or rng.random() < 0.3:
        return name, mutate_bytes(data, rng)
    lines = data.decode("utf-8", "replace").split("\n")
    bodies = [i for i, line in enumerate(lines) if line.startswith("    ")]
    place = rng.choice(bodies or [0])
    kind = rng.randrange(5)
    if kind <= 1:
        lines.insert(place, "    " + rng.choice(LINES))
    elif kind == 2:
        del lines[place]
    elif kind == 3:
        lines[place] = lines[rng.randrange(len(lines))]
    else:
        words = lines[place].split(" ")
        words[rng.randrange(len(words))] = rng.choice((*map(str, EXTREMES), "x", "None", "torch.relu(x)", "[]", "nan"))
        lines[place] = " ".join(words)
    return name, "\n".join(lines).encode()

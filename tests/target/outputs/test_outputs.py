from __future__ import annotations

import numpy as np
import pytest
from model_files import FLOAT, write_onnx
from onnx import TensorProto, helper, load

from robaudit.errors import UsageError
from robaudit.target.outputs.choosing import choose_output
from robaudit.target.outputs.declared import FileOutput
from robaudit.target.outputs.rows import class_index, score_columns
from robaudit.target.outputs.wiring import Wiring

NODE = helper.make_node


def out(name: str, shape: tuple[int | None, ...] | None, dtype: str = "float32") -> FileOutput:
    return FileOutput(name, shape, dtype)


@pytest.mark.parametrize(
    ("outputs", "chosen", "role", "why"),
    [
        ([out("anything", (None, 10))], "anything", "scores", "only output"),
        ([out("a", (1, 1))], "a", "scores", "only output"),
        ([out("a", (None,))], "a", "scores", "only output"),
        ([out("a", (None, 10, 1, 1), "float16")], "a", "scores", "only output"),
        ([out("a", None)], "a", "scores", "only output"),
        ([out("features", (None, 512)), out("logits", (None, 10))], "logits", "scores", "features by their names"),
        ([out("label", (None,), "int64"), out("probabilities", (None, 3))], "probabilities", "scores", "only output"),
        ([out("probs", (None, 3)), out("logits", (None, 3))], "logits", "scores", "by its name"),
        ([out("hidden", (None, 49, 64)), out("head", (None, 64))], "head", "scores", "only output"),
        ([out("aux_logits", (None, 10)), out("output", (None, 10))], "output", "scores", "auxiliary"),
        ([out("33", (None, 10)), out("score", (None, 1))], "score", "scores", "by its name"),
        ([out("33", (None, 10)), out("45", (None, 1))], "33", "scores", "one score a class"),
        ([out("33", (None, 10)), out("45", (None, 10))], "33", "scores", "first of equals"),
        ([out("label", (None,), "int64")], "label", "labels", "no output holds scores"),
        ([out("label", (None, 1), "string")], "label", "labels", "no output holds scores"),
        ([out("label", (None,), "int64"), out("p", None, "seq(map(int64,tensor(float)))")], "p", "maps", "only"),
    ],
)
def test_the_output_with_class_scores(outputs, chosen, role, why):
    choice = choose_output(outputs)
    assert (choice.output.name, choice.role) == (chosen, role)
    assert why in choice.why


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([out("output0", (1, 84, 8400))], "detectors"),
        ([out("masks", (None, 21, 64, 64))], "segmenters"),
        ([out("out", (None, 21, None, None))], "segmenters"),
        ([out("boxes", (None, 4)), out("labels", (None,), "int64"), out("scores", (None,))], "where things are"),
        ([out("num_dets", (None, 1), "int32"), out("det_scores", (None, 100))], "where things are"),
        ([out("words", (None, 7), "int64")], "no output holds one score a class"),
    ],
)
def test_what_is_no_classifier_is_refused(outputs, words):
    with pytest.raises(UsageError, match=words):
        choose_output(outputs)


def test_the_user_decides():
    outputs = [out("logits", (None, 10)), out("aux", (None, 10)), out("boxes", (None, 4, 100))]
    assert choose_output(outputs, wanted="aux").why == "named by the user"
    with pytest.raises(UsageError, match=r"no output 'auxx'; did you mean 'aux'\?; known are logits, aux, boxes"):
        choose_output(outputs, wanted="auxx")
    with pytest.raises(UsageError, match="boxes Nx4x100 float32 cannot be class scores"):
        choose_output(outputs, wanted="boxes")


def test_answers_say_the_shape_and_which_scores_make_the_label():
    outputs = [out("a", None), out("b", None), out("label", (None,), "int64")]
    answers = [
        {"a": np.float32([[1, 0, 0]]), "b": np.float32([[0, 0, 1]]), "label": np.int64([2])},
        {"a": np.float32([[1, 0, 0]]), "b": np.float32([[0, 1, 0]]), "label": np.int64([1])},
    ]
    choice = choose_output(outputs, answers=answers)
    assert choice.output.name == "b"
    assert choice.why == "its largest score is the label in label"
    wide = [{"a": np.zeros((1, 3, 8, 8), np.float32), "b": np.zeros((1, 3), np.float32), "label": np.int64([0])}]
    assert choose_output(outputs, answers=wide).why == "the only output with one score a class"


def two_heads(path, last: str, first: str):
    """A head in the middle and one at the end, named as told; the graph alone says which is which."""
    return write_onnx(
        path,
        [
            NODE("Flatten", ["x"], ["f"]),
            NODE("MatMul", ["f", "w"], ["h"]),
            NODE("MatMul", ["h", "v"], [first]),
            NODE("Relu", ["h"], ["r"]),
            NODE("MatMul", ["r", "w2"], ["s"]),
            NODE("MatMul", ["s", "v"], [last]),
        ],
        ("N", 2, 2, 2),
        {"w": np.eye(8, dtype=np.float32), "w2": np.eye(8, dtype=np.float32), "v": np.ones((8, 4), np.float32)},
        outputs={first: (("N", 4), FLOAT), last: (("N", 4), FLOAT)},
    )


def test_of_equal_heads_the_one_made_last_is_the_main_one(tmp_path):
    wiring = Wiring(load(two_heads(tmp_path / "m.onnx", "20", "10")))
    choice = choose_output([out("10", (None, 4)), out("20", (None, 4))], wiring=wiring)
    assert (choice.output.name, choice.why) == ("20", "it is made last")


def test_features_feed_the_scores(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [NODE("Flatten", ["x"], ["10"]), NODE("MatMul", ["10", "v"], ["20"])],
        ("N", 2, 2, 2),
        {"v": np.ones((8, 4), np.float32)},
        outputs={"10": (("N", 8), FLOAT), "20": (("N", 4), FLOAT)},
    )
    choice = choose_output([out("10", (None, 8)), out("20", (None, 4))], wiring=Wiring(load(path)))
    assert (choice.output.name, choice.why) == ("20", "others feed it")


def test_topk_values_are_no_scores(tmp_path):
    path = write_onnx(
        tmp_path / "m.onnx",
        [NODE("Flatten", ["x"], ["f"]), NODE("TopK", ["f", "k"], ["values", "indices"])],
        ("N", 2, 2, 2),
        {"k": np.int64([5])},
        outputs={"values": (("N", 5), FLOAT), "indices": (("N", 5), TensorProto.INT64)},
    )
    outputs = [out("values", (None, 5)), out("indices", (None, 5), "int64")]
    choice = choose_output(outputs, wiring=Wiring(load(path)))
    assert (choice.output.name, choice.role) == ("indices", "ranks")


def test_dictionaries_in_the_order_of_the_classes():
    rows = [{"b": 0.1, "a": 0.9}, {"b": 0.4, "a": 0.6}]
    assert score_columns(rows, ["b", "a"]).tolist() == [[0.1, 0.9], [0.4, 0.6]]
    assert score_columns(rows, None).tolist() == [[0.9, 0.1], [0.6, 0.4]]


def test_labels_as_indices():
    assert class_index(np.array(["x", "z", "q"], dtype=object), ["z", "x"]).tolist() == [1, 0, -1]
    assert class_index(np.int64([7, 5]), [5, 7]).tolist() == [1, 0]
    assert class_index(np.int64([2, 0]), None).tolist() == [2, 0]

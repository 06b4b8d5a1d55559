"""Makes the rest of the corpus: in-graph preprocessing, heads, scikit-learn, external data, shipped models.

python -m corpus.others OUT [SHARED_MODELS]
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from corpus.architectures import build
from corpus.build import Maker
from onnx import TensorProto, helper, numpy_helper

SHIPPED = {
    "rapidocr_onnxruntime": ("models/ch_ppocr_mobile_v2.0_cls_infer.onnx",),
    "silero_vad": ("data/silero_vad.onnx", "data/silero_vad_16k_op15.onnx"),
    "magika": ("models/standard_v3_3/model.onnx",),
    "onnxruntime": ("datasets/logreg_iris.onnx",),
}


def _export(name: str, path: Path, opset: int) -> int:
    module, size = build(name)
    torch.onnx.export(
        module,
        (torch.randn(2, 3, size, size),),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
    )
    return size


def _appended(model: onnx.ModelProto, nodes: list[onnx.NodeProto], outputs: dict[str, int]) -> onnx.ModelProto:
    """The model with more nodes at its end and other outputs."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.node.extend(nodes)
    del changed.graph.output[:]
    changed.graph.output.extend(helper.make_tensor_value_info(k, v, None) for k, v in outputs.items())
    return changed


def _saved(model: onnx.ModelProto, path: Path) -> None:
    onnx.save(model, str(path))
    ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def heads(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Other ways to end a classifier."""
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    soft = helper.make_node("Softmax", ["logits"], ["probs"], axis=-1)
    five = helper.make_node("Constant", [], ["five"], value_ints=[5])
    yield "softmax", _appended(model, [soft], {"probs": floats})
    log = helper.make_node("LogSoftmax", ["logits"], ["log_probs"], axis=-1)
    yield "log-softmax", _appended(model, [log], {"log_probs": floats})
    label = helper.make_node("ArgMax", ["probs"], ["label"], axis=1, keepdims=0)
    yield "argmax", _appended(model, [soft, label], {"label": ints})
    yield "label-and-probabilities", _appended(model, [soft, label], {"label": ints, "probs": floats})
    top = helper.make_node("TopK", ["probs", "five"], ["values", "indices"], axis=1)
    yield "topk", _appended(model, [soft, five, top], {"values": floats, "indices": ints})


def preprocessing(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The graph with pixels as its input: uint8, N x H x W x 3, resized and normalised inside."""
    resizes: dict[str, dict[str, Any] | None] = {
        "uint8": None,
        "linear": {"mode": "linear"},
        "linear-antialias": {"mode": "linear", "antialias": 1},
        "cubic": {"mode": "cubic", "cubic_coeff_a": -0.75},
        "cubic-antialias": {"mode": "cubic", "cubic_coeff_a": -0.5, "antialias": 1},
        "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "align-corners": {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    }
    mean = numpy_helper.from_array(np.array([0.485, 0.456, 0.406], np.float32) * 255, "mean")
    std = numpy_helper.from_array(np.array([0.229, 0.224, 0.225], np.float32) * 255, "std")
    sizes = numpy_helper.from_array(np.array([224, 224], np.int64), "sizes")
    for kind, options in resizes.items():
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        side = 224 if options is None else 288
        steps = [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "std"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["input" if options is None else "whole"], perm=[0, 3, 1, 2]),
        ]
        if options is not None:
            steps.append(helper.make_node("Resize", ["whole", "", "", "sizes"], ["input"], axes=[2, 3], **options))
        nodes = [*steps, *changed.graph.node]
        del changed.graph.node[:], changed.graph.input[:]
        changed.graph.node.extend(nodes)
        changed.graph.initializer.extend([mean, std, sizes])
        changed.graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", side, side, 3]))
        yield kind, changed


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The input rounded to 8 bits inside of the graph, as a defense would."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    steps = [
        helper.make_node("Constant", [], ["levels"], value_float=255.0),
        helper.make_node("Mul", ["image", "levels"], ["large"]),
        helper.make_node("Round", ["large"], ["whole"]),
        helper.make_node("Div", ["whole", "levels"], ["input"]),
    ]
    nodes = [*steps, *changed.graph.node]
    del changed.graph.node[:], changed.graph.input[:]
    changed.graph.node.extend(nodes)
    changed.graph.input.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224]))
    return changed


def scikit_learn(maker: Maker) -> None:
    """Estimators on the 8 x 8 digits."""
    from skl2onnx import to_onnx
    from sklearn import discriminant_analysis, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
    from sklearn.datasets import load_digits
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    network = neural_network.MLPClassifier((32,), max_iter=100, random_state=0)
    estimators: dict[str, Any] = {
        "logistic": linear_model.LogisticRegression(max_iter=300),
        "sgd": linear_model.SGDClassifier(random_state=0),
        "ridge": linear_model.RidgeClassifier(),
        "linear-svc": svm.LinearSVC(),
        "svc": svm.SVC(),
        "svc-poly": svm.SVC(kernel="poly"),
        "mlp": network,
        "pipeline": make_pipeline(StandardScaler(), Normalizer(), network),
        "minmax": make_pipeline(MinMaxScaler(), linear_model.LogisticRegression(max_iter=300)),
        "naive-bayes": naive_bayes.GaussianNB(),
        "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
        "neighbours": neighbors.KNeighborsClassifier(5),
        "tree": tree.DecisionTreeClassifier(random_state=0),
        "forest": ensemble.RandomForestClassifier(20, random_state=0),
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0),
        "histogram-boosting": ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=0),
    }
    opsets = {"": 18, "ai.onnx.ml": 3}
    for name, estimator in estimators.items():
        for zipmap in (True, False) if name != "linear-svc" else (None,):

            def how(path: Path, estimator: Any = estimator, zipmap: bool | None = zipmap) -> None:
                estimator.fit(x[:800], y[:800])
                options = None if zipmap is None else {"zipmap": zipmap}
                onnx.save(to_onnx(estimator, x[:1], options=options, target_opset=opsets), str(path))

            maker.make(f"sklearn.{name}{'.zipmap' if zipmap else ''}", how, kind="scikit-learn")


def shipped(maker: Maker, models: Path | None) -> None:
    """Models inside of packages, where installed, and of a folder."""
    paths = [(f"package.{path.stem}", path) for package, files in SHIPPED.items() for path in _inside(package, files)]
    paths += [(f"shared.{path.stem}", path) for path in sorted(models.glob("*.onnx"))] if models else []
    for name, path in paths:
        maker.make(name, lambda out, path=path: shutil.copy(path, out), kind="shipped")


def _inside(package: str, files: tuple[str, ...]) -> list[Path]:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        print(f"{package} is not installed: left out")
        return []
    return [Path(found.origin).parent / file for file in files]


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(4)
    maker = Maker(Path(sys.argv[1]))
    base = maker.folder / "other.base.onnx"
    maker.make("other.base", lambda path: _export("mobilenetv2_100", path, 18), kind="fp32", source="mobilenetv2_100")
    model = onnx.load(str(base))

    def put(kind: str, name: str, made: onnx.ModelProto) -> None:
        maker.make(f"{kind}.{name}", lambda path: _saved(made, path), kind=kind)

    for name, made in heads(model):
        put("head", name, made)
    for name, made in preprocessing(model):
        put("preprocessing", name, made)
    put("preprocessing", "rounded", rounded(model))
    maker.make("other.external", _external(model), kind="external data", source="mobilenetv2_100")
    scikit_learn(maker)
    shipped(maker, Path(sys.argv[2]) if len(sys.argv) > 2 else None)


def _external(model: onnx.ModelProto) -> Callable[[Path], None]:
    def how(path: Path) -> None:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        onnx.save_model(copy, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)

    return how


if __name__ == "__main__":
    main()

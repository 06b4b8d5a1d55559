"""Every white-box attack on every kind of model: it runs, and what it claims holds on the file, or it says why not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from model_files import FLOAT, script, weight, write_onnx
from onnx import TensorProto, helper
from target_kit import complete

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import attack_classes
from robaudit.audit.config.profile import AttackSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.audit.plan.fronts import plan_fronts
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.fitting import Fitter
from robaudit.audit.session.loading import load
from robaudit.audit.session.samples import Asking, SampleStore, answer_samples
from robaudit.audit.session.shared import Shared
from robaudit.engine.engine import Engine
from robaudit.engine.executor import LocalExecutor
from robaudit.engine.oracle import Oracle
from robaudit.threat.model import Access
from robaudit.threat.sets.features import FixedFeatures

COUNT = 3
EPS = {"linf": 0.4, "l2": 3.0, "l1": 12.0, "l0": 12.0}
SMALL: dict[str, dict[str, Any]] = {
    "apgd-ce": {"steps": 10},
    "apgd-dlr": {"steps": 10},
    "apgd-t": {"steps": 10, "targets": 3},
    "cw-l0": {"steps": 20, "rounds": 6, "learning_rate": 0.1},
    "cw-l2": {"steps": 20, "searches": 3, "first_c": 0.1, "learning_rate": 0.05},
    "cw-linf": {"steps": 20, "rounds": 5, "learning_rate": 0.1},
    "daa": {"steps": 10, "step_size": 0.2},
    "ddn": {"steps": 30},
    "ead": {"steps": 20, "searches": 3, "first_c": 0.1, "learning_rate": 0.1},
    "fab": {"steps": 10},
    "fab-t": {"steps": 10, "targets": 3},
    "fmn": {"steps": 30},
    "jsma": {"targets": 3, "gamma": 0.5},
    "lbfgs": {"steps": 10, "searches": 3, "targets": 2},
    "pdpgd": {"steps": 100, "primal_rate": 0.3},
    "pgd": {"steps": 10},
    "sgd-uap": {"fit_least": 1},
    "sigma-zero": {"steps": 60},
}
WHITE_BOX = sorted(name for name, cls in attack_classes().items() if cls.access is Access.WHITE_BOX)


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Args:
        shape: of a sample in the file.
        outputs: columns of its last matrix.
        end: operators after it.
        low, high: of the features, in the file's units.
        flags: what the user says of the input.
        dtype: of the input.
        table: ranges, for a table.
        refuses: attacks that do not apply, with a word of the reason.
    """

    shape: tuple[int, ...] = (1, 6, 6)
    outputs: int = 5
    end: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    flags: dict[str, Any] = field(default_factory=dict)
    dtype: int = FLOAT
    table: str = ""
    refuses: dict[str, str] = field(default_factory=dict)
    torchscript: bool = False


WHOLE = (TensorProto.UINT8, TensorProto.INT8)
PLAIN = {"mean": (0.0,), "std": (1.0,), "domain": (0.0, 1.0)}
IMAGE = {**PLAIN, "layout": "nchw"}
TWO = {"apgd-dlr": "three classes", "apgd-t": "four classes"}
RANGES = "name,low,high,immutable,integer\n" + "".join(f"f{i},0,100,{'yes' if i == 7 else ''},yes\n" for i in range(8))
KINDS = {
    "five classes": Kind(flags=IMAGE),
    "softmax": Kind(end=("Softmax",), flags=IMAGE),
    "log-softmax": Kind(end=("LogSoftmax",), flags=IMAGE),
    "two classes": Kind(outputs=2, flags=IMAGE, refuses=TWO),
    "three classes": Kind(outputs=3, flags=IMAGE, refuses={"apgd-t": "four classes"}),
    "one logit": Kind(outputs=1, flags=IMAGE, refuses=TWO),
    "one sigmoid": Kind(outputs=1, end=("Sigmoid",), flags=IMAGE, refuses=TWO),
    "1,000 classes": Kind(outputs=1000, flags=IMAGE),
    "non-square": Kind(shape=(3, 3, 7), flags=IMAGE),
    "channels last": Kind(shape=(3, 7, 3), flags={**PLAIN, "layout": "nhwc"}),
    "vector": Kind(shape=(20,), flags=PLAIN),
    "sequence": Kind(shape=(1, 20), flags=PLAIN),
    "volume": Kind(shape=(1, 3, 3, 4), flags=PLAIN),
    "0 to 255": Kind(low=0, high=255, flags={**IMAGE, "domain": (0.0, 255.0)}),
    "-1 to 1": Kind(low=-1, high=1, flags={**IMAGE, "domain": (-1.0, 1.0)}),
    "half precision": Kind(dtype=TensorProto.FLOAT16, flags=IMAGE),
    "whole numbers": Kind(dtype=TensorProto.UINT8, low=0, high=255, flags={"layout": "nchw"}),
    "table": Kind(shape=(8,), outputs=3, low=0, high=100, table=RANGES, refuses={"apgd-t": "four classes"}),
    "TorchScript": Kind(torchscript=True, flags=IMAGE),
}


def write_model(folder: Path, kind: Kind) -> Path:
    """Two layers over the features, taken to [-1, 1] first; centred so that every class occurs."""
    features = int(np.prod(kind.shape))
    first = weight(12, features).astype(np.float64)
    last = (
        weight(kind.outputs, 12, seed=1).astype(np.float64) if kind.outputs > 1 else weight(2, 12)[:, :1].astype(float)
    )
    width = kind.high - kind.low
    if kind.torchscript:
        net = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(features, 12), torch.nn.Tanh(), torch.nn.Linear(12, 5)
        )
        with torch.no_grad():
            net[1].weight.copy_(torch.from_numpy(first.T * 2 / width))
            net[1].bias.copy_(torch.from_numpy(-first.sum(0)))
            net[3].weight.copy_(torch.from_numpy(last.T))
            net[3].bias.zero_()
        return script(folder / "m.pt", net, torch.rand(2, *kind.shape))
    inner = TensorProto.FLOAT if kind.dtype in WHOLE else kind.dtype
    real = np.float16 if inner == TensorProto.FLOAT16 else np.float32
    names = ["z", *(f"z{i}" for i in range(len(kind.end)))]
    names[-1] = "y"
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=inner),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "w2"], [names[0]]),
        *(
            helper.make_node(op, [a], [b], **({"axis": 1} if "Soft" in op else {}))
            for op, a, b in zip(kind.end, names, names[1:], strict=False)
        ),
    ]
    middle = (kind.low + kind.high) / 2
    constants = {
        "w1": (first * 2 / width).astype(real),
        "b1": (-first.sum(0) * 2 / width * middle).astype(real),
        "w2": last.astype(real),
    }
    return write_onnx(
        folder / "m.onnx",
        nodes,
        ("N", *kind.shape),
        constants,
        outputs={"y": (("N", kind.outputs), inner)},
        dtype=kind.dtype,
    )


def answer_of(path: Path, kind: Kind) -> Callable[[np.ndarray], int]:
    """What the file itself answers to one input in its own units."""
    if kind.torchscript:
        module = torch.jit.load(str(path))
        return lambda x: int(module(torch.from_numpy(x[None]).float()).argmax())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    dtype: Any = helper.tensor_dtype_to_np_dtype(kind.dtype)

    def answer(x: np.ndarray) -> int:
        given = np.rint(x) if kind.dtype in WHOLE else x
        scores = session.run(None, {"x": given[None].astype(dtype)})[0].ravel()
        threshold = 0.5 if kind.end == ("Sigmoid",) else 0.0
        return int(scores[0] > threshold) if kind.outputs == 1 else int(scores.argmax())

    return answer


def prepared(folder: Path, kind: Kind) -> tuple[Any, Callable[[np.ndarray], int], np.ndarray]:
    """(request, what the file answers, the samples in the file's units); samples labelled by the file."""
    path = write_model(folder, kind)
    answer = answer_of(path, kind)
    u = (0.5 + 0.25 * np.random.default_rng(3).normal(size=(COUNT, *kind.shape))).clip(0.02, 0.98)
    whole = kind.table or kind.dtype in WHOLE
    x = (kind.low + u * (kind.high - kind.low)).astype(np.float32)
    x = np.rint(x) if whole else x
    y = [answer(row) for row in x]
    if kind.table:
        data = folder / "t.csv"
        lines = [",".join([*map(str, row), str(label)]) for row, label in zip(x.tolist(), y, strict=True)]
        data.write_text("\n".join([",".join([*(f"f{i}" for i in range(8)), "label"]), *lines]) + "\n")
        (folder / "r.csv").write_text(kind.table)
    else:
        data = folder / "d.npz"
        np.savez(data, x=x.astype(np.uint8) if whole else x, y=np.array(y))
    ranges = folder / "r.csv" if kind.table else None
    request = AuditRequest(path, load_profile("quick"), data=data, input_values=kind.flags, feature_ranges=ranges)
    return request, answer, x.astype(np.float64)


def distance(norm: str, delta: np.ndarray) -> float:
    away = np.abs(delta).ravel()
    return float(
        {"linf": away.max(), "l2": np.sqrt((away**2).sum()), "l1": away.sum(), "l0": (away > 1e-9).sum()}[norm]
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", KINDS)
def test_every_attack_runs_or_says_why(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    request, answer, x = prepared(tmp_path, kind)
    loaded = load(request)
    target = loaded.opened
    points = torch.from_numpy(np.stack([loaded.data.load(i) for i in range(COUNT)])).to(target.dtype)
    target = complete(target, points)
    journal = Journal(tmp_path)
    journal.load()
    for record, scores in answer_samples(Oracle(target), loaded.data, loaded.drawn, Asking(False, 8)):
        journal.append(record, scores)
    store = SampleStore(loaded.data, journal)
    assert len(store.standing()) == COUNT
    labels = torch.tensor([store.answers[i].label for i in range(COUNT)])
    engine = Engine(Oracle(target), 16, 0, StartingPool(points, labels))
    width = kind.high - kind.low
    for attack, turn in zip(WHITE_BOX, itertools.count(sorted(KINDS).index(name))):
        norms = sorted(map(str, attack_classes()[attack].norms))
        norm = norms[turn % len(norms)]
        threat = request.profile.threat.model_copy(update={"norm": norm, "eps": EPS[norm]})
        specs = (AttackSpec.model_validate({"id": attack, **SMALL.get(attack, {})}),)
        [front] = plan_fronts(
            request.profile.model_copy(update={"threat": threat, "attacks": specs}),
            replace(loaded.loaded(target).traits, surrogates=(), misfits=(), others=None),
        )
        [planned] = front.plan
        if attack in kind.refuses:
            assert planned.status == "skipped"
            assert kind.refuses[attack] in str(planned.reason)
            continue
        assert planned.status == "ready", planned.reason
        found = Journal(tmp_path / attack)
        (tmp_path / attack).mkdir()
        threat_model = replace(front.threat, sets=(FixedFeatures(target.spec.fixed),))
        executor = LocalExecutor(engine)
        same = SimpleNamespace(data=loaded.data, others=lambda _: loaded.drawn)  # what a fit makes of them is the point
        shared = Shared(found)
        with_fits = Fitter(same, Oracle(target), executor, shared)
        Cascade(front.plan, threat_model, store, executor, shared, with_fits).run()
        record = found.last(AttackEnded, id=attack)
        assert record is not None
        assert (record.status, record.reason) == ("done", None), attack
        units = list(found.of(FinishedUnit))
        assert {unit.error for unit in units} == {None}, attack
        assert any(unit.success for unit in units), f"{attack} in {norm} breaks none"
        for unit in units:
            assert unit.distance is None or np.isfinite(unit.distance)
            if not unit.success:
                continue
            point = found.point(unit)
            assert point is not None
            raw = np.asarray(point, np.float64)
            raw = raw.transpose(1, 2, 0) if kind.flags.get("layout") == "nhwc" else raw
            raw = kind.low + raw * width
            origin = x[unit.sample]
            assert raw.min() >= kind.low - 1e-5 * width
            assert raw.max() <= kind.high + 1e-5 * width
            delta = (raw - origin) / width
            delta[np.abs(delta) < 2e-7] = 0  # what single precision makes of a sample
            assert unit.distance == pytest.approx(distance(norm, delta), rel=1e-4, abs=1e-5)
            assert distance(norm, delta) <= EPS[norm] + 1e-4
            assert answer(raw.astype(np.float32)) == unit.prediction != store.answers[unit.sample].label
            if kind.table:
                assert raw[7] == pytest.approx(origin[7])
                np.testing.assert_allclose(raw, np.rint(raw), atol=1e-3)

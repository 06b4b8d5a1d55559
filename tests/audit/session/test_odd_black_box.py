"""Every attack by scores or labels on odd files: it keeps to its budget, what it claims holds, or it says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from run_kit import labels_only, run_here
from test_odd_models import IMAGE, PLAIN, RANGES, Kind, answer_of, distance, write_model

from robaudit.attacks.fitted import FittedSearch
from robaudit.attacks.registry import attack_classes
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.threat.model import Access

BLACK_BOX = [n for n, c in attack_classes().items() if c.access in (Access.SCORES, Access.LABELS) and "test-" not in n]
HYBRIDS = [name for name in BLACK_BOX if attack_classes()[name].prior]
"""Skipped, as there is no surrogate."""
QUERIES = 150
EPS = {"linf": 0.15, "l2": 0.6, "l0": 6}
COUNT, AUDITED = 28, 4
KINDS = {
    "one sigmoid": Kind(outputs=1, end=("Sigmoid",), flags=IMAGE),
    "1,000 classes": Kind(shape=(3, 5, 4), outputs=1000, flags=IMAGE),
    "signal": Kind(shape=(30,), flags=PLAIN),
    "table": Kind(shape=(8,), outputs=3, low=0, high=100, table=RANGES),
    "int8": Kind(dtype=TensorProto.INT8, low=-128, high=127, flags={"layout": "nchw"}),
}
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def profile(path: Path) -> Path:
    """Every attack in every norm, on what the ones before left standing."""
    lines = []
    for name in BLACK_BOX:
        fit = ", fit_least: 8" if issubclass(attack_classes()[name], FittedSearch) else ""
        shapes = [f", shape: {shape}" for shape in ("pixels", "patch", "frame")] if name == "sparse-rs" else []
        lines += [f"  - {{id: {name}, queries: {QUERIES}{fit}{shape}}}" for shape in ("", *shapes)]
    also = ", ".join(f"{{norm: {norm}, eps: {EPS[norm]}}}" for norm in ("l2", "l0"))
    threat = f"{{norm: linf, eps: {EPS['linf']}, also: [{also}]}}"
    head = f"name: odd\ndata: {{samples: {AUDITED}}}\nthreat: {threat}\nchecks: [clean, evidence]\nattacks:\n"
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def audited(folder: Path, request: AuditRequest, answer: Callable[[np.ndarray], int], kind: Kind) -> dict[str, str]:
    """Status of each attack; every unit and what it claims is checked against the file."""
    journal = Journal(folder / "run")
    (folder / "run").mkdir()
    result = run_here(request, folder / "run", journal=journal)
    width, origins = kind.high - kind.low, {}
    for at in range(COUNT):
        origins[at] = np.load(folder / "x.npy")[at].astype(np.float64)
    broken = 0
    for unit in journal.of(FinishedUnit):
        assert unit.error is None, unit.attack
        assert unit.queries <= QUERIES, unit.attack
        if not unit.success:
            continue
        broken += 1
        norm, point = unit.attack.partition("/")[0], journal.point(unit)
        assert point is not None
        raw = kind.low + np.asarray(point, np.float64) * width
        assert raw.min() >= kind.low - 1e-5 * width
        assert raw.max() <= kind.high + 1e-5 * width
        delta = (raw - origins[unit.sample]) / width
        delta[np.abs(delta) < 2e-7] = 0  # what single precision makes of a sample
        assert distance(norm, delta) <= EPS[norm] + 1e-4
        assert answer(raw.astype(np.float32)) == unit.prediction
        if kind.table:
            assert raw[7] == pytest.approx(origins[unit.sample][7])
            np.testing.assert_allclose(raw, np.rint(raw), atol=1e-3)
    assert broken >= 3
    assert {check.status for check in result.checks} == {"pass"}
    for attack in result.attacks:
        assert attack.status in ("done", "skipped", "unavailable"), (attack.id, attack.reason)
        assert (attack.reason is None) is (attack.status == "done")
    return {attack.id: attack.status for attack in result.attacks}


@pytest.mark.parametrize("name", KINDS)
def test_every_black_box_attack_runs_or_says_why(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    model = write_model(tmp_path, kind)
    answer = answer_of(model, kind)
    u = (0.5 + 0.25 * np.random.default_rng(3).normal(size=(COUNT, *kind.shape))).clip(0.02, 0.98)
    whole = kind.table or kind.dtype == TensorProto.INT8
    x = (kind.low + u * (kind.high - kind.low)).astype(np.float32)
    x = np.rint(x) if whole else x
    y = np.array([answer(row) for row in x])
    np.save(tmp_path / "x.npy", x)
    ranges = None
    if kind.table:
        data, ranges = tmp_path / "t.csv", tmp_path / "r.csv"
        lines = [",".join([*map(str, row), str(label)]) for row, label in zip(x.tolist(), y, strict=True)]
        data.write_text("\n".join([",".join([*(f"f{i}" for i in range(8)), "label"]), *lines]) + "\n")
        ranges.write_text(kind.table)
    else:
        data = tmp_path / "d.npz"
        np.savez(data, x=(x + 128) / 255 if whole else x, y=y)  # [0, 1] is what images mean to an integer type
    chosen = load_profile(str(profile(tmp_path / "p.yaml")))
    request = AuditRequest(model, chosen, data=data, input_values=kind.flags, feature_ranges=ranges)
    status = audited(tmp_path, request, answer, kind)
    done = {key for key, value in status.items() if value == "done"}
    placed = {"l2/autozoom-ae", "l0/sparse-rs#3", "l0/sparse-rs#4"}
    hybrids = {key for key in status if key.partition("/")[2] in HYBRIDS}
    assert hybrids
    assert not hybrids & done
    assert status.keys() - done - hybrids <= placed
    assert "unavailable" not in {status[key] for key in status.keys() - hybrids}


def test_a_file_of_labels_leaves_the_attacks_by_labels(tmp_path: Path) -> None:
    model = labels_only(tmp_path / "m.onnx", hide=True)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape[1:]
    x = np.random.default_rng(0).random((COUNT, *shape)).astype(np.float32)

    def answer(one: np.ndarray) -> int:
        return int(session.run(None, {name: one[None]})[0][0])

    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([answer(row) for row in x]))
    chosen = load_profile(str(profile(tmp_path / "p.yaml")))
    request = AuditRequest(model, chosen, data=tmp_path / "d.npz", input_values=IMAGE)
    status = audited(tmp_path, request, answer, Kind(flags=IMAGE))
    for key, value in status.items():
        cls = attack_classes()[key.partition("/")[2].partition("#")[0]]
        asked = cls.access is Access.LABELS and not cls.prior
        assert value == "done" if asked else value in ("unavailable", "skipped")


def test_a_tree_ensemble_is_searched_by_scores_and_labels(tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier

    rng = np.random.default_rng(0)
    x = rng.random((200, 6)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 1).astype(int) + (x[:, 2] > 0.7)
    model = tmp_path / "m.onnx"
    fitted = GradientBoostingClassifier(n_estimators=8, max_depth=2, random_state=0).fit(x, y)
    onnx.save(to_onnx(fitted, x[:1]), model)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])

    def answer(one: np.ndarray) -> int:
        return int(session.run(None, {session.get_inputs()[0].name: one[None]})[0][0])

    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "d.npz", x=x[:COUNT], y=np.array([answer(row) for row in x[:COUNT]]))
    chosen = load_profile(str(profile(tmp_path / "p.yaml")))
    values: dict[str, Any] = dict(PLAIN)
    status = audited(
        tmp_path, AuditRequest(model, chosen, data=tmp_path / "d.npz", input_values=values), answer, Kind()
    )
    assert {value for key, value in status.items() if key.partition("/")[2] not in HYBRIDS} == {"done", "skipped"}

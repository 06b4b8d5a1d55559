"""Replays: what the audit found is found again, by other code; and what was tampered with is not."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import shutil
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from command_line import ROBAUDIT
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import linear_onnx, weight, write_onnx
from onnx import TensorProto, helper
from run_kit import make_data, make_onnx, make_profile, make_request, make_script, run_here
from table_files import RANGES, write_model, write_table

from robaudit.audit.process.persist import GivenUp
from robaudit.audit.replay.confidence import file_confidence
from robaudit.audit.replay.onnx_judge import predicted
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.derive import derived
from robaudit.audit.result.document import Reading, Result
from robaudit.audit.run.rundir import MARKER
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.engine.oracle import confidence
from robaudit.errors import AuditError, UsageError
from robaudit.files import sha256_file
from robaudit.report.html import render
from robaudit.report.replay import replay_lines, verdict
from robaudit.target.head.answers import OPEN, predictions
from robaudit.target.head.scores import Head
from robaudit.threat.admissible import admissible
from robaudit.threat.arrays import distance
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.sets.features import FixedFeatures

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FGSM = "\n  - {id: fgsm}\n  - {id: apgd-ce, steps: 5}\n"


def audited(folder: Path, model: Path, **changes: object) -> Path:
    """A finished run; returns its folder."""
    data = changes.pop("data", None) or make_data(folder / "data.npz")
    profile = make_profile(folder / "p.yaml", str(changes.pop("attacks", FGSM)), eps=float(changes.pop("eps", 0.1)))
    request = dataclasses.replace(make_request(model, data, profile), **changes)
    run = folder / "run"
    result = run_here(request, run)
    assert result.evidence.count > 3
    save_result(result, run / "result.json")
    (run / MARKER).write_text(json.dumps({"run": result.run.id, "model": str(model)}))
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    audited(folder, make_onnx(folder / "m.onnx"))
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of a finished run, to be harmed."""
    shutil.copytree(finished, tmp_path / "copy")
    path = tmp_path / "copy" / "run" / "result.json"
    marker = path.with_name(MARKER)
    marker.write_text(marker.read_text().replace(str(finished), str(tmp_path / "copy")))
    return path.parent


def edited(path: Path, old: str, new: str) -> None:
    """Replace a text in a result, and give it the digest that it has then."""
    content = json.loads(path.read_text().replace(old, new))
    del content["digest"]
    save_result(Result.model_validate(content), path)


def tampered(run: Path, **arrays: np.ndarray) -> None:
    """Change the evidence and make the result name it."""
    path = run / "evidence.npz"
    kept = dict(np.load(path)) | arrays
    np.savez(path, **kept)
    result = load_result(run / "result.json")
    evidence = result.evidence.model_copy(update={"sha256": sha256_file(path), "count": len(kept["index"])})
    save_result(result.model_copy(update={"evidence": evidence}), run / "result.json")


def row_missing(run: Path) -> dict[str, np.ndarray]:
    """The evidence with its first row in place of its last."""
    return {k: np.concatenate([v[:-1], v[:1]]) for k, v in np.load(run / "evidence.npz").items()}


def test_every_example_of_an_audit_holds_up(run) -> None:
    found = replay(ReplayRequest(run))
    result = load_result(run / "result.json")
    assert found.holds
    assert found.same_model
    assert found.count == found.fooled == result.evidence.count
    distances = {sample.index: sample.distance for sample in result.samples}
    for row in found.examples:
        assert row.prediction == row.recorded
        assert row.original == row.label
        assert row.distance == pytest.approx(distances[row.index], abs=1e-12)
    assert replay(ReplayRequest(run / "result.json")) == found


def test_a_torchscript_file(tmp_path) -> None:
    found = replay(ReplayRequest(audited(tmp_path, make_script(tmp_path / "m.pt"))))
    assert found.holds
    assert all(row.prediction == row.recorded for row in found.examples)


def audited_table(tmp_path: Path) -> Path:
    model = write_model(tmp_path / "m.onnx")
    write_table(tmp_path / "t.csv", model)
    (tmp_path / "r.csv").write_text(RANGES)
    given = {"data": tmp_path / "t.csv", "feature_ranges": tmp_path / "r.csv", "input_values": {}}
    return audited(tmp_path, model, eps=0.2, **given)


def test_a_table_with_ranges(tmp_path) -> None:
    found = replay(ReplayRequest(audited_table(tmp_path)))
    assert found.holds
    assert all(row.prediction == row.recorded for row in found.examples)


def test_an_immutable_feature_that_moved_is_outside(tmp_path) -> None:
    run = audited_table(tmp_path)
    points = np.load(run / "evidence.npz")["adversarial"]
    points[0, 1] += 0.01
    tampered(run, adversarial=points)
    found = replay(ReplayRequest(run))
    assert [row.status for row in found.examples].count("outside") == 1


def test_an_image_file_in_its_own_layout_order_and_units(tmp_path) -> None:
    """Whatever the file wants of its input is given to it again: channels last, BGR, mean and std, a fixed batch."""
    model = linear_onnx(tmp_path / "m.onnx", (2, 4, 4, 3))
    x = np.random.default_rng(1).random((20, 3, 4, 4), dtype=np.float32)
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.25)
    seen = (x - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    y = (seen[:, ::-1].transpose(0, 2, 3, 1).reshape(20, -1) @ weight(5, 48)).argmax(1)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    values = {"mean": mean, "std": std, "layout": "nhwc", "channels": "bgr", "domain": (0.0, 1.0)}
    run = audited(tmp_path, model, data=tmp_path / "d.npz", input_values=values)
    found = replay(ReplayRequest(run))
    assert found.holds
    assert all((row.prediction, row.original) == (row.recorded, row.label) for row in found.examples)


def test_labels_alone(tmp_path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["s"]),
        helper.make_node("ArgMax", ["s"], ["y"], axis=1, keepdims=0),
    ]
    outputs = {"y": (("N",), TensorProto.INT64)}
    model = write_onnx(tmp_path / "m.onnx", nodes, ("N", 1, 6, 6), {"w": weight(4, 36)}, outputs=outputs)
    x = np.random.default_rng(1).random((20, 1, 6, 6), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=(x.reshape(20, -1) @ weight(4, 36)).argmax(1))
    found = replay(ReplayRequest(audited(tmp_path, model, data=tmp_path / "d.npz")))
    assert found.holds
    assert all(row.prediction == row.recorded for row in found.examples)


def test_what_no_longer_fools_lies_outside_or_was_wrong_before_is_told(run) -> None:
    with np.load(run / "evidence.npz") as kept:
        points, origins = kept["adversarial"], kept["original"]
    points[0] = origins[0]
    points[1] = np.clip(points[1] + np.where(origins[1] > 0.5, -0.2, 0.2), 0, 1)
    origins[2] = points[2]
    points[3].flat[0] = np.nan
    tampered(run, adversarial=points, original=origins)
    found = replay(ReplayRequest(run))
    assert [row.status for row in found.examples[:4]] == ["no longer fools", "outside", "original wrong", "outside"]
    assert not found.holds
    assert found.fooled == found.count - 4
    assert verdict(found).startswith(f"4 of {found.count} examples do not hold up")


def test_another_model_is_said_to_be_one(run, tmp_path) -> None:
    other = make_onnx(tmp_path / "other.onnx", scale=2.0)
    found = replay(ReplayRequest(run, model=other))
    assert not found.same_model
    assert found.holds
    assert any("not the audited file" in line for line in replay_lines(found))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda run: (run / "evidence.npz").unlink(), "not beside the result"),
        (lambda run: (run / "evidence.npz").write_bytes(b"PK"), "another SHA-256"),
        (lambda run: make_onnx(run.parent / "m.onnx", scale=3.0), "was changed since the audit"),
        (lambda run: (run.parent / "m.onnx").unlink(), "is not here; name it with --model"),
        (lambda run: tampered(run, label=np.load(run / "evidence.npz")["label"] + 1), "does not fit the result at "),
        (lambda run: tampered(run, label=np.load(run / "evidence.npz")["label"][:2]), "cannot be read"),
        (lambda run: tampered(run, **row_missing(run)), "does not fit the result at .*: it comes twice"),
    ],
    ids=["missing", "changed", "model changed", "model missing", "other labels", "short column", "row missing"],
)
def test_evidence_that_cannot_be_vouched_for_is_no_replay(run, harm, words) -> None:
    harm(run)
    with pytest.raises(AuditError, match=words):
        replay(ReplayRequest(run))


def test_evidence_outside_of_the_run_is_refused(run) -> None:
    edited(run / "result.json", '"path": "evidence.npz"', '"path": "../run/evidence.npz"')
    with pytest.raises(AuditError, match="outside of its own folder"):
        replay(ReplayRequest(run))


@pytest.mark.parametrize("name", ["", "other"])
def test_a_label_output_that_the_file_lacks_is_refused(run, name) -> None:
    content = json.loads((run / "result.json").read_text())
    content["target"]["reading"]["label"] = name
    del content["digest"]
    save_result(Result.model_validate(content), run / "result.json")
    with pytest.raises(UsageError, match=f"has no output '{name}'"):
        replay(ReplayRequest(run))


def test_a_model_of_another_shape_is_refused(run, tmp_path) -> None:
    other = linear_onnx(tmp_path / "o.onnx", classes=4)
    with pytest.raises(UsageError, match="does not answer as the audit asked"):
        replay(ReplayRequest(run, model=other))
    with pytest.raises(UsageError, match="there is no model"):
        replay(ReplayRequest(run, model=tmp_path / "none.onnx"))


@pytest.mark.parametrize("given_up", [True, False])
def test_an_example_that_is_not_answered_costs_itself(run, tmp_path, given_up) -> None:
    """One on which the model hung in a process before this one, or that it refuses."""
    whole = replay(ReplayRequest(run))
    with np.load(run / "evidence.npz") as evidence:
        index, value = int(evidence["index"][1]), float(evidence["original"][1].flat[0])
    if given_up:
        found = replay(ReplayRequest(run), GivenUp({index: "it hangs"}))
    else:
        found = replay(ReplayRequest(run, model=refusing(run.parent / "m.onnx", tmp_path / "r.onnx", value)))
    silent = [row for row in found.examples if row.status == "not answered"]
    assert [(row.index, row.original, row.prediction) for row in silent] == [(index, None, None)]
    assert ("it hangs" if given_up else "Gather") in str(silent[0].reason)
    assert (found.fooled, found.exit_code, found.holds) == (whole.count - 1, 3, False)
    assert [row.status for row in whole.examples] == ["fools"] * whole.count
    lines = "\n".join(replay_lines(found))
    assert "1 of" in verdict(found)
    assert "1 not answered" in verdict(found)
    assert str(silent[0].reason)[:20] in lines
    worse = found.model_copy(update={"examples": (*found.examples, silent[0].model_copy(update={"status": "outside"}))})
    assert worse.exit_code == 1


def refusing(path: Path, to: Path, value: float) -> Path:
    """A model that raises where the first feature of an input is a value: it gathers from beyond an end there."""
    model = onnx.load(path)
    graph, first = model.graph, model.graph.node[0]
    for name, array in {"v": np.float32(value), "at": np.array([0], np.int64), "far": np.int64(9)}.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    nodes = [
        helper.make_node("Flatten", ["x"], ["all"]),
        helper.make_node("Gather", ["all", "at"], ["column"], axis=1),
        helper.make_node("Equal", ["column", "v"], ["same"]),
        helper.make_node("Cast", ["same"], ["number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["number", "far"], ["place"]),
        helper.make_node("Gather", ["v1", "place"], ["beyond"], name="Gather_beyond"),
        helper.make_node("ReduceSum", ["beyond"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["x", "nothing"], ["checked"]),
    ]
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "v1"))
    first.input[0] = "checked"
    own = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *own])
    onnx.save(model, to)
    return to


@settings(deadline=None)
@given(st.sampled_from(list(Norm)), st.integers(0, 2**32 - 1), st.floats(0, 2), st.sampled_from([(), (0, 3)]))
def test_admissible_in_numpy_is_admissible_in_torch(norm, seed, eps, fixed) -> None:
    rng = np.random.default_rng(seed)
    origin = rng.random((2, 3), dtype=np.float32)
    point = np.where(rng.random((2, 3)) < 0.5, origin, origin + rng.normal(size=(2, 3)).astype(np.float32) * 0.5)
    inside, size = ThreatModel(norm, eps, sets=(FixedFeatures(fixed),)).admissible(
        torch.from_numpy(origin)[None], torch.from_numpy(point)[None]
    )
    measured = distance(norm.value, origin, point)
    found = admissible(point[None], origin[None], np.array([measured]), eps, (FixedFeatures(fixed),))
    assert bool(found[0]) == bool(inside[0])
    assert measured == pytest.approx(float(size[0]), abs=1e-12)


rows = st.lists(
    st.one_of(st.floats(-2, 2, width=32), st.sampled_from([0.0, 0.5, 1.0, math.nan, math.inf, -math.inf])),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(rows, st.sampled_from(["logits", "probabilities", "log-probabilities", "sigmoids"]))
def test_the_class_of_scores_is_that_of_the_head(row, kind) -> None:
    raw = np.array([row], np.float32)
    scores = Head("y", kind, single=len(row) == 1).scores(torch.from_numpy(raw))
    expected = int(predictions(scores)[0])
    assert predicted(raw, kind, max(2, len(row))) == (None if expected == OPEN else expected)


@settings(deadline=None)
@given(rows, st.sampled_from(["logits", "probabilities", "log-probabilities", "sigmoids"]), st.booleans())
def test_confidence_is_that_of_the_oracle(row, kind, turned) -> None:
    """By which a service rejects: NaN, which is below nothing, where the scores name no class."""
    raw = np.array([row], np.float32)
    scores = Head("y", kind, single=len(row) == 1, turned=turned).scores(torch.from_numpy(raw))
    own = file_confidence(raw, kind, max(2, len(row)), Reading(turned=turned))
    assert own == pytest.approx(float(confidence(scores, kind)[0]), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("turned", [False, True])
def test_confidence_of_one_against_one_of_a_label_output_and_of_a_threshold(turned) -> None:
    raw = np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)
    pairs = Head("y", pairs=True, classes=4, turned=turned).scores(torch.from_numpy(raw))
    own = file_confidence(raw, "logits", 4, Reading(pairs=True, turned=turned))
    assert own == pytest.approx(float(confidence(pairs, "logits")[0]), rel=1e-6)
    said = np.append(raw, np.float32(2))[None]
    labelled = Head("y", labelled=True, turned=turned).scores(torch.from_numpy(said))
    own = file_confidence(said, "logits", 6, Reading(label="z", turned=turned))
    assert own == pytest.approx(float(confidence(labelled, "logits")[0]), rel=1e-6)
    one = Head("y", single=True, threshold=0.3, turned=turned).scores(torch.from_numpy(raw[:, :1]))
    own = file_confidence(raw[:, :1], "logits", 2, Reading(threshold=0.3, turned=turned))
    assert own == pytest.approx(float(confidence(one, "logits")[0]), rel=1e-6)


@pytest.mark.parametrize(
    ("row", "kind", "expected"),
    [
        ([-math.inf, 2.0, 1.0], "logits", 1),
        ([-math.inf, -math.inf, -3.0], "log-probabilities", 2),
        ([math.inf, 2.0], "logits", None),
        ([-math.inf, -math.inf], "logits", None),
        ([-math.inf, math.nan, 1.0], "logits", None),
        ([-math.inf], "logits", 0),
        ([math.inf], "logits", 1),
        ([math.nan], "logits", None),
    ],
)
def test_minus_infinity_is_a_score(row, kind, expected) -> None:
    assert predicted(np.array([row], np.float32), kind, max(2, len(row))) == expected


@given(st.integers(-2, 6))
def test_a_label_that_is_no_class_is_no_answer(label) -> None:
    assert predicted(np.array([[label]]), "labels", 4) == (label if 0 <= label < 4 else None)


# As a user runs it


def command(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(
        [ROBAUDIT, "replay", *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_installed_command_needs_no_torch(run, tmp_path) -> None:
    """A package that refuses to be imported stands in for torch, in the command and in the processes it starts."""
    (tmp_path / "block" / "torch").mkdir(parents=True)
    (tmp_path / "block" / "torch" / "__init__.py").write_text("raise ImportError('torch was imported')\n")
    blocked = {"PYTHONPATH": str(tmp_path / "block")}
    refused = command(run, "--model", make_script(tmp_path / "m.pt"), **blocked)
    assert (refused.returncode, "torch was imported" in refused.stderr) == (3, True), refused.stderr

    found = command(run, "--format", "json", **blocked)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    content = json.loads(found.stdout)
    assert content["fooled"] == content["count"] == len(content["examples"]) > 3
    assert content["judge"].startswith("ONNX Runtime ")


def test_exit_codes(run, no_child, robaudit) -> None:
    def code(*arguments: object) -> tuple[int, str, int]:
        found, out, err = robaudit("replay", *arguments)
        return found, out, len(err.splitlines())

    found, out, errors = code(run)
    assert (found, errors) == (0, 0)
    assert "hold up" in out.splitlines()[-1]
    assert code(run, "--model", run / "none") == (2, "", 1)
    assert code(run, "-f", "yaml") == (2, "", 1)
    assert code(run, "--input", "x") == (2, "", 1)
    tampered(run, adversarial=np.load(run / "evidence.npz")["original"])
    assert code(run)[0] == 1
    (run / "evidence.npz").write_bytes(b"")
    assert code(run) == (3, "", 1)


def nothing_broken(result: Result) -> Result:
    """What somebody might make of a result to have it say so, all figures made to fit."""
    gone = {"broken_by": None, "adversarial_prediction": None, "distance": None, "distance_8bit": None}
    samples = tuple(s.model_copy(update=gone) for s in result.samples)
    stood = sum(s.counted and s.correct for s in samples)
    attacks = tuple(a.model_copy(update={"attempted": stood}) for a in result.attacks)
    empty = result.evidence.model_copy(update={"path": None, "sha256": None, "count": 0})
    draft = result.model_copy(update={"samples": samples, "attacks": attacks, "evidence": empty})
    return conclude(derived(draft), [])


def test_nothing_broken_is_nothing_to_replay(run) -> None:
    result: Result = load_result(run / "result.json")
    save_result(nothing_broken(result), run / "result.json")
    with pytest.raises(AuditError, match=r"says that nothing was broken, and evidence\.npz lies beside it"):
        replay(ReplayRequest(run))
    (run / "evidence.npz").unlink()
    found = replay(ReplayRequest(run))
    assert found.holds
    assert "Nothing to replay" in verdict(found)


def test_a_result_that_hides_what_the_evidence_shows_is_refused(run) -> None:
    """Standing again: one sample alone, or all, or its attack, answer or distance changed."""
    result: Result = load_result(run / "result.json")
    place, fallen = next((i, s) for i, s in enumerate(result.samples) if s.broken_by is not None)
    evidence = dict(np.load(run / "evidence.npz"))
    row = evidence["index"].tolist().index(fallen.index)

    def saved(**changes: object) -> None:
        samples = list(result.samples)
        samples[place] = fallen.model_copy(update=changes)
        save_result(conclude(derived(result.model_copy(update={"samples": tuple(samples)})), []), run / "result.json")

    def words() -> str:
        with pytest.raises(AuditError) as caught:
            replay(ReplayRequest(run))
        return str(caught.value)

    saved(broken_by=None, adversarial_prediction=None, distance=None, distance_8bit=None)
    with pytest.raises(UsageError, match="contradicts itself"):
        replay(ReplayRequest(run))
    saved(distance=fallen.distance / 2)
    found = replay(ReplayRequest(run))
    assert {row.sample for row in found.examples if row.status == "other distance"} == {fallen.id}
    assert not found.holds
    other = next(c for c in range(result.target.num_classes) if c not in (fallen.label, fallen.adversarial_prediction))
    saved(adversarial_prediction=other)
    assert f"at {fallen.id}: the result says {fallen.broken_by} and the answer {other}, the evidence" in words()
    saved()
    tampered(run, attack=np.where(np.arange(len(evidence["attack"])) == row, "apgd-ce", evidence["attack"]))
    assert "and the answer" in words()
    tampered(run, **evidence | {"index": np.where(evidence["index"] == fallen.index, 0, evidence["index"])})
    assert "does not fit the result" in words()


def test_the_weights_beside_a_model_belong_to_it(tmp_path) -> None:
    """A file that is the same to the byte, with other weights in the file that it names."""
    model = make_onnx(tmp_path / "m.onnx")
    onnx.save(
        onnx.load(model), model, save_as_external_data=True, location="m.bin", size_threshold=0, convert_attribute=True
    )
    run = audited(tmp_path, model)
    result = load_result(run / "result.json")
    assert result.target.external == {"m.bin": sha256_file(tmp_path / "m.bin")}
    assert replay(ReplayRequest(run)).same_model
    weights = np.fromfile(tmp_path / "m.bin", np.float32)
    (weights * 2).tofile(tmp_path / "m.bin")
    with pytest.raises(AuditError, match=r"m\.bin, which .*m\.onnx keeps weights in, was changed since the audit"):
        replay(ReplayRequest(run))
    assert not replay(ReplayRequest(run, model=model)).same_model


def with_label(path: Path, how: str) -> Path:
    """The kit's network with a label output beside scores that say otherwise, or that have an output a class."""
    model = onnx.load(make_onnx(path))
    graph, node = model.graph, helper.make_node
    del graph.output[:]
    graph.node.append(node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0))
    graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    if how == "columns":
        graph.node.append(node("Split", ["logits"], [f"s{i}" for i in range(4)], axis=1))
        names = [f"s{i}" for i in range(4)]
    else:
        graph.node.append(node("Neg" if how == "turned" else "Sin", ["logits"], ["scores"]))
        names = ["scores"]
    width = 4 // len(names)
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in names)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("how", ["turned", "columns", "unrelated"])
def test_what_a_label_output_decided_is_replayed_so(tmp_path, how):
    run = audited(tmp_path, with_label(tmp_path / "m.onnx", how), attacks="\n  - {id: fgsm}\n")
    result = load_result(run / "result.json")
    assert result.clean.accuracy is not None
    assert (result.clean.accuracy.k, result.clean.accuracy.n) == (14, 16)  # as the kit's labels have it
    reading = result.target.reading
    assert reading.turned == (how == "turned")
    assert reading.columns == (("s0", "s1", "s2", "s3") if how == "columns" else ())
    assert (reading.label, result.target.head) == ((None, "labels") if how == "unrelated" else ("label", "logits"))
    found = replay(ReplayRequest(run))
    assert found.holds
    assert found.count == result.evidence.count > 3
    assert {row.prediction == row.recorded for row in found.examples} == {True}


def test_a_module_with_a_label_output_is_replayed(tmp_path):
    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.jit.load(str(make_script(tmp_path / "net.pt")))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            z = self.net(x)
            return z.argmax(1), -z

    torch.jit.save(torch.jit.trace(Both().eval(), torch.zeros(2, 1, 6, 6).double()), str(tmp_path / "m.pt"))
    run = audited(tmp_path, tmp_path / "m.pt", attacks="\n  - {id: fgsm}\n")
    assert load_result(run / "result.json").target.reading.turned
    assert replay(ReplayRequest(run)).holds


def with_bytes(run: Path, **entries: bytes) -> None:
    """Arrays of the archive as other bytes; the result names what is there then."""
    path = run / "evidence.npz"
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept |= {f"{name}.npy": content for name, content in entries.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
    named(run)


def named(run: Path) -> None:
    result = load_result(run / "result.json")
    evidence = result.evidence.model_copy(update={"sha256": sha256_file(run / "evidence.npz")})
    save_result(result.model_copy(update={"evidence": evidence}), run / "result.json")


def header(shape: tuple[int, ...], dtype: str, data: bytes = b"") -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array_header_2_0(content, {"descr": dtype, "fortran_order": False, "shape": shape})
    return content.getvalue() + data


def as_type(name: str, dtype: str):
    return lambda run: tampered(run, **{name: np.load(run / "evidence.npz")[name].astype(dtype)})


def twice(run: Path) -> None:
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(run / "evidence.npz", "a") as archive:
        archive.writestr("label.npy", archive.read("label.npy"))
    named(run)


def damaged(run: Path) -> None:
    """Compressed bytes that are none."""
    with_bytes(run)
    path = run / "evidence.npz"
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("adversarial.npy").header_offset + 60
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    named(run)


def with_nan(run: Path) -> None:
    points = np.load(run / "evidence.npz")["adversarial"].copy()
    points[0, 0, 0, 0] = np.nan
    tampered(run, adversarial=points)


@pytest.mark.parametrize(
    "harm",
    [
        twice,
        damaged,
        as_type("original", "U8"),
        as_type("adversarial", "c16"),
        as_type("index", "f8"),
        as_type("label", "O"),
        as_type("attack", "U2000"),
        lambda run: with_bytes(run, original=header((9, 2**40), "<f4")),
        lambda run: with_bytes(run, original=header((-1, 3), "<f4", bytes(12))),
        lambda run: with_bytes(run, index=header((10**6,), "|V1000")),
        lambda run: with_bytes(run, index=b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535),
        lambda run: with_bytes(run, label=b""),
    ],
)
def test_a_hostile_archive_is_refused_in_a_sentence(run, harm) -> None:
    harm(run)
    with pytest.raises(AuditError, match=r"^the archive evidence.npz cannot be read: \S"):
        replay(ReplayRequest(run))
    page = render(load_result(run / "result.json"), run=run)
    assert "none is shown" in page


def test_values_that_are_no_numbers_are_no_picture(run) -> None:
    with_nan(run)
    assert replay(ReplayRequest(run)).examples[0].status == "outside"
    page = render(load_result(run / "result.json"), run=run)
    assert "holds values that are no numbers" in page


def test_an_original_outside_of_the_box_shows_nothing(run) -> None:
    kept = np.load(run / "evidence.npz")
    original, adversarial = kept["original"].copy(), kept["adversarial"].copy()
    place = np.unravel_index(np.argmin(adversarial[0]), adversarial[0].shape)
    adversarial[(0, *place)] = 0.0
    original[(0, *place)] = -0.05
    tampered(run, original=original, adversarial=adversarial)
    assert replay(ReplayRequest(run)).examples[0].status == "outside"


def test_no_report_reads_evidence_outside_of_the_run(run) -> None:
    edited(run / "result.json", '"path": "evidence.npz"', f'"path": "{run}/evidence.npz"')
    page = render(load_result(run / "result.json"), run=run)
    assert "outside of its own folder" in page

"""Gates that can never pass, or that mean something else than they say, are refused before anything is audited."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command, refused
from results import make_result, make_samples, make_stored

from robaudit.audit.config.gatespecs import GateSpec, check_contradictions, parse_gate
from robaudit.audit.result.sections.run import Place
from robaudit.audit.verdict.conclusion import conclude
from robaudit.audit.verdict.gates import Available, check_class_gates, check_gates
from robaudit.errors import UsageError

RADII = {"linf": 8 / 255}
BOTH = {"linf": 8 / 255, "l2": 0.5}


def specs(*texts: str) -> list[GateSpec]:
    return [GateSpec.model_validate(text) for text in texts]


@pytest.mark.parametrize("confidence", [0.5, 0.49, 0.05, 0, -1, 1, 95, "40%", float("nan")])
def test_a_confidence_of_a_half_or_less_is_refused(confidence: object) -> None:
    with pytest.raises(ValueError, match=r"a gate's confidence lies above 0\.5 and below 1, such as 0\.95, not"):
        GateSpec.model_validate({"metric": "robust_accuracy", "min": 0.5, "confidence": confidence})


def test_percentages_are_shares() -> None:
    assert GateSpec.model_validate({"metric": "robust_accuracy", "min": "20%", "confidence": "99%"}).min == 0.2
    assert GateSpec.model_validate({"metric": "coverage", "min": 1, "confidence": "99%"}).confidence == 0.99
    assert parse_gate("regression<=2%") == {"metric": "regression", "max": 0.02}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("median_distance>=5%", "the gate on median_distance bounds a distance, and 5% is a share"),
        ("median_distance.l2 >= 5 %", "bounds a distance"),
        ("attack.fgsm.median_distance>=5%", "bounds a distance"),
        ("attack.square.mean_queries<=20%", "takes no percentage, as attack.square.mean_queries is a count"),
        ("median_queries>=20%", "is a count"),
        ("newly_broken<=1%", "is a count"),
        ("check.clean>=5%", "passes or fails"),
    ],
)
def test_a_percentage_of_what_is_no_share_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_gate(text)
    metric, sign, number = text.replace(">=", " >= ").replace("<=", " <= ").split(maxsplit=2)
    with pytest.raises(ValueError, match=words):
        GateSpec.model_validate({"metric": metric, "min" if sign == ">=" else "max": number})


@pytest.mark.parametrize(
    ("gates", "radii"),
    [
        (("robust_accuracy>=0.8", "robust_accuracy<=0.5"), RADII),
        (("robust_accuracy<=0.5", "clean_accuracy>=0.9", "robust_accuracy>=0.8"), RADII),
        (("robust_accuracy>=0.5", "robust_accuracy<=0.5"), RADII),
        (("newly_broken>=3", "newly_broken<=2"), RADII),
        (("robust_accuracy>=0.8", "robust_accuracy.linf<=0.5"), RADII),
        (("robust_accuracy@8/255<=0.5", "robust_accuracy>=0.8"), RADII),
        (("robust_accuracy.l2@1/2<=0.5", "robust_accuracy.l2@0.5>=0.8"), BOTH),
        (("robust_accuracy.l2@1/2<=0.5", "robust_accuracy.l2>=0.8"), BOTH),
        (("attack.fgsm.rate_alone<=0.5", "attacks.fgsm.robust_accuracy>=0.8"), RADII),
    ],
)
def test_gates_that_contradict_each_other_are_refused(gates: tuple[str, ...], radii: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="can never pass"):
        check_gates(specs(*gates), Available(["fgsm"], [], norms=radii, radii=radii))


def test_gates_on_a_class_by_name_and_by_place_are_compared() -> None:
    with pytest.raises(UsageError, match="can never pass"):
        check_class_gates(specs("class.cat.robust_accuracy>=0.8", "class.1.robust_accuracy<=0.5"), ["dog", "cat"], 2)
    check_class_gates(specs("class.cat.robust_accuracy>=0.8", "class.0.robust_accuracy<=0.5"), ["dog", "cat"], 2)


@pytest.mark.parametrize(
    "gates",
    [
        ("robust_accuracy>=0.5", "robust_accuracy<=0.8"),
        ("robust_accuracy>=0.5", "robust_accuracy>=0.8"),
        ("robust_accuracy>=0.8", "robust_accuracy.l2<=0.5"),  # the union, and one of its norms
        ("robust_accuracy.linf>=0.8", "robust_accuracy.l2<=0.5"),
        ("robust_accuracy.l2@0.5>=0.8", "robust_accuracy.l2@1<=0.5"),
        ("newly_broken>=2", "newly_broken<=2"),  # no interval
        ("median_distance>=3", "median_distance<=3"),  # counted in features, its bounds may coincide
    ],
)
def test_gates_that_can_all_pass_are_taken(gates: tuple[str, ...]) -> None:
    check_contradictions(specs(*gates), BOTH)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text(conclude(make_stored(make_result(samples=make_samples(41, 100))), []).to_json())
    return path


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("[{metric: robust_accuracy, min: 0.5, confidence: 0.5}]", "confidence lies above 0.5"),
        ("[robust_accuracy>=0.8, robust_accuracy<=0.5]", "can never pass"),
        ("[{metric: robust_accuracy, min: 0.8, max: 0.5}]", "can never pass"),
        ("[median_distance>=5%]", "bounds a distance"),
        ("[{metric: median_distance, min: 5%}]", "bounds a distance"),
    ],
)
def test_every_place_that_takes_gates_refuses_in_one_sentence(
    robaudit: Command, tmp_path: Path, result: Path, yaml: str, words: str
) -> None:
    (tmp_path / "p.yaml").write_text(f"name: p\nattacks: [fgsm]\ngates: {yaml}\n")
    (tmp_path / "robaudit.yaml").write_text(f"gates: {yaml}\n")
    (tmp_path / "m.onnx").write_bytes(b"")
    for command in (
        ("profile", "validate", str(tmp_path / "p.yaml")),
        ("scan", str(tmp_path / "m.onnx")),  # by the robaudit.yaml beside it
        ("gate", str(result), "--gates", str(tmp_path / "robaudit.yaml")),
    ):
        refused(robaudit(*command), words)


def test_flags_that_contradict_each_other_are_refused(robaudit: Command, tmp_path: Path, result: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    opposed = ("--gate", "robust_accuracy>=0.8", "--gate", "robust_accuracy<=0.5")
    refused(robaudit("scan", str(tmp_path / "m.onnx"), *opposed), "can never pass")
    refused(robaudit("scan", str(tmp_path / "m.onnx"), "--min-robust", "0.8", *opposed[2:]), "can never pass")
    refused(robaudit("scan", str(tmp_path / "m.onnx"), "--gate", "median_distance>=5%"), "bounds a distance")
    refused(robaudit("gate", str(result), *opposed), "can never pass")


def test_min_robust_keeps_the_other_bound_of_a_less_specific_place(tmp_path: Path) -> None:
    from robaudit.audit.config.resolve import resolve_settings

    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "robaudit.yaml").write_text(
        "gates: [{metric: robust_accuracy, max: 0.9, level: warn}, robust_accuracy>=0.6]\n"
    )
    found = resolve_settings({"min_robust": 0.7}, {}, tmp_path / "m.onnx").profile.gates
    kept = [(g.min, g.max, g.level) for g in found if g.metric == "robust_accuracy"]
    assert kept == [(None, 0.9, "warn"), (0.7, None, "error")]


def test_a_refused_gate_is_told_with_the_line_that_asks_for_it() -> None:
    gate = GateSpec.model_validate("attack.pgdd.robust_accuracy>=0.5")
    places = {"gates.attack.pgdd.robust_accuracy": Place(file="robaudit.yaml", line=7)}
    with pytest.raises(UsageError, match=r"^line 7 of robaudit.yaml: the gate on .* the profile has no attack 'pgdd'"):
        check_gates([gate], Available(["pgd"], []), places=places)

"""Samples that a smooth backward broke and the true gradient had left: counted, tried again, and what masks named."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fake_bench import FakeBench, find, verdict
from onnx import TensorProto, helper, numpy_helper
from run_kit import make_profile, make_request, run_here

from robaudit.attacks.registry import make_composed
from robaudit.audit.result.document import Result
from robaudit.checks.base import Breach, Ran
from robaudit.engine.units import Sample, case_of
from robaudit.report.masking import masking_lines
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm

NAME = "gradient-masking"
NARROW = {"ladder": [{"loss": "soft-margin", "steps": 4}]}
WIDE = {"ladder": [{"loss": "soft-margin", "steps": 4, "wide": 3.0}]}


def norm_of(**changes: Any) -> dict[str, Any]:
    found = {"norm": "l2", "correct": 400, "left": 300, "broken": 100, "ways": ["a smooth backward"]}
    again = {"tried": 16, "true": 0, "kinds": {"Relu": 15, "MaxPool": 3}, "nodes": {"Relu": ["a"], "MaxPool": ["p"]}}
    return found | again | changes


def judged(*norms: dict[str, Any], why: str | None = None) -> Any:
    return verdict(NAME, norms=list(norms), why=why)


def test_what_masks_is_named_with_its_nodes() -> None:
    found = judged(norm_of())
    assert (found.status, found.value, found.operators) == ("warn", 0.25, ("Relu (a)",))
    assert found.message == (
        "attacks along the true gradient left 300 of 400 samples, and a smooth backward broke 100 of them: Relu masks "
        "the gradient (of 16 searched again 0 fall along the true gradient, 15 with Relu (a) smooth), and figures of "
        "attacks that follow it are too high here"
    )
    both = judged(norm_of(kinds={"Relu": 8, "MaxPool": 15}, nodes={"Relu": list("abcd"), "MaxPool": ["p"]}))
    assert "MaxPool and Relu mask the gradient" in both.message
    assert "8 with 4 x Relu (a … d) smooth" in both.message
    assert "something masks the gradient" in judged(norm_of(kinds={"Relu": 0})).message


def test_what_a_longer_search_explains_is_taken_off() -> None:
    explained = judged(norm_of(true=16, kinds={"Relu": 16}))
    assert (explained.status, explained.value) == ("pass", 0.0)
    assert explained.message.endswith("of 16 searched again 16 fall along the true gradient")
    half = judged(norm_of(true=8))
    assert (half.status, half.value) == ("warn", 50 / 400)


def test_a_sample_or_two_may_be_chance() -> None:
    two = judged(norm_of(broken=2, tried=2, kinds={"Relu": 2}))
    assert (two.status, two.value, two.operators) == ("pass", 2 / 400, ())
    assert two.message.endswith("0 fall along the true gradient, 2 with Relu (a) smooth")
    assert judged(norm_of(correct=50, broken=3, tried=3)).status == "warn"
    assert judged(norm_of(correct=900, broken=3, tried=3)).status == "pass"


def test_nothing_found_passes_and_nothing_run_is_skipped() -> None:
    none = {"norm": "l2", "correct": 9, "left": 4, "broken": 0, "ways": ["a smooth backward"]}
    found = judged(none)
    assert (found.status, found.value) == ("pass", 0.0)
    assert found.message.endswith("left 4 of 9 samples, and a smooth backward broke none of them")
    assert judged().status == "skipped"
    assert judged(why="it is a module").message.endswith("; it is a module")


def test_the_norm_that_is_masked_is_told() -> None:
    found = judged(norm_of(norm="linf", broken=1, tried=1), norm_of())
    assert found.message.startswith("in l2 ")
    assert found.status == "warn"


def ran(name: str, place: int, parameters: dict[str, Any] | None = None, norm: Norm = Norm.LINF) -> Ran:
    attack, how = make_composed(name, parameters or {})
    return Ran(f"{name}#{place}", attack, how, ThreatModel(norm, 0.1), bool(how.smooth))


class Cascade(FakeBench):
    """A bench on which attacks ran and broke samples; searched again those before a number fall."""

    def __init__(self, runs: Sequence[Ran], fell: dict[int, int], below: dict[Collection[str], int]) -> None:
        super().__init__(20)
        self.runs, self.below = list(runs), below
        self.target.smoothable = {"Relu": ("one", "two"), "Clip": ("three",)}
        self.fallen = [
            Breach(case, runs[by].key, Access.WHITE_BOX, 0, 0.0, lambda: np.zeros((1, 4, 4)), runs[by].threat)
            for case, by in fell.items()
        ]

    def sample(self, index: int) -> Sample:
        return dataclasses.replace(self.samples[0], index=index)

    def search_smoothed(self, one: Ran, samples: Sequence[Sample], nodes: Collection[str]) -> dict[int, bool]:
        self.hows.append((one, [sample.index for sample in samples], nodes))
        return {sample.index: sample.index < self.below[nodes] for sample in samples}


def test_the_search_that_broke_most_is_run_again_in_the_ball() -> None:
    runs = [ran("pgd", 1), ran("apgd-ce+smooth", 1), ran("ensemble+smooth", 1, WIDE), ran("fgsm", 1)]
    fell = {0: 0, 1: 1, **dict.fromkeys(range(2, 12), 2), 12: 3}
    bench = Cascade(runs, fell, {(): 3, ("one", "two"): 9, ("three",): 3})
    found = find(NAME, bench)
    assert found.message == (
        "attacks along the true gradient left 19 of 20 samples, and a smooth backward broke 11 of them: Relu masks "
        "the gradient (of 10 searched again 1 fall along the true gradient, 7 with Relu (one, two) smooth), and "
        "figures of attacks that follow it are too high here"
    )
    assert found.value == 9 / 20  # 11 but for the tenth that a longer search breaks
    assert {one.key for one, *_ in bench.hows} == {"ensemble+smooth#1"}
    assert all(rung.wide == 1 for one, *_ in bench.hows for rung in one.attack.ladder)
    assert all(cases == list(range(2, 12)) for _, cases, _ in bench.hows)


def test_a_wide_search_by_the_true_gradient_is_another_way_behind_a_narrow_one() -> None:
    bench = Cascade([ran("ensemble", 1, NARROW), ran("ensemble", 2, WIDE)], dict.fromkeys(range(5), 1), {(): 0})
    found = find(NAME, bench)
    assert found.status == "warn"
    assert "searches from outside of the ball broke 5 of them: something masks the gradient" in found.message
    assert find(NAME, Cascade([ran("ensemble", 1, WIDE)], {0: 0}, {})).status == "skipped"
    assert find(NAME, Cascade([ran("pgd+smooth", 1), ran("ensemble", 1, WIDE)], {0: 0}, {})).status == "skipped"


def test_each_norm_has_a_cascade_of_its_own() -> None:
    runs = [ran("pgd", 1), ran("pgd+smooth", 1), ran("pgd", 2, norm=Norm.L2), ran("pgd+smooth", 2, norm=Norm.L2)]
    bench = Cascade(runs, {0: 0, 1: 2, 2: 3, 3: 3, 4: 3}, {(): 0, ("one", "two"): 0, ("three",): 9})
    assert find(NAME, bench).message.startswith(
        "in l2 attacks along the true gradient left 19 of 20 samples, and a smooth backward broke 3 of them: Clip masks"
    )


def test_a_sample_counts_once_whatever_it_was_made_to_answer() -> None:
    bench = Cascade([ran("pgd", 1), ran("pgd+smooth", 1)], {}, {(): 0, ("one", "two"): 0, ("three",): 0})
    one = Breach(0, "pgd+smooth#1", Access.WHITE_BOX, 0, 0.0, lambda: np.zeros((1, 4, 4)))
    bench.fallen = [dataclasses.replace(one, sample=case_of(3, goal)) for goal in range(4)]
    assert find(NAME, bench).value == 1 / 20


def test_a_random_model_is_left_out() -> None:
    bench = Cascade([ran("pgd", 1), ran("pgd+smooth", 1)], {0: 1}, {})
    bench.target.is_random = True
    assert find(NAME, bench).message.endswith("the model answers by chance")


# whole audits

SEARCH = "{loss: soft-margin, steps: 12}"
ATTACKS = f"\n  - {{id: ensemble, ladder: [{SEARCH}]}}\n  - {{id: ensemble+smooth, ladder: [{SEARCH}]}}\n"
ROWS = np.repeat(np.eye(3), 12, axis=1) / 12
"""Three units, each the mean of twelve pixels, and below them a fourth, the mean of all."""
COUNT = 12


def write(folder: Path, bias: float, lead: float) -> tuple[Path, Path]:
    """A net whose classes 1 to 3 rise by a ReLU of a mean of pixels, and grey images of class 0.

    Args:
        folder: to write in.
        bias: of the ReLUs: at the images they are on from -0.3 on, and off at -0.6.
        lead: of class 0 where they are off.
    """
    arrays = {
        "w1": np.concatenate([ROWS, np.full((1, 36), 1 / 36)]),
        "b1": np.array([bias] * 3 + [0.0]),
        "w2": np.array([[0, 0, 0, 0.1], [20, 0, 0, 0], [0, 20, 0, 0], [0, 0, 20, 0]]),
        "b2": np.array([lead, 0, 0, 0]),
    }
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["a"], name="hidden"),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "grey",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()],
    )
    model, data = folder / "m.onnx", folder / "d.npz"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    grey = np.linspace(0.45, 0.52, COUNT)[:, None, None, None]
    noise = np.random.default_rng(0).uniform(-0.02, 0.02, (COUNT, 1, 6, 6))
    np.savez(data, x=(grey + noise).astype(np.float32), y=np.zeros(COUNT, np.int64))
    return model, data


def audited(folder: Path, bias: float, lead: float, eps: float) -> Result:
    model, data = write(folder, bias, lead)
    profile = make_profile(folder / "p.yaml", ATTACKS, eps=eps, checks=f"[{NAME}]")
    return run_here(make_request(model, data, profile), folder / "run")


def test_what_masks_is_told_and_starts_no_reaction(tmp_path: Path) -> None:
    model, data = write(tmp_path, -0.6, 0.5)
    profile = make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.14, checks=f"[{NAME}]")
    profile.write_text(profile.read_text() + "reaction: {attacks: [{id: fgsm}]}\n")
    result = run_here(make_request(model, data, profile), tmp_path / "run")
    assert 0 < result.attacks[1].broken < COUNT
    assert [attack.id for attack in result.attacks] == ["ensemble", "ensemble+smooth"]
    assert result.masking is not None
    assert result.masking.signs == (NAME,)
    assert result.masking.hidden[0].operators == ("Relu (hidden)",)
    assert masking_lines(result)[1] == "hidden at Relu (hidden), which loses it"


def found_in(result: Result) -> Any:
    return next(check for check in result.checks if check.id == NAME)


def test_units_that_are_off_mask_the_gradient(tmp_path: Path) -> None:
    result = audited(tmp_path, -0.6, 0.5, eps=0.25)
    assert [attack.broken for attack in result.attacks] == [0, COUNT]
    found = found_in(result)
    assert (found.status, found.value) == ("warn", 1.0)
    assert f"left {COUNT} of {COUNT} samples, and a smooth backward broke {COUNT} of them: Relu masks" in found.message
    assert f"0 fall along the true gradient, {COUNT} with Relu (hidden) smooth" in found.message
    assert found.backwards > 0
    again = run_here(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", tmp_path / "p.yaml"), tmp_path / "run")
    assert again.checks == result.checks


@pytest.mark.parametrize("eps", [0.02, 0.05])
def test_units_that_are_on_mask_nothing(tmp_path: Path, eps: float) -> None:
    result = audited(tmp_path, -0.3, 4.65, eps)
    true, smooth = (attack.broken for attack in result.attacks)
    assert 0 < true < COUNT
    assert smooth == 0
    found = found_in(result)
    assert (found.status, found.value, found.backwards) == ("pass", 0.0, 0)

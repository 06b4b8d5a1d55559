"""Audits that make their surrogates and attack through each of them, against the lines of their journals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from linear_kit import Stopper, linear, near_the_middle, profile
from run_kit import labels_only, make_data, make_onnx, make_request, outcome, records, run_here, scan

from robaudit.audit.config.surrogate_specs import SurrogateSpec, surrogates_asked
from robaudit.audit.result.document import Result, content_digest
from robaudit.audit.stored.file import parse_result
from robaudit.errors import UsageError
from robaudit.report.terminal import render_text
from robaudit.report.transfer import matrix_rows, surrogate_lines

MADE = "{id: distilled, queries: 150, samples: 60, rounds: 2, epochs: 3}"
MORE = f"data: {{samples: 14}}\nsurrogates: [{MADE}]\n"


def audited(tmp_path: Path, more: str = MORE, attacks: str = "[mi]", samples: int = 90, **changes: Any) -> Result:
    """An audit of a linear model of two classes on 14 of its samples."""
    near_the_middle(tmp_path / "d.npz", linear(tmp_path / "m.onnx"), samples)
    linear(tmp_path / "s.onnx")
    path = profile(tmp_path / "p.yaml", "linf", more, attacks, 0.3)
    stop = {"stop": changes.pop("stop")} if "stop" in changes else {}
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, **({"batch_size": 5} | changes))
    return run_here(request, tmp_path / "run", **stop)


def test_a_surrogate_is_made_where_an_attack_needs_it_and_billed_apart(tmp_path: Path) -> None:
    result = audited(tmp_path)
    assert result.transfer is not None
    [made] = result.transfer.surrogates
    assert (made.name, made.origin, made.recipe, made.status) == ("distilled", "made", "distilled", "used")
    assert (made.queries, made.trained_on, made.agreement_on) == (150, 40, "held-out")
    assert made.agreement is not None
    assert made.agreement.n == 20
    assert made.parameters["queries"] == 150
    [attack] = result.attacks
    assert (attack.status, attack.parameters["surrogates"]) == ("done", ["distilled"])
    assert sum(sample.queries for sample in result.samples) == attack.queries == attack.attempted  # a candidate each
    [fit] = [record for record in records(tmp_path / "run", "fit") if record["round"] == 2]
    assert fit["attack"] == "surrogate/distilled"
    text = " ".join(render_text(result).split())
    assert "distilled: made of 150 queries on 40 samples apart from the audited ones" in text
    assert result.verdict.exit_code == 0


def test_none_is_made_that_nothing_needs(tmp_path: Path) -> None:
    result = audited(tmp_path, attacks="[{id: pgd, steps: 20}, mi]")  # nothing stands
    assert result.worst_case.upper_bound_observed.k == 0
    assert result.transfer is not None
    assert [(one.status, one.queries) for one in result.transfer.surrogates] == [("not needed", 0)]
    assert not records(tmp_path / "run", "fit")
    assert surrogate_lines(result) == ["distilled: not needed"]


@pytest.mark.parametrize(("optional", "status", "code"), [("true", "skipped", 0), ("false", "unavailable", 3)])
def test_without_samples_apart_none_is_made(tmp_path: Path, optional: str, status: str, code: int) -> None:
    more = MORE.replace("epochs: 3", f"epochs: 3, optional: {optional}")
    result = audited(tmp_path, more, samples=14, attacks="[fgsm, mi]")
    attack = result.attacks[1]
    assert attack.status == status
    assert "apart from the audited ones, and the data hold none" in attack.reason
    assert result.verdict.exit_code == code
    assert result.transfer is not None
    assert [one.status for one in result.transfer.surrogates] == ["not needed" if code == 0 else "failed"]


def test_a_file_that_gives_labels_alone_has_a_substitute(tmp_path: Path) -> None:
    model = labels_only(tmp_path / "m.onnx", hide=True)
    sub = "{id: substitute, queries: 60, seeds: 30, rounds: 2, epochs: 2}"
    path = profile(tmp_path / "p.yaml", "linf", f"data: {{samples: 8}}\nsurrogates: [{sub}, distilled]", "[mi]", 0.2)
    result = run_here(make_request(model, make_data(tmp_path / "d.npz", 60), path), tmp_path / "run")
    assert result.transfer is not None
    status = {one.name: (one.status, one.reason) for one in result.transfer.surrogates}
    assert status["substitute"][0] == "used"
    assert status["distilled"] == ("failed", "the file returns labels only")
    [attack] = result.attacks
    assert attack.parameters["surrogates"] == ["substitute"]


def test_the_matrix_has_every_surrogate_alone_and_all_together(tmp_path: Path) -> None:
    result = audited(tmp_path, f"{MORE}matrix: {{attacks: [mi, mi+di]}}\n", surrogates=(tmp_path / "s.onnx",))
    assert result.transfer is not None
    assert [one.name for one in result.transfer.surrogates] == ["s.onnx", "distilled"]
    [matrix] = result.transfer.matrices
    methods, names = ("transfer-mi-fgsm", "transfer-mi-fgsm+di"), ("s.onnx", "distilled", "all")
    assert [(cell.method, cell.surrogate) for cell in matrix.cells] == [(m, n) for m in methods for n in names]
    units = {(r["attack"], r["sample"]): r["success"] for r in records(tmp_path / "run", "unit")}
    attacked = sum(sample.correct for sample in result.samples)
    for cell in matrix.cells:
        fell = {sample for (attack, sample), success in units.items() if attack == cell.attack and success}
        assert set(cell.fooled) == fell
        assert cell.success is not None
        assert (cell.success.k, cell.success.n) == (len(fell), attacked)
    own = {cell.surrogate: cell for cell in matrix.cells if cell.method == methods[0]}
    assert own["s.onnx"].success.estimate == 1  # the model is its own surrogate
    first, second = matrix.gains
    union = set.union(*(set(cell.fooled) for cell in matrix.cells if cell.surrogate == "s.onnx"))
    assert (first.surrogate, first.success.k, first.newly) == ("s.onnx", len(union), len(union))
    assert (second.surrogate, second.newly) == ("distilled", 0)
    heads, rows = matrix_rows(matrix)
    assert heads == ["surrogate", *methods, "any, with those above"]
    assert [row[0] for row in rows] == ["s.onnx", "distilled", "all together"]
    assert result.transfer.surrogates[0].agreement.estimate == 1
    assert parse_result(result.to_json(), "r.json") == result


def test_a_matrix_that_its_samples_do_not_bear_out_is_refused(tmp_path: Path) -> None:
    result = audited(tmp_path, f"{MORE}matrix: {{attacks: [mi]}}\n")

    def refused(change: Any, words: str) -> None:
        content = json.loads(result.to_json())
        change(content["transfer"]["matrices"][0])
        del content["digest"]
        with pytest.raises(UsageError, match=words):
            parse_result(json.dumps({**content, "digest": content_digest(content)}), "r.json")

    refused(lambda m: m["cells"][0].update(fooled=m["cells"][0]["fooled"][1:]), "transfer|broke")
    refused(lambda m: m["cells"][0]["success"].update(k=1), "transfer")
    refused(lambda m: m["gains"][0].update(newly=0), "transfer")


def test_an_interrupted_audit_goes_on_with_the_same_surrogate(tmp_path: Path) -> None:
    more = f"{MORE}matrix: {{attacks: [mi]}}\n"
    (tmp_path / "whole").mkdir()
    whole = audited(tmp_path / "whole", more)
    part = audited(tmp_path, more, stop=Stopper(tmp_path / "run", 6))
    assert part.run.interrupted
    again = audited(tmp_path, more, batch_size=3)
    assert again.transfer is not None
    assert whole.transfer is not None
    assert again.transfer.surrogates[0].sha256 == whole.transfer.surrogates[0].sha256
    assert [m.cells for m in again.transfer.matrices] == [m.cells for m in whole.transfer.matrices]
    assert len(records(tmp_path / "run", "fit")) == 2
    assert outcome(again) != outcome(part)


def test_a_stop_within_training_is_kept_to_the_last_round(tmp_path: Path) -> None:
    calls = iter(range(10**6))
    stopped = audited(tmp_path, stop=lambda: len(records(tmp_path / "run", "fit")) >= 1 and next(calls) > 2)
    assert stopped.run.interrupted
    assert [record["round"] for record in records(tmp_path / "run", "fit")] == [1]
    again = audited(tmp_path)
    assert [record["round"] for record in records(tmp_path / "run", "fit")] == [1, 2]
    (tmp_path / "whole").mkdir()
    whole = audited(tmp_path / "whole")
    assert again.transfer is not None
    assert whole.transfer is not None
    assert again.transfer.surrogates[0].sha256 == whole.transfer.surrogates[0].sha256
    assert again.transfer.surrogates[0].queries == 150


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--make-surrogate", "distiled"), "did you mean 'distilled'"),
        (("--make-surrogate", "distilled:queries"), "distilled:queries=500"),
        (("--make-surrogate", "distilled:querys=5"), "querys"),
        (("--make-surrogate", "none", "--make-surrogate", "distilled"), "none stands for no surrogate"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    path = profile(tmp_path / "p.yaml", "linf", "", "[mi]", 0.2)
    told = scan(make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), path, tmp_path / "run", *arguments)
    assert (told.returncode, told.stdout, len(told.stderr.splitlines())) == (2, "", 1), told.stderr
    assert words in told.stderr


def test_an_attack_on_a_surrogate_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = profile(tmp_path / "p.yaml", "linf", "", "[{id: mi, surrogates: [other]}]", 0.2)
    told = scan(make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), path, tmp_path / "run")
    assert told.returncode == 2
    assert "there is no surrogate 'other' (there is none)" in told.stderr


def test_flags_replace_recipes_of_the_profile() -> None:
    known = (SurrogateSpec(id="distilled"), SurrogateSpec(id="gray"))
    found = surrogates_asked(("distilled:queries=5", "substitute"), known)
    assert [(one.id, one.parameters) for one in found] == [
        ("gray", {}),
        ("distilled", {"queries": 5}),
        ("substitute", {}),
    ]
    assert surrogates_asked(("none",), known) == ()
    assert surrogates_asked((), known) == known

"""Comparisons of defenses, as a user asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from plugin_kit import with_package
from run_kit import INPUT, make_data, make_onnx

from robaudit.audit.defenses.document import DefenseComparison, comparison_schema
from robaudit.report.defenses import compared_page

PROFILE = "name: p\nthreat: {norm: linf, eps: 0.3}\nattacks:\n  - {id: pgd, steps: 5}\nchecks: [clean, evidence]\n"
MEANING = [part for name, value in INPUT.items() for part in (f"--{name}", value)]
DEFENSES = ["--defense", "bits:2", "--defense", "median:3+bits:4"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    make_onnx(folder / "m.onnx")
    make_data(folder / "d.npz", 12)
    (folder / "p.yaml").write_text(PROFILE)
    reports = [part for suffix in ("json", "html", "txt") for part in ("-o", f"c.{suffix}")]
    done = with_package(
        folder,
        folder,
        *("defenses", "compare", "m.onnx", "--data", "d.npz", "--profile", "p.yaml", "--no-progress", *MEANING),
        *("--run-dir", "runs", *DEFENSES, *reports),
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


@pytest.mark.slow
def test_each_defense_has_its_figures(compared: Path) -> None:
    content = json.loads((compared / "c.json").read_text())
    jsonschema.validate(content, comparison_schema())
    found = DefenseComparison.model_validate(content)
    assert {row.defense.words for row in found.rows} == {"bits:depth=2", "median:size=3+bits:depth=4"}
    assert found.metric == "robust_accuracy"
    assert found.added == ("transfer-mi-fgsm", "rays")
    bare = json.loads((compared / "runs" / "bare" / "result.json").read_text())
    assert "defense" not in bare
    fallen = sum(sample["broken_by"] is not None for sample in bare["samples"])
    for row in found.rows:
        audit = json.loads((Path(compared) / row.folder / "result.json").read_text())
        assert audit["defense"]["words"] == row.defense.words
        assert [attack["id"] for attack in audit["attacks"]] == ["pgd", "transfer-mi-fgsm", "rays"]
        assert row.plain.pairs == 12
        assert row.transferred[1] == fallen
        assert row.plain.new.k >= row.adaptive.new.k
        assert row.adaptive.new.k <= sum(
            sample["broken_by"] is None and sample["clean_prediction"] == sample["label"] for sample in audit["samples"]
        )
        assert row.latency is not None
        assert row.latency > 0
        assert row.complete
    gains = [row.adaptive.difference for row in found.rows]
    assert gains == sorted(gains, reverse=True)


@pytest.mark.slow
def test_it_is_told_on_stdout_and_in_files(compared: Path) -> None:
    found = DefenseComparison.model_validate_json((compared / "c.json").read_text())
    assert (compared / "c.txt").read_text() == compared_page(found).text()
    for text in ((compared / "stdout").read_text(), compared_page(found).text(160), (compared / "c.html").read_text()):
        for words in ("bits:depth=2", "false-security index", "rays"):
            assert words in text
    assert "<script" not in (compared / "c.html").read_text()


@pytest.mark.slow
def test_finished_audits_are_not_run_again(compared: Path) -> None:
    before = _finished(compared)
    done = with_package(
        compared,
        compared,
        *("defenses", "compare", "m.onnx", "--data", "d.npz", "--profile", "p.yaml", "--no-progress", *MEANING),
        *("--run-dir", "runs", *DEFENSES, "--format", "json"),
    )
    assert done.returncode == 0, done.stderr
    again, first = json.loads(done.stdout), json.loads((compared / "c.json").read_text())
    for content in (again, first):
        content.pop("command")
        for row in content["rows"]:
            row.pop("latency")
    assert again == first
    assert _finished(compared) == before


def _finished(folder: Path) -> list[str]:
    """When each audit ended."""
    return [json.loads(path.read_text())["run"]["finished"] for path in sorted(folder.glob("runs/*/result.json"))]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no defense to compare"),
        (["--defense", "bits:4", "--defense", "bits:depth=4"], "the defense bits:depth=4 is named twice"),
        (["--defense", "jpeg:900"], "parameter 'quality'"),
        (["--defense", "bits", "-o", "c.sarif"], "is written as .json, .html, .txt, not as 'c.sarif'"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(robaudit, tmp_path: Path, arguments: list[str], words: str) -> None:
    make_onnx(tmp_path / "m.onnx")
    done = robaudit("defenses", "compare", tmp_path / "m.onnx", "--no-progress", *arguments)
    assert done.code == 2
    assert words in done.err


def test_the_list_tells_what_each_is(robaudit) -> None:
    told = robaudit("defenses", "list").out
    for words in ("bits\n", "jpeg\n", "purifier\n", "parameters: quality=75, subsampling=4:2:0", "source: Xu, Evans"):
        assert words in told
    assert "parameters: file" in told

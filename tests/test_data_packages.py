"""A data source from another package: the documented one, installed and run exactly as it stands, and broken ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from plugin_kit import install, pretend, with_package
from run_kit import INPUT, make_data, make_onnx
from table_files import RANGES, write_model, write_table

GROUP = "robaudit.data"
READER = """
from robaudit.data.reader import Reader
class Other(Reader):
    name = "a jar"
    suffixes = ({suffix!r},)
    def open(self, path, wanted):
        return {opened}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    return install("adding-a-data-source", "robaudit_npy_folder", source, target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its data as an archive, and the same as a folder of arrays."""
    folder = tmp_path_factory.mktemp("data")
    make_onnx(folder / "m.onnx")
    with np.load(make_data(folder / "d.npz", 10)) as archive:
        x, y = archive["x"], archive["y"]
    (folder / "arrays").mkdir()
    for index, (sample, label) in enumerate(zip(x, y, strict=True)):
        np.save(folder / "arrays" / f"{label}-{index:02}é.npy", sample)
    (folder / "p.yaml").write_text("name: p\nattacks: [{id: fgsm}]\nchecks: [clean, evidence]\n")
    return folder


def scan(site: Path, folder: Path, data: str, *more: str) -> tuple[int, str, dict]:
    meaning = [part for name, value in INPUT.items() for part in (f"--{name}", value)]
    run = f"run-{data}"
    flags = ("--profile", "p.yaml", "--no-progress", "--fresh", "--run-dir", run, "--data", data, *meaning, *more)
    done = with_package(site, folder, "scan", "m.onnx", *flags)
    path = folder / run / "result.json"
    return done.returncode, done.stderr, json.loads(path.read_text()) if done.returncode == 0 else {}


@pytest.mark.slow
def test_the_same_samples_fall_in_either_source(site: Path, folder: Path) -> None:
    code, errors, result = scan(site, folder, "arrays")
    assert code == 0, errors
    assert (result["data"]["kind"], result["data"]["count"]) == ("npy folder", 10)
    code, errors, other = scan(site, folder, "d.npz")
    assert code == 0, errors
    assert result["worst_case"] == other["worst_case"]

    def fates(of: dict) -> list:
        return sorted((s["label"], s["clean_prediction"], s["distance"] or 0) for s in of["samples"])

    assert [fate[:2] for fate in fates(result)] == [fate[:2] for fate in fates(other)]
    assert [fate[2] for fate in fates(result)] == pytest.approx([fate[2] for fate in fates(other)], abs=1e-6)
    assert result["run"]["id"] != other["run"]["id"]


def test_without_the_package_the_folder_is_one_of_images(tmp_path: Path, folder: Path) -> None:
    code, errors, _ = scan(tmp_path, folder, "arrays")
    assert (code, "holds no images that can be read here" in errors) == (2, True)


def test_what_no_reader_takes_is_refused_with_all_that_they_take(site: Path, folder: Path) -> None:
    (folder / "d.parquet").write_bytes(b"PAR1")
    code, errors, _ = scan(site, folder, "d.parquet")
    assert code == 2
    assert (
        "is neither a table (.csv, .tsv), an image folder, an .npz archive with x and y nor a folder of .npy" in errors
    )


JSON_LINES = """
import hashlib, json
import numpy as np
from robaudit.data.reader import Reader
from robaudit.data.table import Table
from robaudit.data.tabular import TableSource

class Other(Reader):
    name = "JSON lines (.jsonl)"
    suffixes = (".jsonl",)
    columns = tabular = True

    def open(self, path, wanted):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        label = wanted.label_column or "label"
        names = tuple(name for name in rows[0] if name != label)
        values = np.array([[row[name] for name in names] for row in rows])
        labels = tuple(str(row[label]) for row in rows)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        table = Table(path, names, values, labels, tuple(range(1, len(rows) + 1)), digest)
        return TableSource(table, labelled=wanted.labelled)
"""


@pytest.mark.slow
def test_a_table_of_another_kind_is_audited_as_csv_is(tmp_path: Path) -> None:
    """With the ranges, and the labels in a column, that lie beside the model."""
    site = pretend(tmp_path / "site", GROUP, "lines = other:Other", JSON_LINES)
    model = write_model(tmp_path / "m.onnx")
    write_table(tmp_path / "m.data.csv", model, count=12)
    (tmp_path / "m.ranges.csv").write_text(RANGES)
    (tmp_path / "p.yaml").write_text("name: p\nthreat: {eps: 0.2}\nattacks: [{id: fgsm}]\nchecks: [clean]\n")
    scan = ("scan", "m.onnx", "--profile", "p.yaml", "--no-progress", "--run-dir")
    done = with_package(site, tmp_path, *scan, "csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "m.data.csv").open(newline="") as file:
        rows = [{name: _number(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    (tmp_path / "m.data.csv").unlink()
    (tmp_path / "m.data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = with_package(site, tmp_path, *scan, "lines")
    assert done.returncode == 0, done.stderr
    was, now = (json.loads((tmp_path / run / "result.json").read_text()) for run in ("csv", "lines"))
    assert now["data"]["source"] == "m.data.jsonl"
    assert now["worst_case"] == was["worst_case"]
    assert now["target"]["input"]["features"] == was["target"]["input"]["features"]
    assert [s["distance"] for s in now["samples"]] == [s["distance"] for s in was["samples"]]
    assert any(s["distance"] for s in now["samples"])


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nowhere_at_all", "'other:Other' cannot be imported: No module named"),
        ("Other = print", "the entry point 'jar' (other:Other) is not a Reader class"),
        (READER.format(suffix=".npz", opened="None"), "two readers of data take files of suffix '.npz' ("),
        (READER.format(suffix=".jar", opened="wanted.nothing"), "cannot be read by other, for a jar: AttributeError"),
    ],
)
def test_a_broken_package_is_named(code: str, words: str, tmp_path: Path, folder: Path) -> None:
    (folder / "d.jar").write_bytes(b"jar")
    status, errors, _ = scan(pretend(tmp_path, GROUP, "jar = other:Other", code), folder, "d.jar")
    assert (status, len(errors.splitlines())) == (2, 1), errors
    assert words in errors

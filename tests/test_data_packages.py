"""A data source from another package: the documented one, installed and run exactly as it stands, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from plugin_kit import install, pretend, with_package
from run_kit import INPUT, make_data, make_onnx

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

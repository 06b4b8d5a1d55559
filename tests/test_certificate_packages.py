"""A certifier from another package: the documented one, installed and run exactly as it stands, and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_files import linear_onnx, weight
from plugin_kit import blocks, install, pretend, with_package
from run_kit import INPUT, make_onnx

from robaudit.audit.stored.file import load_result

PAGE = "adding-a-certificate"
GROUP = "robaudit.certificates"
SHAPE = (1, 4, 4)
COUNT = 16


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    return install(PAGE, "robaudit_linear", source, target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear file, data around the middle of the box, and the documented profile with a few steps."""
    folder = tmp_path_factory.mktemp("audit")
    linear_onnx(folder / "m.onnx", ("N", *SHAPE), 3)
    x = np.random.default_rng(1).uniform(0.3, 0.7, (COUNT, *SHAPE)).astype(np.float32)
    y = (x.reshape(COUNT, -1) @ weight(3, 16)).argmax(1)
    np.savez(folder / "m.data.npz", x=x, y=y)
    text = blocks(PAGE)["yaml"].replace("extends: quick\n", "attacks: [{id: fgsm}]\nchecks: [clean, evidence]\n")
    (folder / "p.yaml").write_text(text)
    return folder


MEANING = [part for name, value in INPUT.items() for part in (f"--{name}", value)]


def flags(norm: str, eps: float) -> list[str]:
    return ["--profile", "p.yaml", "--norm", norm, "--eps", str(eps), "--no-progress", *MEANING]


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "eps", "order"), [("linf", 0.02, 1), ("l2", 0.08, 2), ("l1", 0.2, np.inf)])
def test_it_proves_exactly_what_is_true_of_a_linear_file(norm: str, eps: float, order: float, site, folder) -> None:
    done = with_package(site, folder, "scan", "m.onnx", *flags(norm, eps), "--run-dir", norm)
    assert done.returncode in (0, 1, 4), done.stderr
    result = load_result(folder / norm / "result.json")
    ours, theirs = {e.id: e for e in result.certified.certificates}, {}
    assert [e.status for e in ours.values()] == ["done", "done"]
    data, w = np.load(folder / "m.data.npz"), weight(3, 16).astype(np.float64)
    for sample in result.samples:
        z, y = data["x"][sample.index].astype(np.float64).ravel() @ w, sample.label
        theirs[sample.index] = min((z[y] - z[j]) / np.linalg.norm(w[:, y] - w[:, j], order) for j in range(3) if j != y)
        distance = theirs[sample.index]
        if abs(distance / eps - 1) > 0.01:
            assert [sample.proved(name) for name in ("linear", "interval")] == [distance > eps] * 2
        margins = [entry.margin for entry in sample.certified]
        assert margins[0] == pytest.approx(margins[1], abs=1e-3)
    assert 0 < ours["linear"].proved < COUNT
    assert "linear in" in done.stdout


def test_a_file_that_is_not_linear_is_left_alone(site: Path, folder: Path, tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    np.savez(tmp_path / "m.data.npz", x=np.full((4, 1, 6, 6), 0.5, np.float32), y=np.zeros(4, int))
    (tmp_path / "p.yaml").write_text((folder / "p.yaml").read_text().replace(", interval]", "]").split("gates")[0])
    done = with_package(
        site, tmp_path, "scan", "m.onnx", *flags("linf", 0.02), "--run-dir", "run", "--fail-on", "never"
    )
    (entry,) = load_result(tmp_path / "run" / "result.json").certified.certificates
    assert (entry.status, entry.reason) == ("skipped", "the file is not linear: it has tanh"), done.stderr


def test_it_is_explained_and_completed_where_certificates_are(site: Path, folder: Path) -> None:
    told = with_package(site, folder, "explain", "linear")
    assert told.returncode == 0
    assert "linear: certificate, in l1, l2, linf" in told.stdout
    assert "Hölder" in told.stdout
    assert with_package(site, folder, "profile", "validate", "p.yaml").returncode == 0


def test_without_the_package_its_name_is_unknown(tmp_path: Path, folder: Path) -> None:
    done = with_package(tmp_path, folder, "scan", "m.onnx", *flags("linf", 0.02), "--run-dir", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "unknown certificate 'linear'" in done.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nowhere_at_all", "the installed certifier 'other:Other' cannot be imported"),
        ("class Other: pass", "the entry point 'other' (other:Other) is not a Certifier class"),
        (
            "from robaudit.certificates.base import Certifier\n"
            "class Other(Certifier):\n    id = 'interval'\n    def prove(self, *_): ...\n",
            "two installed packages offer a certifier called 'interval'",
        ),
    ],
)
def test_a_broken_package_is_named(code: str, words: str, tmp_path: Path) -> None:
    site = pretend(tmp_path, GROUP, "other = other:Other", code)
    told = with_package(site, tmp_path, "explain", "interval")
    assert told.returncode == 2
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_the_example_stands_on_the_page_as_a_package() -> None:
    assert set(blocks(PAGE)) == {"toml", "python", "yaml"}

"""A report format from another package: the documented one, installed and run exactly as it stands, and broken ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from plugin_kit import blocks, install, pretend, with_package
from results import make_result, make_samples, make_stored
from run_kit import INPUT, make_data, make_onnx

from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.conclusion import conclude

PAGE = "adding-a-report-format"
GROUP = "robaudit.formats"
FORMAT = """
from robaudit.report.base import Format
FORMAT = Format("Other", ({suffix!r},), "another", lambda result, run: "other")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    return install(PAGE, "robaudit_prometheus", source, target)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a result."""
    folder = tmp_path_factory.mktemp("run")
    result = conclude(make_stored(make_result(samples=make_samples(41, 100))), [])
    save_result(result, folder / "result.json")
    return folder


def sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_a_run_is_rendered_again_in_it(site: Path, run: Path) -> None:
    done = with_package(site, run, "report", ".", "-o", "audit.PROM", "-o", "r.md")
    assert done.returncode == 0, done.stderr
    digest = load_result(run / "result.json").target.sha256
    assert (run / "audit.PROM").read_text().splitlines() == [
        f'robaudit_clean_accuracy{{sha256="{digest}"}} 0.93',
        f'robaudit_robust_accuracy_at_most{{sha256="{digest}"}} 0.41',
        f'robaudit_exit_code{{sha256="{digest}"}} 0',
    ]
    assert (run / "r.md").exists()


@pytest.mark.slow
def test_a_scan_writes_it(site: Path, tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "m.data.npz", 8)
    (tmp_path / "p.yaml").write_text("name: p\nattacks: [{id: fgsm}]\nchecks: [clean, evidence]\n")
    meaning = [part for name, value in INPUT.items() for part in (f"--{name}", value)]
    flags = ("--profile", "p.yaml", "--no-progress", "-o", "audit.prom", *meaning)
    done = with_package(site, tmp_path, "scan", "m.onnx", *flags)
    assert done.returncode == 0, done.stderr
    assert "wrote audit.prom" in done.stderr
    names = [line.split("{")[0] for line in (tmp_path / "audit.prom").read_text().splitlines()]
    assert names == ["robaudit_clean_accuracy", "robaudit_robust_accuracy_at_most", "robaudit_exit_code"]


def test_it_is_listed_wherever_suffixes_are(site: Path, run: Path) -> None:
    for command in ("scan", "report", "diff"):
        assert ".prom" in with_package(site, run, command, "--help").stdout
    sentence(with_package(site, run, "report", ".", "-o", "r.pdf"), "no report format for 'r.pdf'", ".prom", ".sarif")
    line = {"_ROBAUDIT_COMPLETE": "complete_bash", "COMP_WORDS": "robaudit scan m.onnx -o r.p", "COMP_CWORD": "4"}
    assert with_package(site, run, **line).stdout.split() == ["r.prom"]


def test_without_the_package_the_suffix_is_unknown(tmp_path: Path, run: Path) -> None:
    done = with_package(tmp_path, run, "report", ".", "-o", "audit.prom")
    sentence(done, "no report format for 'audit.prom'")
    assert ".prom," not in done.stderr


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        ("odd = other:FORMAT", "import nowhere_at_all", "'other:FORMAT' cannot be imported: No module named"),
        ("odd = other:FORMAT", "raise SystemExit('no licence')", "cannot be imported: no licence"),
        ("odd = other:FORMAT", "x = 1", "'other:FORMAT' cannot be imported: module 'other' has no attribute"),
        ("odd = other:FORMAT", "FORMAT = print", "the entry point 'odd' (other:FORMAT) is not a Format"),
        ("odd = other:FORMAT", FORMAT.format(suffix=".else"), "must be called by a suffix it has: else"),
        ("odd = other:FORMAT", FORMAT.format(suffix="ODD"), "cannot be imported: a suffix is written in lower case"),
        ("md = other:FORMAT", FORMAT.format(suffix=".md"), "two report formats have the suffix '.md'"),
    ],
)
def test_a_broken_package_is_named(entry, code, words, tmp_path: Path, run: Path) -> None:
    site = pretend(tmp_path, GROUP, entry, code)
    suffix = entry.split(" ")[0]
    sentence(with_package(site, run, "report", ".", "-o", f"x.{suffix}"), words)
    assert not (run / f"x.{suffix}").exists()


def test_a_broken_package_costs_no_other_format_and_no_help(tmp_path: Path, run: Path) -> None:
    site = pretend(tmp_path, GROUP, "md = other:FORMAT", "import nowhere_at_all")
    assert with_package(site, run, "report", ".", "-o", "x.xml").returncode == 0
    assert with_package(site, run, "report", "--help").returncode == 0


def test_two_packages_with_one_suffix_are_refused(site: Path, tmp_path: Path, run: Path) -> None:
    pretend(tmp_path, GROUP, "prom = other:FORMAT", FORMAT.format(suffix=".prom"))
    done = with_package(site, run, "report", ".", "-o", "a.prom", PYTHONPATH=f"{site}:{tmp_path}")
    sentence(done, "'.prom' (", "other:FORMAT", "robaudit_prometheus:FORMAT", "uninstall one")


def test_a_format_that_fails_names_itself_and_leaves_nothing(tmp_path: Path, run: Path) -> None:
    code = FORMAT.format(suffix=".bad").replace('"other")', "result.nothing)")
    done = with_package(pretend(tmp_path, GROUP, "bad = other:FORMAT", code), run, "report", ".", "-o", "x.bad")
    assert done.returncode == 3
    assert "the Other report cannot be made: unexpected AttributeError" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (run / "x.bad").exists()


def test_the_example_stands_on_the_page_as_a_package() -> None:
    assert set(blocks(PAGE)) == {"toml", "python"}

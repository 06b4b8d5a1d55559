"""What ships, and that the README, CI and the package agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

import robaudit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True, text=True)
    (path,) = folder.glob("*.whl")
    assert path.stat().st_size < 2_500_000
    return zipfile.ZipFile(path)


def test_wheel_ships_all_that_a_user_needs(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    source = {p for p in (ROOT / "robaudit").rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    profiles = {f"robaudit/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "profiles").glob("*.yaml")}
    assert len(profiles) >= 3
    assert {p.relative_to(ROOT).as_posix() for p in source} | profiles <= names
    assert {"robaudit/demo/fashion_clean.onnx", "robaudit/demo/fashion_test500.npz", "robaudit/py.typed"} <= names


def test_wheel_ships_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        "robaudit",
        f"robaudit-{version('robaudit')}.dist-info",
    }


def test_command_is_declared(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "robaudit = robaudit.cli.main:main" in wheel.read(name).decode()


def test_versions_agree() -> None:
    assert PROJECT["version"] == robaudit.__version__


def test_everything_that_ci_installs_is_pinned() -> None:
    def name(requirement: str) -> str:
        return re.split(r"[ <>=;\[]", requirement)[0].lower().replace("_", "-")

    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {name(line) for line in lines if line and not line.startswith("#")}
    wanted = {name(r) for r in (*PROJECT["dependencies"], *OPTIONAL["test"], *OPTIONAL["docs"])}
    assert wanted - pinned == {"onnxruntime"}  # elsewhere than on the platforms that CI tests


def test_readme_has_one_line_to_run_and_one_to_test() -> None:
    lines = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert [line.rpartition(" && ")[2].split()[0] for line in lines] == [".venv/bin/robaudit", ".venv/bin/pytest"]
    assert all("-c constraints.txt" in line for line in lines)


def test_ci_runs_the_line_of_the_readme() -> None:
    """Its shell takes the same line from README.md, and splits it where this test says."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    (extraction,) = (line for line in script.splitlines() if line.startswith("command="))
    shell = f'set -euo pipefail\n{extraction}\nprintf "%s\\n%s\\n" "${{command% && *}}" "${{command##* && }}"'
    done = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, check=True)
    setup, tests = done.stdout.splitlines()
    assert setup == "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[test]'"
    assert tests.startswith(".venv/bin/pytest")
    assert script.rstrip().endswith('eval "$tests"')  # so that pytest's closing line comes last


def test_no_test_depends_on_the_training_data() -> None:
    """The demo's data set is a package of some systems; only a test that skips without it may read it."""
    where = "/usr/share/" + "datasets"
    users = [p for p in (ROOT / "tests").rglob("*.py") if where in p.read_text("utf-8")]
    assert [p.name for p in users] == ["test_demo_assets.py"]
    assert "skipif(not FASHION_MNIST.is_dir()" in users[0].read_text("utf-8")
    package = (p.read_text("utf-8") for p in (ROOT / "robaudit").rglob("*.py"))
    assert not any(where in text for text in package)


def test_what_the_readme_says_of_security_leads_somewhere() -> None:
    readme, policy = (ROOT / "README.md").read_text("utf-8"), (ROOT / "SECURITY.md").read_text("utf-8")
    for text, place in (
        (readme, ROOT),
        (policy, ROOT),
        ((ROOT / "docs/security.md").read_text("utf-8"), ROOT / "docs"),
    ):
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        assert [link for link in links if not (place / link).exists()] == []
    assert "docs/security.md" in readme
    assert "docs/security.md" in policy
    assert "Report a vulnerability" in policy


def test_no_two_files_of_tests_have_one_name() -> None:
    """Pytest imports them by name alone: of two with one name it runs one, or none."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


IMPORTED_AS = {"pyyaml": "yaml", "pillow": "PIL", "onnxruntime-gpu": "onnxruntime", "onnxruntime": "onnxruntime"}
COMES_WITH = {"pydantic_core", "markupsafe", "google"}
"""Of pydantic, Jinja2 and ONNX, which cannot be had without them."""


def test_every_import_is_of_what_is_declared() -> None:
    """What only another package or an extra brings is missing where a user installs robaudit alone."""

    def names(requirements: list[str]) -> set[str]:
        found = {re.split(r"[\[<>=; ]", one)[0].lower() for one in requirements}
        return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in found}

    declared = names(PROJECT["dependencies"]) | set(sys.stdlib_module_names) | COMES_WITH | {"robaudit"}
    extras = {"cryptography": "sign", "aiohttp": "remote", "stamina": "remote"}
    assert all(name in names(OPTIONAL[extra]) for name, extra in extras.items())
    for path in sorted((ROOT / "robaudit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [str(node.module)]
            unknown = {module.partition(".")[0] for module in modules} - declared
            assert unknown <= extras.keys(), f"{path} imports {unknown}, which no dependency brings"


def test_without_its_extras_all_of_it_can_be_imported() -> None:
    code = (
        "import sys, pkgutil, importlib\n"
        "for name in ('cryptography', 'aiohttp', 'stamina', 'click'): sys.modules[name] = None\n"
        "import robaudit\n"
        "for found in pkgutil.walk_packages(robaudit.__path__, 'robaudit.'):\n"
        "    if found.name.rpartition('.')[2] not in ('client', 'connection'): importlib.import_module(found.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-800:]

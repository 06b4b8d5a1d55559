"""What those who carry on the work rely on: guides that name what there is, templates and metadata that are valid."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

import robaudit

ROOT = Path(__file__).parents[1]
GUIDES = ["CONTRIBUTING.md", "docs/architecture.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("adding-*.md"))]
PATH = re.compile(r"`((?:robaudit|tests|docs|profiles|benchmarks|\.ci|\.github)/[\w./-]*)`")
PLANNED = (
    "robaudit/attacks/ACCESS/",
    "robaudit/checks/few_samples.py",
    "robaudit/report/prometheus.py",
    "robaudit/data/npy_folder.py",
)
"""Names that the guides invent as examples."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HOME = "https://github.com/robaudit/robaudit"


def vendored(name: str) -> Draft7Validator:
    """A schema of SchemaStore, as check-jsonschema packs it."""
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema brings the schemas of CI services")
    folder = files("check_jsonschema") / "builtin_schemas" / "vendor"
    return Draft7Validator(json.loads((folder / f"{name}.json").read_text("utf-8")))


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def errors(name: str, content: Any) -> list[str]:
    return [error.message for error in vendored(name).iter_errors(content)]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_path_that_a_guide_names_exists(guide: str) -> None:
    named = [
        name for name in PATH.findall((ROOT / guide).read_text("utf-8")) if name not in PLANNED and "ACCESS" not in name
    ]
    assert named or guide.startswith("docs/adding-")
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_picture_of_the_architecture_names_folders_that_there_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    picture = text.split("```text")[1].split("```")[0]
    folders = set(re.findall(r"\b((?:\w+/)+)", picture))
    assert len(folders) >= 15
    assert [name for name in folders if not (ROOT / "robaudit" / name).is_dir()] == []


def test_the_order_of_folders_is_that_of_the_linter() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    order = re.findall(r"`(\w+)`", text.split("which `make imports` enforces:")[1].split("\n\n")[0])
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(c for c in contracts if c["type"] == "layers")["layers"]
    ranks = [next(i for i, layer in enumerate(layers) if re.search(rf"robaudit\.{name}\b", layer)) for name in order]
    assert len(ranks) >= 10
    assert ranks == sorted(ranks)


def test_guides_of_every_kind_are_linked_from_contributing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert [path.name for path in (ROOT / "docs").glob("adding-*.md") if f"(docs/{path.name})" not in text] == []


def test_targets_that_contributing_names_are_in_the_makefile() -> None:
    made = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    assert {"setup", "check", "docs"} <= named <= made


def test_workflows_are_valid_and_may_do_little() -> None:
    found = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert found
    for path in found:
        content = read_yaml(path)
        plain = json.loads(json.dumps({"on" if key is True else key: value for key, value in content.items()}))
        assert errors("github-workflows", plain) == []
        assert plain["permissions"] == {"contents": "read"}
        used = re.findall(r"uses: (\S+)", path.read_text("utf-8"))
        assert [name for name in used if not re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", name)] == []
    jobs = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert [step["run"] for step in jobs["checks"]["steps"] if "run" in step] == [".ci/run"]
    versions = jobs["imports"]["strategy"]["matrix"]["python"]
    classified = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert versions == classified


def test_issue_forms_are_valid() -> None:
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = [path for path in folder.glob("*.yml") if path.name != "config.yml"]
    assert {path.stem for path in forms} == {"bug", "wrong-answer", "new-attack"}
    for path in forms:
        assert errors("github-issue-forms", read_yaml(path)) == [], path.name
    assert errors("github-issue-config", read_yaml(folder / "config.yml")) == []


def test_the_citation_is_valid_and_of_this_version() -> None:
    content = json.loads(json.dumps(read_yaml(ROOT / "CITATION.cff"), default=str))
    assert errors("citation-file-format", content) == []
    assert content["version"] == robaudit.__version__
    assert content["license"] == PROJECT["license"]
    assert content["repository-code"] == HOME


def test_addresses_are_those_that_the_project_uses_elsewhere() -> None:
    assert f"ARG SOURCE={HOME}\n" in (ROOT / "Dockerfile").read_text("utf-8")
    assert f"repo: {HOME}\n" in (ROOT / "docs" / "ci.md").read_text("utf-8")
    assert PROJECT["urls"]
    assert all(url.startswith(HOME) for url in PROJECT["urls"].values())
    for url in PROJECT["urls"].values():
        if place := re.match(rf"{HOME}/(?:blob|tree)/main/(.+)", url):
            assert (ROOT / place[1]).exists(), url


def test_hooks_are_pinned_and_take_their_checks_from_one_place() -> None:
    repos = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    for repo in repos:
        if repo["repo"] == "local":
            assert all(hook["entry"].startswith(".ci/checks ") for hook in repo["hooks"])
        else:
            assert re.fullmatch(r"v\d+\.\d+\.\d+|[0-9a-f]{40}", repo["rev"])
    assert repos[-1]["repo"] == "local"

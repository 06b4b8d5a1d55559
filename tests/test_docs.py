"""The documentation: reference pages made from the code, links, and one place for what CI checks."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from reference_pages import commands, reference_pages  # noqa: E402
from report_picture import picture  # noqa: E402
from stage import dead_links, stage, written  # noqa: E402

from robaudit.attacks.registry import attack_classes, transform_classes  # noqa: E402
from robaudit.audit.config.declaring import LIMIT, Apart, hyphens  # noqa: E402
from robaudit.audit.config.metrics import FAMILIES  # noqa: E402
from robaudit.audit.config.settings import SETTINGS  # noqa: E402
from robaudit.audit.result.document import Result  # noqa: E402
from robaudit.checks.registry import check_classes  # noqa: E402
from robaudit.report.rules import RULES  # noqa: E402


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference_pages()


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    level = re.search(rf"^(#+) {re.escape(title)}$", page, re.MULTILINE)
    assert level is not None, title
    return re.split(rf"^#{{1,{len(level[1])}}} ", page[level.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Lines of tables by what stands in code in the first cell."""
    found = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            cells = re.split(r"(?<!\\) \| ", line.strip("| "))
            found.update(dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells[1:]))
    return found


def options(command: Any) -> set[str]:
    names = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
    return names - {"--help", "-h"}


def test_the_reference_has_every_command_and_option_and_no_other(pages) -> None:
    page = pages["command-line"]
    assert re.findall(r"^## robaudit (.*)$", page, re.MULTILINE) == list(commands())
    for name, command in commands().items():
        listed = rows(section(page, f"robaudit {name}"))
        assert {option for option in listed if option.startswith("-")} == options(command), name
        assert all(cells[-1].strip() for cells in listed.values()), name


def test_the_reference_has_every_key_of_the_settings(pages) -> None:
    page = pages["settings-keys"]
    listed = rows(page.split("## What names a run")[0])
    keys = [each for each in SETTINGS.values() if not each.alone]
    written = [f"{e.inside}: {{{hyphens(e.name)}: …}}" if e.inside else hyphens(e.name) for e in keys]
    assert sorted(listed) == sorted(written)
    for key, each in zip(written, keys, strict=True):
        assert page.count(f"\n| `{key}` | `ROBAUDIT_") == (each.environment is not None), key
    reasons = rows(page.split("## What names a run")[1])
    assert set(reasons) == {hyphens(each.name) for each in SETTINGS.values() if isinstance(each.identity, Apart)}
    assert listed["on-inconclusive"][:2] == ["`ROBAUDIT_ON_INCONCLUSIVE`", "`fail`"]


def test_docs_say_what_a_settings_file_may_not_do() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8").split("It cannot lift")[1].split("\n- ")[0]
    limits = {each.flags[0].split("/")[-1] for each in SETTINGS.values() if each.alone == LIMIT}
    assert set(re.findall(r"`(--[^`]*)`", text)) == limits


def test_each_transform_stands_with_its_parameters(pages: dict[str, str]) -> None:
    text = pages["transforms"]
    assert set(re.findall(r"^## (.*)$", text, re.MULTILINE)) == set(transform_classes())
    for id, cls in transform_classes().items():
        for name in inspect.signature(cls).parameters:
            assert f"| `{name}` |" in section(text, id)


def test_each_attack_stands_under_its_access_with_its_parameters(pages) -> None:
    titles = {"white-box": "White box", "transfer": "Transfer", "scores": "scores", "labels": "labels"}
    text = pages["attacks"]
    ours = {id: cls for id, cls in attack_classes().items() if cls.__module__.startswith("robaudit.")}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) == set(ours)
    for id, cls in ours.items():
        above = re.findall(r"^## (.*)$", text.split(f"\n### {id}\n")[0], re.MULTILINE)[-1]
        assert titles[cls.access] in above, id
        listed = rows(section(text, id))
        assert set(listed) == set(inspect.signature(cls).parameters), id
    assert rows(section(text, "pgd"))["steps"][0] == "`40`"


def test_the_reference_has_every_check_metric_and_rule(pages) -> None:
    assert re.findall(r"^## (.*)$", pages["checks"], re.MULTILINE) == sorted(check_classes())
    for id, cls in check_classes().items():
        if settings := set(inspect.signature(cls).parameters):
            assert set(rows(section(pages["checks"], id))) == settings, id
    assert rows(section(pages["checks"], "unbounded"))["steps"][0] == "`50`"
    assert set(rows(pages["metrics"])) == {family.pattern for family in FAMILIES}
    assert re.findall(r"^## (.*)$", pages["rules"], re.MULTILINE) == list(RULES)


def test_the_reference_has_every_key_of_the_result(pages) -> None:
    assert list(rows(section(pages["result-schema"], "Result"))) == list(Result.model_fields)


def test_exit_codes_are_those_of_the_help(pages) -> None:
    codes = re.findall(r"^\| (\d+) \| (.+?) \|$", pages["exit-codes"], re.MULTILINE)
    assert [code for code, _ in codes] == ["0", "1", "2", "3", "4", "130"]
    assert dict(codes)["3"] == "audit incomplete or invalid"


def test_no_link_leads_nowhere(pages) -> None:
    assert dead_links(made={f"docs/reference/{name}.md" for name in pages}) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path, monkeypatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("[a](b.md) [c](https://example.org) [d](#e)\n```\n[f](g.md)\n```\n")
    (tmp_path / "README.md").write_text("[a](docs/a.md#x) ![picture](docs/none.svg)\n")
    monkeypatch.setattr("stage.ROOT", tmp_path)
    assert sorted(dead_links(tmp_path)) == ["README.md: docs/none.svg", "docs/a.md: b.md"]


def test_every_page_stands_in_the_index(pages) -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = re.findall(r"^(?:[A-Z]\w* <)?([a-z][\w/-]*)>?$", index, re.MULTILINE)
    assert len(listed) == len(set(listed))
    wanted = {place.removesuffix(".md") for place in written().values()} - {"index"}
    assert set(listed) == wanted | {f"reference/{name}" for name in pages}


def test_links_are_set_to_where_pages_go(tmp_path) -> None:
    stage(tmp_path)
    security = (tmp_path / "project" / "security.md").read_text("utf-8")
    assert "(../security.md)" in security
    assert "(benchmarks/fuzz.md)" in (tmp_path / "security.md").read_text("utf-8")


def test_ci_the_makefile_and_the_workflow_take_their_checks_from_one_place() -> None:
    checks = (ROOT / ".ci" / "checks").read_text("utf-8")
    tools = ('ruff" check', "mypy", "lint-imports", "sphinx -q")
    assert all(tool in checks for tool in tools)
    for name in (".ci/run", "Makefile"):
        text = (ROOT / name).read_text("utf-8")
        assert ".ci/checks" in text
        assert not re.search(r"mypy|lint-imports|-m sphinx|ruff check \.$", text.split("\nformat:")[0], re.MULTILINE)


def test_an_unknown_check_is_refused() -> None:
    done = subprocess.run([ROOT / ".ci" / "checks", "nothing"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "there is no check called nothing\n")


def test_the_first_screen_of_the_readme_has_the_commands_and_a_picture() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    first = readme.split("\n## ")[0]
    assert len(first.splitlines()) <= 30
    assert first.count("```sh") == 2
    picture = re.search(r"!\[[^\]]+\]\(([^)]+)\)", first)
    assert picture is not None
    drawn = (ROOT / picture[1]).read_text("utf-8")
    assert "Worst" in drawn
    assert not re.search(r"/(tmp|home|root|work)/|@import|@font-face|<image|<script", drawn)


def test_the_picture_is_made_from_a_result() -> None:
    drawn = picture(ROOT / "tests" / "schemas" / "results" / "1.4.json").replace("&#160;", " ")
    assert drawn.startswith("<svg")
    assert "at most" in drawn
    assert "35.0%" in drawn
    assert "Reproduce" not in drawn
    assert "@font-face" not in drawn

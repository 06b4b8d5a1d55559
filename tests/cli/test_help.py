"""The command line's help, the README and the documentation agree, and help is quick."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from robaudit.audit.config.profile_files import list_profiles
from robaudit.audit.result.document import Result
from robaudit.cli.app import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PROFILES, REPORTS = ((ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("profiles", "reports"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?![\w-])")
OTHER_PROGRAMS = {
    *("-m", "-c", "-e", "-n"),  # python, pip and pytest in the README's commands
    *(
        "--autoattack",
        "--case",
        "--files",
        "--half",
        "--jsonl",
        "--kind",
        "--nets",
        "--seeds",
        "--threads",
    ),  # benchmarks
    *("--build-arg", "--gpus", "--rm", "--user", "-g", "-t", "-u", "-v"),  # docker and id
    *("-D", "-s"),  # zip and ssh-keygen
    "--cache",  # of the zoo
    "--priors",  # the example of adding-a-setting.md
}


def commands() -> dict[str, Any]:
    """Every command by its words, such as ``profile show``."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if not hasattr(command, "commands"):
            found[" ".join(words)] = command
            return
        for name, inner in command.commands.items():
            walk(inner, (*words, name))

    walk(get_command(app), ())
    return found


def options(command: Any) -> set[str]:
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}


def test_readme_lists_every_command_and_no_other() -> None:
    block = README.split("\n## Commands\n")[1].split("```")[1]
    listed = set()
    for line in block.strip().splitlines():
        _, name, *rest = line.split()
        listed |= {f"{name} {part}" for part in rest[0].split("|")} if rest and "|" in rest[0] else {name}
    assert listed == set(commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_docs_mention_no_option_that_does_not_exist(page: Path) -> None:
    known = set().union(*(options(command) for command in commands().values())) | options(get_command(app)) | {"--help"}
    assert set(OPTION.findall(page.read_text("utf-8"))) - known <= OTHER_PROGRAMS


def test_docs_list_every_profile() -> None:
    assert all(f"| `{name}`" in PROFILES or f", `{name}`" in PROFILES for name in list_profiles())


def test_docs_list_every_key_of_the_result() -> None:
    keys = re.search(r"`(schema_version,[^`]*)`", REPORTS)
    assert keys is not None
    assert keys[1].replace("\n", " ").split(", ") == list(Result.model_fields)


def test_docs_list_every_attack_of_ours_under_its_access() -> None:
    from robaudit.attacks.registry import attack_classes

    words = {"white-box": "white box", "transfer": "transfer", "scores": "scores", "labels": "labels"}
    table = PROFILES.split("| Access | Attacks |")[1]
    for name, cls in attack_classes().items():
        if cls.__module__.startswith("robaudit."):
            (row,) = (line for line in table.splitlines() if line.startswith("|") and f"`{name}`" in line)
            assert row.startswith(f"| {words[cls.access]}"), name


def test_every_command_has_help() -> None:
    for name, command in commands().items():
        assert command.help, name
        assert all(p.help for p in command.params if p.name != "help"), name


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['robaudit', '--help']\n"
        "from robaudit.cli.main import main\n"
        "try: main()\n"
        "finally: print('LOADED', *sorted({n.partition('.')[0] for n in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split("LOADED")[1].split())
    assert "typer" in loaded
    assert not loaded & {"torch", "onnxruntime", "onnx", "pydantic", "scipy", "numpy", "PIL"}


def test_docs_list_every_word_of_the_verdict() -> None:
    from robaudit.audit.result.sections.verdict import MEANINGS

    text = Path(__file__).parents[2].joinpath("docs", "gates.md").read_text("utf-8")
    listed = re.findall(r"^\| ([A-Z][A-Z ]+[A-Z]) \|", text, re.MULTILINE)
    assert listed == [status.upper() for status in MEANINGS]

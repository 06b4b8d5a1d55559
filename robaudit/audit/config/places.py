"""Where a run's gates, attacks and checks were asked for: the lines of ``robaudit.yaml`` and of the profile's file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from robaudit.audit.config.gatespecs import parse_gate
from robaudit.audit.config.profile_files import profile_path
from robaudit.audit.config.settings import SETTINGS
from robaudit.audit.result.sections.run import Place
from robaudit.documents import compose_yaml
from robaudit.errors import UsageError
from robaudit.files import text_of
from robaudit.target.inputs.meaning import DEFAULT_WITH

__all__ = [
    "elsewhere",
    "find_places",
    "repository_path",
    "repository_root",
    "shown_command",
    "shown_path",
    "without_machine",
]

LISTS = tuple(each.environment for each in SETTINGS.values() if each.paths)
"""Variables with several paths."""


def repository_root(folder: Path) -> Path:
    """The nearest folder at or above with a repository in it; without one the folder itself."""
    folder = Path(os.path.abspath(folder))
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)


def repository_path(path: Path, root: Path) -> str:
    """A path relative to the root, with forward slashes; of a file that lies elsewhere its name alone."""
    for base, full in (
        (root, Path(os.path.abspath(path))),
        (Path(os.path.realpath(root)), Path(os.path.realpath(path))),
    ):
        if full.is_relative_to(base):
            return text_of(full.relative_to(base).as_posix())
    return text_of(path.name)


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as a result tells it: relative to the working directory, and of a file outside of it the name alone."""
    return repository_path(Path(path), Path.cwd())


def shown_command(command: str) -> str:
    """A command line in which paths are told as :func:`shown_path` does."""
    try:
        words = shlex.split(command)
    except ValueError:
        return text_of(command)
    return shlex.join(_shown_word(word) for word in words)


def elsewhere(command: str) -> tuple[str, ...]:
    """The names that stand in :func:`shown_command` for files outside of the working directory."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ()
    paths = [value for word in words for _, value in map(_path_of, _each(word)) if value]
    return tuple(dict.fromkeys(shown_path(path) for path in paths if not _is_below(Path(path))))


def _is_below(path: Path) -> bool:
    full = Path(os.path.abspath(path))
    return full.is_relative_to(Path.cwd()) or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(Path.cwd()))


def _path_of(word: str) -> tuple[str, str]:
    """A word's part before a path that does not simply lead down, and the path; two empty ones where it has none."""
    option, sign, value = word.partition("=") if "=" in word else ("", "", word)
    parts = value.split("/")
    return (option + sign, value) if (parts[0] in ("", ".") and value[:1]) or ".." in parts else ("", "")


def _each(word: str) -> list[str]:
    """A word, or the paths of a variable that takes several."""
    name, _, value = word.partition("=")
    return value.split(os.pathsep) if name in LISTS else [word]


def _shown_word(word: str) -> str:
    parts = _each(word)
    if parts != [word]:
        return f"{word.partition('=')[0]}={os.pathsep.join(map(_shown_word, parts))}"
    option, path = _path_of(word)
    return f"{text_of(option)}{shown_path(path)}" if path else text_of(word)


def without_machine(value: Any, root: Path) -> Any:
    """A JSON value in which each absolute path is relative to the root, and of files outside of it the name alone."""
    if isinstance(value, str):
        before = f"{DEFAULT_WITH} " if value.startswith(f"{DEFAULT_WITH} ") else ""
        path = value[len(before) :]
        return before + repository_path(Path(path), root) if os.path.isabs(path) else text_of(value)
    if isinstance(value, dict):
        return {text_of(key): without_machine(item, root) for key, item in value.items()}
    return [without_machine(item, root) for item in value] if isinstance(value, list | tuple) else value


def find_places(model: Path, config: Path | None, profile: str | None, sources: Mapping[str, str]) -> dict[str, Place]:
    """Where things were asked for: ``model``, and the lines of ``gates.METRIC``, ``attacks.ID`` and ``checks.ID``.

    The configuration counts before the profile, and a profile before the one that it extends. What a flag, a variable
    or a built-in profile asked for has no line.

    Args:
        model: the file under audit.
        config: the ``robaudit.yaml`` of the run, or None.
        profile: path of the profile's file; None where it is built in.
        sources: origin of each setting.
    """
    root = repository_root(Path())
    found = {"model": Place(file=repository_path(model, root))}
    files = ([config] if config is not None else []) + (list(_chain(Path(profile))) if profile is not None else [])
    for path in files:
        name = repository_path(path, root)
        for key, line in _lines(path):
            found.setdefault(key, Place(file=name, line=line))
    if sources.get("min_robust", "").startswith(("flag", "environment")):
        found.pop("gates.robust_accuracy", None)
    return found


def _chain(path: Path) -> Iterator[Path]:
    """A profile's file, and those that it extends, but for built-in ones."""
    seen: set[str] = set()
    while os.path.realpath(path) not in seen:
        seen.add(os.path.realpath(path))
        yield path
        base = next((value.value for key, value in _pairs(_root(path)) if key == "extends"), None)
        try:
            found, built_in = profile_path(base, path.parent) if base else (path, True)
        except UsageError:
            return
        if built_in:
            return
        path = found


def _root(path: Path) -> yaml.Node | None:
    """The node of a whole file; None where it cannot be read, which loading it has told."""
    try:
        return compose_yaml(path)
    except UsageError:
        return None


def _pairs(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    for key, value in _pairs(_root(path)):
        if key in ("min-robust", "min_robust"):
            yield "gates.robust_accuracy", value.start_mark.line + 1
        elif key in ("gates", "attacks", "checks"):
            yield from _items(key, "metric" if key == "gates" else "id", value)


def _items(section: str, name: str, node: yaml.Node) -> Iterator[tuple[str, int]]:
    """Entries of a list of names or maps, or of a map by name."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if isinstance(item, yaml.ScalarNode):
                yield f"{section}.{_name(section, item.value)}", item.start_mark.line + 1
            for key, value in _pairs(item):
                if key == name and isinstance(value, yaml.ScalarNode):
                    yield f"{section}.{value.value}", value.start_mark.line + 1
    elif isinstance(node, yaml.MappingNode):
        for key_node, _ in node.value:
            yield f"{section}.{key_node.value}", key_node.start_mark.line + 1


def _name(section: str, text: str) -> str:
    """What an entry on one line is of: ``robust_accuracy`` of ``robust_accuracy>=0.6``."""
    if section != "gates":
        return text
    try:
        return str(parse_gate(text)["metric"])
    except UsageError:
        return text

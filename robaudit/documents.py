"""Reads YAML and JSON that people and other tools write, and that may be hostile: what they hold costs no more than
their size, and every fault is one sentence.

YAML is read as version 1.2's core schema, so that a date is a text and ``010`` is ten, but for ``yes``, ``no``, ``on``
and ``off``, which stay switches. Aliases, merge keys and tags are refused: a few lines of them can stand for more than
any memory holds, or for objects.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from robaudit.errors import UsageError
from robaudit.files import MIB, read_regular

__all__ = ["Document", "compose_yaml", "parse_json", "read_yaml"]

MOST = MIB // 8
"""Bytes of a YAML file that people write."""
DEEPEST = 32
"""Levels of lists and maps within each other."""
DIGITS = 100
"""Of a whole number."""
NUMBERS = "-+.0123456789"
STR, INT, FLOAT, BOOL, NULL = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
WHOLE = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Document:
    """A YAML file.

    Args:
        path: of the file.
        content: what it holds; keys of maps are texts as they are written.
        lines: in which each value begins, by the keys and places that lead to it.
    """

    path: Path
    content: Any
    lines: Mapping[tuple[str | int, ...], int] = field(default_factory=dict)

    def where(self, location: Sequence[str | int] = ()) -> str:
        """How a message names a place: the file, and the line where one is known."""
        keys = tuple(location)
        for end in range(len(keys), 0, -1):
            for name in (keys[:end], tuple(_other_form(key) for key in keys[:end])):
                if name in self.lines:
                    return f"line {self.lines[name]} of {self.path}"
        return str(self.path)


def _other_form(key: str | int) -> str | int:
    return key if isinstance(key, int) else key.replace("_", "-") if "_" in key else key.replace("-", "_")


class _Loader(yaml.SafeLoader):
    """Composes nodes without aliases and tags, to a depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            _fail(event, f"the alias *{event.anchor} is not read here; write the value again")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", STR):
            _fail(event, f"the tag {tag.replace('tag:yaml.org,2002:', '!!')} is not read here; write the value alone")
        self.depth += 1
        if self.depth > DEEPEST:
            _fail(event, f"lists and maps lie within each other more than {DEEPEST} deep")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _resolvers() -> dict[str | None, list[tuple[str, re.Pattern[str]]]]:
    """What plain text stands for, by its first letter; dates, merge keys and numbers in base 60 are texts."""
    kept = {
        letter: [pair for pair in pairs if pair[0] in (BOOL, NULL)]
        for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for letter in NUMBERS:
        for tag, pattern in ((INT, WHOLE), (FLOAT, REAL), (FLOAT, ENDLESS)):
            kept.setdefault(letter, []).append((tag, re.compile(rf"(?:{pattern.pattern})\Z")))
    return kept


_Loader.yaml_implicit_resolvers = _resolvers()


def _fail(at: Any, problem: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def compose_yaml(path: Path, most: int = MOST, raw: bytes | None = None) -> yaml.Node | None:
    """The node of a whole YAML file; None of an empty one. ``raw``: its bytes, where they were read already.

    Raises:
        UsageError: it cannot be read, is too large or too deep, is no YAML, or has aliases, tags or several documents.
    """
    try:
        raw = read_regular(path, most) if raw is None else raw
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path} is not valid YAML: line {line} is not UTF-8 text") from error
    loader = None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark is not None else ""
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise UsageError(f"{path} is not valid YAML: {place}{reason}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{path} is not valid YAML: line {line}: a character that no text holds") from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:  # such as an escape of no character
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())[:200]}") from error
    finally:
        if loader is not None:
            loader.dispose()


def read_yaml(path: Path, most: int = MOST, raw: bytes | None = None) -> Document:
    """What a YAML file holds; an empty file is an empty map.

    Args:
        path: of the file.
        most: bytes that it may have.
        raw: its bytes, where they were read already.

    Raises:
        UsageError: as :func:`compose_yaml`; a key is given twice, or a number cannot be used.
    """
    node = compose_yaml(path, most, raw)
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        content = {} if node is None else _value(node, (), lines)
    except yaml.MarkedYAMLError as error:
        line = 0 if error.problem_mark is None else error.problem_mark.line + 1
        raise UsageError(f"{path} is not valid YAML: line {line}: {error.problem}") from error
    return Document(path, {} if content is None else content, lines)


def _value(node: yaml.Node, location: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    lines[location] = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*location, place), lines) for place, item in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _fail(key_node, "a key is a name, no list or map")
        key = _text(key_node)
        if key == "<<" and key_node.style is None:
            _fail(key_node, "the merge key << is not read here; write the keys themselves")
        if key in found:
            _fail(key_node, f"the key {key!r} is given twice")
        found[key] = _value(value_node, (*location, key), lines)
        lines[(*location, key)] = key_node.start_mark.line + 1
    return found


def _text(node: yaml.ScalarNode) -> str:
    text: str = node.value
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        _fail(node, "a text holds a character that no text can have")
    return text


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text = _text(node)
    if node.tag == NULL:
        return None
    if node.tag == BOOL:
        return bool(yaml.SafeLoader.bool_values[text.lower()])
    if node.tag == INT:
        if len(text) > DIGITS:
            _fail(node, f"a number of {len(text)} digits is too long")
        return int(text, 0) if text[1:2] in ("o", "x") else int(text)
    if node.tag == FLOAT:
        number = math.inf if ENDLESS.fullmatch(text) else float(text)
        if not math.isfinite(number):
            _fail(node, f"{text[:20]} is no finite number")
        return number
    return text


def parse_json(text: str | bytes) -> Any:
    """A JSON value.

    Raises:
        ValueError: it is no JSON, is nested too deeply, holds a number that is too long, or is not UTF-8.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

"""Reading YAML that people write, and refusing it in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["read_yaml", "refuse"]


class _UniqueKeys(yaml.SafeLoader):
    """Safe loader that refuses a key given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: the key {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The map that a YAML file holds; an empty file is an empty map.

    Raises:
        UsageError: it cannot be read, is not YAML, or is not a map.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is not valid YAML: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{path} must hold a map of settings")
    return content


def refuse(error: ValidationError, where: str, model: type[BaseModel]) -> UsageError:
    """One sentence for the first fault of a validation: the file, the key's path, and a suggestion."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    path = ".".join(location)
    if first["type"] == "extra_forbidden":
        options = _options(model, first["loc"][:-1])
        return UsageError(f"{where}: unknown key {path!r}{did_you_mean(location[-1], options)}")
    cause = first.get("ctx", {}).get("error")
    message = str(cause) if isinstance(cause, Exception) else first["msg"]
    if first["type"] == "literal_error":
        message += did_you_mean(str(first["input"]), _quoted(first["ctx"]["expected"]))
    return UsageError(f"{where}: {path + ': ' if path else ''}{message}")


def _quoted(expected: str) -> list[str]:
    return expected.split("'")[1::2]


def _options(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    """Keys that the model takes at a location."""
    schema: Any = model.model_json_schema(by_alias=True)
    node = schema
    for part in location:
        node = _resolve(schema, node)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return list(_resolve(schema, node).get("properties", {}))


def _resolve(schema: Mapping[str, Any], node: Any) -> Any:
    """A node without its reference; of several choices the map's."""
    for choice in node.get("anyOf", []):
        if "$ref" in choice or "properties" in choice:
            node = choice
    if "$ref" in node:
        return _resolve(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    return node

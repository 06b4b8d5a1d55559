"""Reading YAML that people write, and refusing it in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler

from robaudit.documents import Document, read_yaml
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["no_switch", "read_settings", "refuse"]


def read_settings(path: Path, raw: bytes | None = None) -> Document:
    """A YAML file of settings, such as a profile: a map; ``raw``: its bytes, where they were read already.

    Raises:
        UsageError: as :func:`read_yaml`; it is no map.
    """
    document = read_yaml(path, raw=raw)
    if not isinstance(document.content, dict):
        raise UsageError(f"{path} must hold a map of settings")
    return document


def no_switch(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A validator around that of a field: ``yes`` and ``true`` are no number, which pydantic would take them for.

    Raises:
        ValueError: one is given for a number.
    """
    found = check(value)
    if isinstance(value, bool) and isinstance(found, int | float) and not isinstance(found, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return found


def refuse(error: ValidationError, where: str | Document, model: type[BaseModel]) -> UsageError:
    """One sentence for the first fault of a validation: the file and line, the key's path, and a suggestion."""
    first = error.errors()[0]
    if isinstance(where, Document):
        where = where.where(first["loc"])
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

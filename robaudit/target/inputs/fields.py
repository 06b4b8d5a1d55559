"""What is said of an input, from text or JSON to values of the proper types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robaudit.errors import UsageError

__all__ = ["checked", "shortened"]

LARGEST = 2**14
"""Height or width of an image, of which no model takes a larger one."""


def shortened(value: Any) -> str:
    """A value in a message; one that is long loses its end."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "of thousands of digits"
    except RecursionError:
        return "that is nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, int | float):
        value = [value]
    return tuple(_number(v) for v in value)


def _number(value: Any) -> float:
    if isinstance(value, bool):  # which Python takes for 0 and 1
        raise ValueError
    return float(value)


def _share(value: Any) -> float:
    share = _number(value)
    if not 0 < share <= 1:
        raise ValueError
    return share


def _size(value: Any) -> tuple[int, int] | None:
    if isinstance(value, str):
        if value == "none":
            return None
        value = [int(part) for part in value.lower().split("x")]
    if isinstance(value, Mapping):
        value = [value[k] for k in ("height", "width")] if "height" in value else value.get("shortest_edge")
    if value is None:
        return None
    if isinstance(value, int):
        value = [value]
    sizes = [int(_number(v)) for v in value]
    if len(sizes) not in (1, 2) or min(sizes) < 1 or max(sizes) > LARGEST:
        raise ValueError
    return (sizes[0], sizes[-1])


def checked(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Values in their proper types; those that are None left out.

    Raises:
        UsageError: one cannot be understood, named with ``where`` it was said.
    """
    read: dict[str, Any] = {
        "mean": _numbers,
        "std": _numbers,
        "domain": _numbers,
        "scale": _number,
        "crop": _share,
        "resize": _size,
    }
    found: dict[str, Any] = {}
    for name, value in values.items():
        try:
            found[name] = read.get(name, lambda v: v)(value)
        except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
            raise UsageError(f"{name} {shortened(value)} in {where} cannot be understood") from error
    if "domain" in found and len(found["domain"]) != 2:
        raise UsageError(f"the domain in {where} needs two numbers, LOW,HIGH")
    for name, options in (("layout", ("nchw", "nhwc")), ("channels", ("rgb", "bgr"))):
        if name in found and str(found[name]).lower() not in options:
            raise UsageError(f"{name} {found[name]!r} in {where} is not {' or '.join(options)}")
        if name in found:
            found[name] = str(found[name]).lower()
    return {name: value for name, value in found.items() if value is not None}

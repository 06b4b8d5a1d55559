"""Certifiers by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools
from typing import Any

import robaudit.certificates
from robaudit.certificates.base import Certifier
from robaudit.extensions import classes_by_id, made, named

__all__ = ["ENTRY_POINT", "certifier_classes", "make_certifier"]

ENTRY_POINT = "robaudit.certificates"


@functools.cache
def certifier_classes() -> dict[str, type[Certifier]]:
    """Every certifier class by id, ours first.

    Raises:
        UsageError: an installed package's certifier cannot be imported, is not one, or takes a used id.
    """
    return classes_by_id(Certifier, "certifier", robaudit.certificates, ENTRY_POINT)


def make_certifier(id: str, parameters: dict[str, Any]) -> Certifier:
    """A certifier with its parameters checked.

    Raises:
        UsageError: unknown certifier or parameter, or a value out of range.
    """
    cls = named(id, certifier_classes(), "certificate")
    certifier: Certifier = made(f"the certificate {id!r}", cls, parameters)
    return certifier

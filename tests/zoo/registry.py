"""All nets of the zoo."""

from __future__ import annotations

from . import (
    adversarial,
    bayesian,
    capped,
    contractive,
    denoising,
    distillation,
    ensemble_at,
    generative,
    kwta,
    neighbours,
    pairing,
    random_nets,
    sparse,
    synthesis,
    thermometer,
    undefended,
)
from .entry import Entry

__all__ = ["NETS", "find"]

FAMILIES = (
    undefended,
    kwta,
    thermometer,
    distillation,
    capped,
    random_nets,
    adversarial,
    neighbours,
    bayesian,
    ensemble_at,
    pairing,
    generative,
    denoising,
    contractive,
    sparse,
    synthesis,
)
NETS: dict[str, Entry] = {entry.name: entry for family in FAMILIES for entry in family.NETS}


def find(names: list[str] | None) -> list[Entry]:
    """Entries of these names; all where none are given."""
    unknown = [name for name in names or [] if name not in NETS]
    if unknown:
        raise SystemExit(f"the zoo has no {', '.join(unknown)}; it has {', '.join(NETS)}")
    return [NETS[name] for name in names or NETS]

"""The radii of the audits, measured once on the nets of seed 0 by calibrate.py."""

from __future__ import annotations

from .entry import Threat

__all__ = ["NORMS", "SPARSE", "THREATS"]

NORMS = ("linf", "l2", "l1", "l0")
"""Every net is audited in the first two, the SPARSE ones in all."""
SPARSE = (
    *("dense-digits-linf", "conv-fashion-plain", "conv-mnist-linf", "conv-fashion-l1"),
    *("dense-digits-l2", "conv-mnist-plain", "conv-fashion-linf", "conv-mnist-l1"),
)
RADII: dict[str, tuple[str, ...]] = {
    "dense-digits-linf": ("0.14", "0.61", "1.5", "2"),
    "dense-breast-cancer-linf": ("0.18", "0.46"),
}
THREATS: dict[str, tuple[Threat, ...]] = {
    name: tuple(Threat(norm, eps) for norm, eps in zip(NORMS, radii, strict=False)) for name, radii in RADII.items()
}

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
    "dense-mnist-plain": ("0.077", "1.1"),  # 46%, 54%
    "dense-fashion-l2": ("0.1", "1.4"),  # 50%, 60%
    "dense-digits-linf": ("0.13", "0.61", "1.2", "2"),  # 60%, 52%, 58%, 36%
    "dense-wine-plain": ("0.1", "0.35"),  # 62%, 50%
    "dense-breast-cancer-linf": ("0.18", "0.46"),  # 50%, 48%
    "deep-mnist-plain": ("0.06", "0.8"),  # 38%, 60%
    "deep-mnist-linf": ("0.1", "1.4"),  # 54%, 48%
    "deep-fashion-plain": ("0.035", "0.46"),  # 38%, 52%
    "deep-fashion-linf": ("0.06", "1.4"),  # 62%, 44%
    "conv-fashion-plain": ("0.06", "0.8", "6", "6"),  # 42%, 56%, 56%, 64%
    "conv-mnist-linf": ("0.21", "2.1", "10", "18"),  # 42%, 54%, 60%, 40%
    "conv-fashion-l2": ("0.1", "2.4"),  # 60%, 36%
    "conv-fashion-l1": ("0.1", "1.4", "18", "18"),  # 44%, 54%, 46%, 54%
    "conv-fashion-kwta": ("0.06", "0.8"),  # 44%, 52%
    "conv-mnist-distilled": ("0.1", "1.4"),  # 50%, 60%
    "conv-mnist-capped": ("0.035", "0.8"),  # 64%, 50%
    "conv-fashion-linf-large": ("0.18", "2.4"),  # 50%, 40%
    "conv-mnist-3-8-linf": ("0.27", "2.4"),  # 50%, 50%
    "residual-colour-plain": ("0.0067", "0.27"),  # 58%, 54%
    "residual-fashion-plain": ("0.06", "0.8"),  # 42%, 44%
    "residual-pairs-l2": ("0.035", "0.46"),  # 56%, 64%
    "vit-fashion-linf": ("0.1", "1.4"),  # 54%, 46%
    "vit-mnist-plain": ("0.012", "0.21"),  # 60%, 56%
    "int8-conv-mnist-linf": ("0.21", "2.4"),  # 40%, 40%
    "int8-residual-colour-plain": ("0.0067", "0.27"),  # 44%, 44%
    "dense-fashion-plain": ("0.06", "0.8"),  # 48%, 58%
    "dense-digits-l2": ("0.13", "0.61", "2", "2"),  # 58%, 60%, 52%, 58%
    "dense-mnist-linf": ("0.18", "1.8"),  # 38%, 48%
    "dense-breast-cancer-plain": ("0.06", "0.27"),  # 38%, 38%
    "dense-wine-linf": ("0.13", "0.27"),  # 46%, 62%
    "conv-mnist-plain": ("0.1", "1.4", "10", "13"),  # 52%, 60%, 58%, 42%
    "conv-fashion-linf": ("0.13", "1.8", "10", "10"),  # 64%, 48%, 40%, 56%
    "conv-mnist-l2": ("0.15", "2.1"),  # 48%, 42%
    "conv-mnist-l1": ("0.13", "1.8", "13", "18"),  # 42%, 52%, 50%, 40%
    "conv-mnist-kwta": ("0.1", "1.1"),  # 42%, 44%
    "conv-fashion-distilled": ("0.06", "0.8"),  # 42%, 54%
    "conv-fashion-capped": ("0.035", "0.46"),  # 40%, 54%
    "conv-mnist-linf-large": ("0.24", "2.1"),  # 40%, 52%
    "conv-mnist-3-8-plain": ("0.18", "2.4"),  # 36%, 42%
    "residual-colour-linf": ("0.02", "0.8"),  # 62%, 60%
    "residual-mnist-l2": ("0.1", "1.4"),  # 60%, 58%
    "residual-pairs-plain": ("0.012", "0.16"),  # 50%, 54%
    "vit-mnist-linf": ("0.18", "1.4"),  # 38%, 48%
    "vit-fashion-plain": ("0.02", "0.27"),  # 56%, 52%
    "int8-conv-fashion-linf": ("0.13", "1.8"),  # 64%, 48%
    "int8-dense-fashion-plain": ("0.06", "0.8"),  # 48%, 58%
}
"""Behind each: what the profile `quick` without its queries left of 50 right samples."""
THREATS: dict[str, tuple[Threat, ...]] = {
    name: tuple(Threat(norm, eps) for norm, eps in zip(NORMS, radii, strict=False)) for name, radii in RADII.items()
}

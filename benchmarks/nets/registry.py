"""All nets: each kind stands in both halves, and no int8 net in another half than the one it is made of."""

from __future__ import annotations

from dataclasses import replace

from .entry import Half, Net
from .threats import THREATS

__all__ = ["NETS", "find"]

FEW = {"epochs": 60, "rate": 5e-3}
"""Tables are small."""
CHOOSE = (
    Net("dense", "mnist", "plain", "choose"),
    Net("dense", "fashion", "l2", "choose", 0.8),
    Net("dense", "digits", "linf", "choose", 0.1, epochs=30),
    Net("dense", "wine", "plain", "choose", **FEW),
    Net("dense", "breast-cancer", "linf", "choose", 0.1, **FEW),
    Net("deep", "mnist", "plain", "choose", epochs=20, rate=1e-3),
    Net("deep", "mnist", "linf", "choose", 0.03, epochs=20, rate=1e-3),
    Net("conv", "fashion", "plain", "choose"),
    Net("conv", "mnist", "linf", "choose", 0.2),
    Net("conv", "fashion", "l2", "choose", 1.0),
    Net("conv", "fashion", "l1", "choose", 8.0),
    Net("conv", "fashion", "kwta", "choose", epochs=8),
    Net("conv", "mnist", "distilled", "choose"),
    Net("conv", "mnist", "capped", "choose", epochs=8, rate=1e-3),
    Net("conv", "fashion", "linf-large", "choose", 0.25),
    Net("conv", "mnist-3-8", "linf", "choose", 0.2, epochs=10),
    Net("residual", "colour", "plain", "choose", epochs=10),
    Net("residual", "fashion", "plain", "choose"),
    Net("residual", "pairs", "l2", "choose", 0.2, epochs=8, rate=5e-3),
    Net("vit", "fashion", "linf", "choose", 0.05, epochs=8),
    Net("vit", "mnist", "plain", "choose", epochs=8),
    Net("int8", "mnist", "linf", "choose", base="conv-mnist-linf"),
    Net("int8", "colour", "plain", "choose", base="residual-colour-plain"),
)
REPORT = (
    Net("dense", "fashion", "plain", "report"),
    Net("dense", "digits", "l2", "report", 0.6, epochs=30),
    Net("dense", "mnist", "linf", "report", 0.1, epochs=8),
    Net("dense", "breast-cancer", "plain", "report", **FEW),
    Net("dense", "wine", "linf", "report", 0.1, **FEW),
    Net("deep", "fashion", "plain", "report", epochs=20, rate=1e-3),
    Net("deep", "fashion", "linf", "report", 0.02, epochs=20, rate=1e-3),
    Net("conv", "mnist", "plain", "report"),
    Net("conv", "fashion", "linf", "report", 0.1),
    Net("conv", "mnist", "l2", "report", 1.5),
    Net("conv", "mnist", "l1", "report", 10.0),
    Net("conv", "mnist", "kwta", "report", epochs=8),
    Net("conv", "fashion", "distilled", "report"),
    Net("conv", "fashion", "capped", "report", epochs=8, rate=1e-3),
    Net("conv", "mnist", "linf-large", "report", 0.35, epochs=8),
    Net("conv", "mnist-3-8", "plain", "report"),
    Net("residual", "colour", "linf", "report", 0.02, epochs=7),
    Net("residual", "mnist", "l2", "report", 1.5, epochs=5),
    Net("residual", "pairs", "plain", "report", epochs=12, rate=5e-3),
    Net("vit", "mnist", "linf", "report", 0.1, epochs=8),
    Net("vit", "fashion", "plain", "report", epochs=8),
    Net("int8", "fashion", "linf", "report", base="conv-fashion-linf"),
    Net("int8", "fashion", "plain", "report", base="dense-fashion-plain"),
)
NETS: dict[str, Net] = {net.name: replace(net, threats=THREATS.get(net.name, ())) for net in (*CHOOSE, *REPORT)}


def find(names: list[str] | None, half: Half | None = None) -> list[Net]:
    """Nets of these names; all of the half, or of both, where none are given."""
    unknown = [name for name in names or [] if name not in NETS]
    if unknown:
        raise SystemExit(f"there is no net {', '.join(unknown)}; there are {', '.join(NETS)}")
    return [NETS[name] for name in names or NETS if half in (None, NETS[name].half)]

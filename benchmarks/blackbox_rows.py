"""What blackbox.py compares: which of our attacks beside which public code, on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import blackbox_graphs as graphs
import blackbox_peers as peers
from blackbox_meter import Peer

from robaudit.threat.norms import Norm

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True)
class Row:
    """One of our attacks beside public implementations of it.

    Args:
        attack: ours.
        data: model and samples, see ``blackbox_data``.
        norm: of the threat model.
        eps: radius; None: the smallest distance is sought.
        budget: queries a sample.
        count: images, of which the right ones are attacked.
        others: implementations by name.
        parameters: of ours.
        marks: numbers of queries at which the distance is noted.
    """

    attack: str
    data: str
    norm: Norm
    eps: float | None
    budget: int
    count: int
    others: Mapping[str, Peer]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[int, ...] = ()


LINF, L2, L0 = Norm.LINF, Norm.L2, Norm.L0
_FOOLBOX = {"steps": 10_000, "max_gradient_eval_steps": 10_000}
_HSJ_LINF = {
    "Foolbox HopSkipJump": peers.foolbox("HopSkipJumpAttack", constraint="linf", **_FOOLBOX),
    "ART HopSkipJump": peers.art("HopSkipJump", norm="inf", max_iter=10_000),
}
_HSJ = {
    "Foolbox HopSkipJump": peers.foolbox("HopSkipJumpAttack", **_FOOLBOX),
    "ART HopSkipJump": peers.art("HopSkipJump", max_iter=10_000),
}
_BOUNDARY = {
    "Foolbox Boundary": peers.foolbox("BoundaryAttack"),
    "ART Boundary": peers.art("BoundaryAttack", targeted=False, max_iter=10_000),
}
_SIGN_OPT = {
    "authors": peers.sign_opt,
    "ART SignOPT": peers.art("SignOPTAttack", targeted=False, max_iter=10_000),
}
_ART_SQUARE = peers.art("SquareAttack", eps=True, max_iter=10_000, p_init=0.8)
_ZOO = {"use_resize": False, "use_importance": False, "max_iter": 10_000, "nb_parallel": 128}
_WALK = {"norm": L2, "eps": None, "budget": 2000, "count": 30, "marks": (1000,)}


def _photos() -> list[Row]:
    """EfficientNet-Lite0, L∞ 0.05, and L2 distances."""
    linf: dict[str, Any] = {"data": "photos", "norm": LINF, "eps": 0.05, "count": 20}
    far: dict[str, Any] = {"data": "photos", "norm": L2, "eps": None, "budget": 1000, "count": 6}
    return [
        Row("square", budget=10_000, others={"authors, p 0.05": peers.square(0.05)}, **linf),
        Row("square", budget=10_000, others={}, parameters={"p_init": 0.05}, **linf),
        Row("rays", budget=2000, others={"authors": peers.rays}, **linf),
        Row("hopskipjump", budget=5000, others=_HSJ_LINF, **linf),
        Row("hopskipjump", others={"Foolbox HopSkipJump": _HSJ["Foolbox HopSkipJump"]}, **far),
        Row("surfree", others={"authors": peers.surfree}, **far),
        Row("cgba", others={"authors": peers.cgba}, **far),
        Row("geoda", others={}, **far),
        Row("sign-opt", others={}, **far),
    ]


def _scores() -> list[Row]:
    """Attacks with scores."""
    digits: dict[str, Any] = {"data": "lenet-clean", "norm": LINF, "eps": 0.2, "budget": 2000, "count": 50}
    robust: dict[str, Any] = {"data": "resnet", "norm": LINF, "eps": 8 / 255, "budget": 2000, "count": 40}
    round_: dict[str, Any] = {"data": "resnet", "norm": L2, "eps": 2.0, "budget": 2000, "count": 40}
    sparse: dict[str, Any] = {"data": "lenet-clean", "norm": L0, "eps": 20, "budget": 1000, "count": 50}
    return [
        Row("square", others={"authors, p 0.8": peers.square(0.8), "ART SquareAttack": _ART_SQUARE}, **digits),
        Row("square", others={"authors, p 0.3": peers.square(0.3)}, parameters={"p_init": 0.3}, **digits),
        Row("square", others={"authors, p 0.3": peers.square(0.3)}, parameters={"p_init": 0.3}, **robust),
        Row("square", others={"authors, p 0.1": peers.square(0.1)}, parameters={"p_init": 0.1}, **round_),
        Row("signhunter", others={"authors": peers.signhunter}, **digits),
        Row("signhunter", others={"authors": peers.signhunter}, **robust),
        Row("nes", others={"MadryLab": peers.nes}, **robust),
        Row("nes", others={"MadryLab": peers.nes}, **round_),
        Row("bandits", others={"authors": peers.bandits}, **robust),
        Row("bandits", others={"authors": peers.bandits}, **round_),
        Row("simba", others={"authors, DCT": peers.simba_dct}, **round_),
        Row("simba", others={"authors, pixels": peers.simba}, parameters={"basis": "pixel"}, **round_),
        Row("sparse-rs", others={"authors": peers.sparse_rs}, **sparse),
        *_descents(),
    ]


def _descents() -> list[Row]:
    """Those that estimate slopes or distributions from many queries a step, and evolution."""
    digits: dict[str, Any] = {"data": "lenet-clean", "norm": L2, "eps": 2.0, "count": 12}
    colour: dict[str, Any] = {"data": "resnet", "norm": L2, "eps": 2.0, "count": 12}
    zoo = {"ART ZooAttack": peers.art("ZooAttack", **_ZOO), "AutoZOOM's authors": graphs.zoo(tanh=False)}
    pixels = {"ART PixelAttack": peers.art("PixelAttack", th=5, es=1, max_iter=10_000)}
    groups = {"authors": graphs.fd_grouping(8, 0.01, 0.125)}
    return [
        Row("fd-grouping", "lenet-clean", LINF, 0.2, 4000, 12, groups),
        Row("one-pixel", "resnet", L0, 15, 2000, 12, pixels),
        Row("nattack", "resnet", LINF, 8 / 255, 4000, 20, {"authors": graphs.nattack}),
        Row("autozoom", budget=2000, others={"authors": graphs.autozoom(14, tanh=False)}, **digits),
        Row("autozoom", budget=2000, others={"authors": graphs.autozoom(16, tanh=True)}, **colour),
        Row("zoo", budget=20_000, others=zoo, **digits),
    ]


def _labels() -> list[Row]:
    """Attacks with labels."""
    digits: dict[str, Any] = {"data": "lenet-clean", "norm": LINF, "eps": 0.2, "budget": 2000, "count": 50}
    fashion: dict[str, Any] = {"data": "fashion-clean", "norm": LINF, "eps": 0.05, "budget": 2000, "count": 50}
    robust: dict[str, Any] = {"data": "resnet", "norm": LINF, "eps": 8 / 255, "budget": 2000, "count": 40}
    walk: dict[str, Any] = {"data": "lenet-clean", **_WALK}
    colour: dict[str, Any] = {"data": "resnet", **_WALK}
    return [
        Row("rays", others={"authors": peers.rays}, **digits),
        Row("rays", others={"authors": peers.rays}, parameters={"stripes": False}, **digits),
        Row("rays", others={"authors": peers.rays}, **fashion),
        Row("rays", others={"authors": peers.rays}, **robust),
        Row("hopskipjump", others=_HSJ_LINF, **digits),
        Row("hopskipjump", others=_HSJ, **walk),
        Row("hopskipjump", others={"Foolbox HopSkipJump": _HSJ["Foolbox HopSkipJump"]}, **colour),
        Row("boundary", others=_BOUNDARY, **walk),
        Row("boundary", others=_BOUNDARY, **colour),
        Row("surfree", others={"authors": peers.surfree}, **walk),
        Row("surfree", others={"authors": peers.surfree}, **colour),
        Row("geoda", others={"ART GeoDA": peers.art("GeoDA", max_iter=2000)}, **walk),
        Row("geoda", others={"ART GeoDA": peers.art("GeoDA", max_iter=2000)}, **colour),
        Row("cgba", others={"authors": peers.cgba}, **colour),
        Row("sign-opt", others=_SIGN_OPT, **walk),
        Row("sign-opt", others=_SIGN_OPT, **colour),
    ]


ROWS = {"photos": _photos(), "scores": _scores(), "labels": _labels()}

"""Parameters that make each attack quick on the suites' small models, and what may be expected of it there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from robaudit.attacks.registry import attack_classes
from robaudit.threat.norms import Norm


@dataclass(frozen=True)
class Case:
    """What the general tests of an attack need to know.

    Args:
        parameters: for small models.
        optimum: how many times the closed-form distance of a two-class linear model it is promised to break at,
            or None: it promises none.
        optimum_parameters: other parameters for that.
        two_classes: whether it runs on two classes.
        counted: whether every forward is billed to a unit that counts (units of several targets are released).
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    optimum: float | None = 1.05
    optimum_parameters: dict[str, Any] = field(default_factory=dict)
    two_classes: bool = True
    counted: bool = True


LADDER = [
    {"loss": "margin", "steps": 6},
    {"loss": "ce", "steps": 8},
    {"loss": "targeted", "steps": 6, "within": 0.6},
]

CASES: dict[str, Case] = {
    "apgd-ce": Case({"steps": 20}),
    "apgd-dlr": Case({"steps": 20}, two_classes=False),
    "apgd-t": Case({"steps": 20, "targets": 3}, two_classes=False, counted=False),
    "autozoom": Case({"queries": 400, "side": 6, "switch": 60, "vectors": 4, "rate": 0.01}, optimum=None),
    "bandits": Case({"queries": 300}, optimum=None),
    "bases": Case({"queries": 20, "steps": 4, "copies": 2}, optimum=None),
    "bim": Case(),
    "boundary": Case({"queries": 150}, optimum=None, optimum_parameters={"queries": 150}),
    "cgba": Case({"queries": 200}, optimum=2.0, optimum_parameters={"queries": 600, "frequencies": 1.0}),
    "curls-whey": Case({"queries": 60, "copies": 2}, optimum=1.3, optimum_parameters={"queries": 400, "copies": 2}),
    "cw-l0": Case({"steps": 20, "rounds": 6, "learning_rate": 0.1}, optimum=None, optimum_parameters={"rounds": 2}),
    "cw-l2": Case(
        {"steps": 20, "searches": 3, "first_c": 0.1, "learning_rate": 0.05},
        optimum_parameters={"steps": 100, "searches": 6, "first_c": 3e-3, "learning_rate": 0.01},
    ),
    "cw-linf": Case({"steps": 20, "rounds": 5, "learning_rate": 0.1}, optimum=None, optimum_parameters={"rounds": 2}),
    "daa": Case({"steps": 20, "step_size": 0.125}),
    "ddn": Case({"steps": 30}, optimum_parameters={"steps": 100}),
    "deepfool": Case(),
    "ead": Case({"steps": 20, "searches": 3, "first_c": 0.1, "learning_rate": 0.1}, optimum=None),
    # of a linear model in L1 one feature is the optimum
    "ensemble": Case({"ladder": LADDER}, optimum_parameters={"ladder": [{"loss": "ce", "steps": 40}], "features": 1}),
    "fab": Case({"steps": 20}),
    "fab-t": Case({"steps": 20, "targets": 3}, counted=False),
    "fd-grouping": Case({"queries": 400, "features": 1}, optimum_parameters={"queries": 4000, "features": 1}),
    "fgsm": Case(),
    "fgsm-ll": Case(),
    "fmn": Case({"steps": 30}, optimum_parameters={"steps": 100}),
    "geoda": Case({"queries": 300}, optimum=2.5, optimum_parameters={"queries": 800, "frequencies": 1.0}),
    "gfcs": Case({"queries": 60, "copies": 2}, optimum=None),
    "hopskipjump": Case({"queries": 400}, optimum=1.35, optimum_parameters={"queries": 3000}),
    "ilcm": Case(),
    "jsma": Case({"targets": 3}, optimum=None, counted=False),
    "lbfgs": Case({"steps": 10, "searches": 3, "targets": 2, "memory": 3}, optimum=None, counted=False),
    "mi-fgsm": Case({"steps": 5}),
    "nattack": Case({"queries": 300, "population": 30}, optimum=None),
    "nes": Case({"queries": 300, "samples": 10}, optimum=1.5, optimum_parameters={"queries": 4000, "samples": 50}),
    "one-pixel": Case({"queries": 300, "population": 20}, optimum=None),
    "orthogonal-pgd": Case({"steps": 15, "restarts": 1}, optimum_parameters={"steps": 100}),
    "p-rgf": Case({"queries": 150, "samples": 10, "copies": 2}, optimum=None),
    "pdpgd": Case({"steps": 200, "primal_rate": 0.3}),
    "pgd": Case({"steps": 15}),
    "pointwise": Case({"queries": 150}, optimum=None, optimum_parameters={"queries": 40}),
    "prior-rays": Case({"queries": 150, "early": 50, "copies": 2}, optimum=None, optimum_parameters={"queries": 40}),
    "r-fgsm": Case(optimum=None),
    "rays": Case({"queries": 150, "early": 50}, optimum=None, optimum_parameters={"queries": 40}),
    "sign-opt": Case({"queries": 300, "evaluations": 50}, optimum=None, optimum_parameters={"queries": 200}),
    "signhunter": Case({"queries": 100}, optimum=None, optimum_parameters={"queries": 400}),
    "sigma-zero": Case({"steps": 60}, optimum_parameters={"steps": 200}),
    "simba": Case({"queries": 200}, optimum=None, optimum_parameters={"queries": 400}),
    "sparse-rs": Case({"queries": 100}, optimum=None, optimum_parameters={"queries": 400}),
    "square": Case({"queries": 100}, optimum=None, optimum_parameters={"queries": 40}),
    "superdeepfool": Case(),
    "surfree": Case({"queries": 150}, optimum=None, optimum_parameters={"queries": 30}),
    "transfer-mef": Case({"steps": 4, "neighbours": 3, "step_size": 0.4}),
    "transfer-mi-fgsm": Case({"steps": 5}),
    "transfer-ni-fgsm": Case({"steps": 5}),
    "transfer-vmi-fgsm": Case({"steps": 5, "neighbours": 3}),
    "transfer-vni-fgsm": Case({"steps": 5, "neighbours": 6}),
    "zoo": Case({"queries": 2000, "searches": 4}, optimum=None),
}
"""By id; one line an attack."""

EPS = {Norm.LINF: 0.03, Norm.L2: 0.15, Norm.L1: 0.6, Norm.L0: 2.0}
"""Radii at which some samples of the small network fall, and some do not."""

BY_NORM = [(name, norm) for name in CASES if name in attack_classes() for norm in sorted(attack_classes()[name].norms)]
"""Every (attack, norm)."""

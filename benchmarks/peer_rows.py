"""The public implementations that peers.py runs, each imported only when its row is reached."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from common import Counter
from torch import Tensor

from robaudit.threat.norms import Norm

__all__ = ["Row", "rows"]

Peer = Callable[[Counter, Tensor, Tensor, float], Tensor]
"""(model, samples, labels, eps; a distance row has no use for it) -> points."""
ORDER = {Norm.L0: 0, Norm.L1: 1, Norm.L2: 2, Norm.LINF: float("inf")}
NAMES = {Norm.L0: "L0", Norm.L1: "L1", Norm.L2: "L2", Norm.LINF: "Linf"}


@dataclass(frozen=True)
class Row:
    """One of our attacks with its parameters beside one implementation; ``share`` of the samples is attacked."""

    attack: str
    norm: Norm
    peer: str
    run: Peer
    parameters: dict[str, Any] = field(default_factory=dict)
    random: bool = False
    share: float = 1.0


def module(name: str) -> Any:
    """Import a peer; its imports of torchvision and visdom, of no use here, get empty modules where missing."""
    for missing in ("torchvision", "visdom"):
        if missing not in sys.modules and importlib.util.find_spec(missing) is None:
            sys.modules[missing] = types.ModuleType(missing)
            vars(sys.modules[missing])["models"] = types.ModuleType("models")
    return importlib.import_module(name)


def adv_lib(name: str, norm: Norm | None = None, **options: Any) -> Peer:
    """A minimal-norm attack of adv-lib."""
    more = {} if norm is None else {"norm": ORDER[norm]}
    return lambda m, x, y, eps: getattr(module("adv_lib.attacks"), name)(m, x, y, **more, **options)


def adv_lib_in_ball(name: str, norm: Norm, **options: Any) -> Peer:
    """A fixed-budget attack of adv-lib."""
    return lambda m, x, y, eps: getattr(module("adv_lib.attacks"), name)(m, x, y, eps, ORDER[norm], **options)


def foolbox(name: str, in_ball: bool = False, **options: Any) -> Peer:
    """An attack of Foolbox."""

    def run(m: Counter, x: Tensor, y: Tensor, eps: float) -> Tensor:
        package = module("foolbox")
        model = package.PyTorchModel(m.eval(), bounds=(0, 1), device="cpu")
        points: Tensor = getattr(package.attacks, name)(**options)(model, x, y, epsilons=eps if in_ball else None)[1]
        return points

    return run


def torchattacks(name: str, in_ball: bool = False, least_likely: bool = False, **options: Any) -> Peer:
    """An attack of torchattacks; options that are functions take ε."""

    def run(m: Counter, x: Tensor, y: Tensor, eps: float) -> Tensor:
        given = {k: v(eps) if callable(v) else v for k, v in options.items()} | ({"eps": eps} if in_ball else {})
        with contextlib.redirect_stdout(io.StringIO()):
            attack = getattr(module("torchattacks"), name)(m.eval(), **given)
            attack.set_device(torch.device("cpu"))
            if least_likely:
                attack.set_mode_targeted_least_likely(quiet=True)
            points: Tensor = attack(x, y)
        return points

    return run


def art(name: str, targets: bool = False, **options: Any) -> Peer:
    """An attack of ART; with ``targets`` one after the other of the wrong classes, of which the nearest counts."""

    def run(m: Counter, x: Tensor, y: Tensor, eps: float) -> Tensor:
        estimators = module("art.estimators.classification")
        loss = torch.nn.CrossEntropyLoss()
        model = estimators.PyTorchClassifier(
            m.eval(), loss, tuple(x.shape[1:]), m.target.num_classes, clip_values=(0.0, 1.0), device_type="cpu"
        )
        attack = getattr(module("art.attacks.evasion"), name)(model, verbose=False, **options)
        if not targets:
            return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))
        return nearest_of_targets(m, x, y, lambda aim: torch.from_numpy(attack.generate(x.numpy(), aim.numpy())))

    return run


def nearest_of_targets(m: Counter, x: Tensor, y: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Of the points found for each wrong class the one that fools with the fewest changed features."""
    best, fewest = x, torch.full((len(x),), float("inf"))
    for shift in range(1, m.target.num_classes):
        points = run((y + shift) % m.target.num_classes)
        changed = (points != x).flatten(1).sum(1).float()
        changed[m.target.scores(points).argmax(1) == y] = float("inf")
        mask = (changed < fewest)[:, None, None, None]
        best, fewest = torch.where(mask, points, best), torch.minimum(changed, fewest)
    return best


def scipy_lbfgs(steps: int, searches: int, first_c: float, targets: int) -> Peer:
    """As the early libraries: SciPy's L-BFGS-B on |δ|² + c times the target's cross-entropy, and a search of c."""

    def run(m: Counter, x: Tensor, y: Tensor, eps: float) -> Tensor:
        minimise = module("scipy.optimize").minimize
        best = x.clone()
        ranked = m.target.logits(x).detach().argsort(1, descending=True)
        for i in range(len(x)):
            nearest = np.inf
            for aim in [int(k) for k in ranked[i] if k != y[i]][:targets]:
                c, low, high = first_c, 0.0, np.inf
                for _ in range(searches):

                    def objective(flat: np.ndarray, c: float = c, aim: int = aim, i: int = i) -> tuple[float, Any]:
                        point = torch.from_numpy(flat).float().reshape(x[i : i + 1].shape).requires_grad_()
                        loss = torch.nn.functional.cross_entropy(m(point), torch.tensor([aim]))
                        value = (point - x[i]).square().sum() + c * loss
                        (slope,) = torch.autograd.grad(value, point)
                        return value.item(), slope.double().flatten().numpy()

                    start = x[i].flatten().double().numpy()
                    found = minimise(
                        objective, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * len(start),
                        options={"maxfun": steps, "maxiter": steps},
                    )  # fmt: skip
                    point = torch.from_numpy(found.x).float().reshape(x[i].shape)
                    won = int(m.target.scores(point[None]).argmax()) == aim
                    size = float((point - x[i]).norm())
                    if won and size < nearest:
                        nearest, best[i] = size, point
                    low, high = (low, c) if won else (c, high)
                    c = c * 10 if high == np.inf else (low + high) / 2
        return best

    return run


def in_ball(steps: int) -> Iterator[Row]:
    """Attacks with a budget: success in percent."""
    linf, l2, l1 = Norm.LINF, Norm.L2, Norm.L1
    yield Row("fgsm", linf, "Foolbox LinfFastGradientAttack", foolbox("LinfFastGradientAttack", True))
    yield Row("fgsm", l2, "Foolbox L2FastGradientAttack", foolbox("L2FastGradientAttack", True))
    yield Row("fgsm", l1, "Foolbox L1FastGradientAttack", foolbox("L1FastGradientAttack", True))
    yield Row("fgsm-ll", linf, "torchattacks FGSM, least likely", torchattacks("FGSM", True, True))
    half = torchattacks("RFGSM", True, alpha=lambda eps: eps / 2, steps=1)
    yield Row("r-fgsm", linf, "torchattacks RFGSM", half, random=True)
    short = {"steps": steps, "step_length": 1 / 255}
    bim = {"alpha": 1 / 255, "steps": steps}
    yield Row("bim", linf, "torchattacks BIM", torchattacks("BIM", True, **bim), short)
    basic = foolbox("LinfBasicIterativeAttack", True, abs_stepsize=1 / 255, steps=steps)
    yield Row("bim", linf, "Foolbox LinfBasicIterativeAttack", basic, short)
    yield Row("ilcm", linf, "torchattacks BIM, least likely", torchattacks("BIM", True, True, **bim), short)
    few = {"steps": 10}
    momentum = torchattacks("MIFGSM", True, alpha=lambda eps: eps / 10, **few)
    yield Row("mi-fgsm", linf, "torchattacks MIFGSM", momentum, few)
    momentum = foolbox("L2MomentumIterativeFastGradientMethod", True, rel_stepsize=0.1, **few)
    yield Row("mi-fgsm", l2, "Foolbox L2MIFGSM", momentum, few)
    pgd = {"rel_stepsize": 2.5 / steps, "steps": steps, "random_start": True}
    same = {"steps": steps}
    yield Row("pgd", linf, "Foolbox LinfPGD", foolbox("LinfPGD", True, **pgd), same, True)
    yield Row("pgd", l2, "Foolbox L2PGD", foolbox("L2PGD", True, **pgd), same, True)
    yield Row("pgd", l1, "Foolbox SparseL1DescentAttack", foolbox("SparseL1DescentAttack", True, **pgd), same, True)
    yield Row("pgd", l1, "Foolbox L1PGD", foolbox("L1PGD", True, **pgd), same, True)
    for norm in (linf, l2, l1):
        for loss in ("ce", "dlr"):
            peer = adv_lib_in_ball("apgd", norm, n_iter=steps, loss_function=loss)
            yield Row(f"apgd-{loss}", norm, "adv-lib apgd", peer, same, True)
        targeted = adv_lib_in_ball("apgd_targeted", norm, n_iter=steps, num_targets=3)
        yield Row("apgd-t", norm, "adv-lib apgd_targeted", targeted, same | {"targets": 3}, True)
    for norm in (linf, l2):
        peer = torchattacks(
            "APGD", True, norm=NAMES[norm], steps=steps, loss="ce", seed=lambda eps: torch.initial_seed()
        )
        yield Row("apgd-ce", norm, "torchattacks APGD", peer, same, True)


def minimal(steps: int) -> Iterator[Row]:
    """Attacks that seek the smallest distance: its median."""
    same = {"steps": steps}
    foolbox_names = {Norm.LINF: "LInfFMNAttack", Norm.L2: "L2FMNAttack", Norm.L1: "L1FMNAttack", Norm.L0: "L0FMNAttack"}
    for norm in (Norm.LINF, Norm.L2, Norm.L1, Norm.L0):
        yield Row("fmn", norm, "adv-lib fmn", adv_lib("fmn", norm, **same), same)
        yield Row("fmn", norm, "Foolbox FMN", foolbox(foolbox_names[norm], **same), same)
        operator = {"proximal_operator": 23} if norm is Norm.L0 else {}  # what its authors prefer
        long = {"steps": 3 * steps}
        yield Row("pdpgd", norm, "adv-lib pdpgd", adv_lib("pdpgd", norm, num_steps=3 * steps, **operator), long)
    yield Row("ddn", Norm.L2, "adv-lib ddn", adv_lib("ddn", levels=None, **same), same)
    yield Row("ddn", Norm.L2, "Foolbox DDN", foolbox("DDNAttack", **same), same)
    yield Row("sigma-zero", Norm.L0, "adv-lib sigma_zero", adv_lib("sigma_zero", num_steps=3 * steps), long)
    for norm in (Norm.LINF, Norm.L2):
        yield Row("deepfool", norm, "adv-lib df", adv_lib("df", norm))
        peer = foolbox("LinfDeepFoolAttack" if norm is Norm.LINF else "L2DeepFoolAttack", steps=100)
        yield Row("deepfool", norm, "Foolbox DeepFool", peer)
    yield Row("superdeepfool", Norm.L2, "adv-lib sdf", adv_lib("sdf"))
    for norm in (Norm.LINF, Norm.L2, Norm.L1):
        fab = adv_lib("fab", norm, n_iter=50, restarts=9, targeted_restarts=True)
        yield Row("fab-t", norm, "adv-lib fab", fab, {"steps": 50}, share=0.5)
    penalty = {"steps": 3 * steps, "searches": 9}
    peer = foolbox("L2CarliniWagnerAttack", binary_search_steps=9, steps=3 * steps)
    yield Row("cw-l2", Norm.L2, "Foolbox L2CarliniWagner", peer, penalty, share=0.5)
    peer = adv_lib("carlini_wagner_l2", max_iterations=3 * steps)
    yield Row("cw-l2", Norm.L2, "adv-lib carlini_wagner_l2", peer, penalty, share=0.5)
    peer = adv_lib("carlini_wagner_linf", max_iterations=steps)
    yield Row("cw-linf", Norm.LINF, "adv-lib carlini_wagner_linf", peer, long, share=0.5)
    yield Row("cw-linf", Norm.LINF, "ART CarliniLInfMethod", art("CarliniLInfMethod"), long, share=0.1)
    yield Row(
        "cw-l0", Norm.L0, "ART CarliniL0Method", art("CarliniL0Method", max_iter=steps), {"rounds": 20}, share=0.2
    )
    for beta in (1e-3, 1e-2):
        en = {"steps": 5 * steps, "beta": beta}
        peer = foolbox(
            "EADAttack", steps=5 * steps, regularization=beta, decision_rule="L1", abort_early=False
        )  # fmt: skip
        yield Row("ead", Norm.L1, f"Foolbox EADAttack, β {beta:g}", peer, en, share=0.2)
    peer = torchattacks("EADL1", max_iterations=5 * steps, abort_early=False)
    yield Row("ead", Norm.L1, "torchattacks EADL1", peer, {"steps": 5 * steps}, share=0.2)
    peer = scipy_lbfgs(150, 8, 0.01, 1)
    yield Row("lbfgs", Norm.L2, "SciPy L-BFGS-B", peer, {"targets": 1, "searches": 8}, share=0.1)
    map_ = art("SaliencyMapMethod", True, theta=1.0, gamma=0.145, batch_size=64)
    yield Row("jsma", Norm.L0, "ART SaliencyMapMethod", map_, share=0.2)
    paper = {"saliency": "others", "direction": "up"}
    yield Row("jsma", Norm.L0, "ART SaliencyMapMethod, as the paper", map_, paper, share=0.2)


def rows(steps: int) -> list[Row]:
    """All of them; ``steps`` is the unit of the budgets."""
    return [*in_ball(steps), *minimal(steps)]

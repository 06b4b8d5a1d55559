"""The public implementations that blackbox.py runs, each imported only when it is reached.

Parameters are those of the authors' configurations or the library's defaults, but for the budget: the meter ends it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from blackbox_loading import definitions, quiet, script
from blackbox_meter import TOLERANCE, Case, Meter, Outcome, Peer
from torch import Tensor

from robaudit.threat.norms import Norm, distance

__all__ = [
    "art",
    "bandits",
    "cgba",
    "foolbox",
    "nes",
    "rays",
    "sign_opt",
    "signhunter",
    "simba",
    "simba_dct",
    "sparse_rs",
    "square",
    "square_batch",
    "surfree",
]

ENDLESS = 1_000_000


class Labelled:
    """The model as RayS and Sign-OPT ask it."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def predict_label(self, x: Tensor, batch: bool = False) -> Tensor:
        """One class; of a batch one for each."""
        labels = self.meter(x).argmax(1)
        return labels if batch or len(labels) > 1 else labels[0]


@contextlib.contextmanager
def _no_seeding() -> Iterator[None]:
    """The authors' Square would take the same draws at each call."""
    seed, np.random.seed = np.random.seed, lambda value: None
    try:
        yield
    finally:
        np.random.seed = seed


def _square(ask: Callable[[Tensor], Tensor], x: np.ndarray, y: np.ndarray, case: Case, p: float) -> tuple[Any, Any]:
    """[N] queries and [N, *shape] last points of the authors' Square."""
    code = definitions("square-attack", "attack.py", time=time, log=SimpleNamespace(print=lambda text: None))

    def loss(labels: np.ndarray, logits: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        return np.where(labels, logits, 0).sum(1) - np.where(labels, -np.inf, logits).max(1)

    model = SimpleNamespace(predict=lambda points: ask(torch.from_numpy(points).float()).numpy(), loss=loss)
    attack = code.square_attack_linf if case.norm is Norm.LINF else code.square_attack_l2
    onehot = np.eye(case.target.num_classes, dtype=bool)[y]
    right = np.ones(len(x), dtype=bool)
    with _no_seeding(), warnings.catch_warnings(action="ignore"):
        found: tuple[Any, Any] = attack(
            model, x, onehot, right, case.eps, case.budget, p, io.BytesIO(), False, "margin_loss"
        )
    return found


def square(p: float) -> Peer:
    """Square attack of its authors; ``p`` is 0.05 for plain ImageNet models, 0.8 for robust MNIST."""

    def run(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
        _square(meter, x.numpy(), y.numpy(), case, p)

    return run


def square_batch(case: Case, p: float, seed: int) -> Outcome:
    """The same on all samples at once, as its authors run it; the counts are its own, the points are judged here."""
    np.random.seed(seed)
    start = time.process_time()
    x = np.stack([s.u for s in case.samples]).astype(np.float32)
    y = np.array([s.label for s in case.samples])
    count, points = _square(case.target.scores, x, y, case, p)
    seconds = (time.process_time() - start) / len(x)
    last = torch.from_numpy(points).float()
    fooled = torch.cat([case.target.scores(point[None], alone=True) for point in last]).argmax(1).numpy() != y
    size = distance(case.norm, last - torch.from_numpy(x)).numpy()
    assert case.eps is not None
    success = fooled & (size <= case.eps + TOLERANCE)
    queries = np.where(success, count, case.budget).astype(int)
    return Outcome("authors", queries, queries, success, np.where(fooled, size, np.inf)[None], seconds)


def rays(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """RayS of its authors."""
    attack = script("RayS", "RayS_Single.py").RayS(Labelled(meter), epsilon=case.eps)
    with quiet():
        attack(x, y[0], query_limit=ENDLESS)


def surfree(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """SurFree of its authors, with the configuration beside it."""
    attack = script("SurFree", "surfree.py").SurFree(
        steps=ENDLESS, max_queries=ENDLESS, BS_gamma=0.01, BS_max_iteration=10, rho=0.98, T=1, theta_max=30, n_ortho=10,
        quantification=False,
    )  # fmt: skip
    basis = {"basis_type": "dct", "dct_type": "full", "function": "constant", "frequence_range": [0, 0.5]}
    with quiet():
        attack(meter, x, y, basis_params=basis)


def cgba(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """CGBA of its authors, in a quarter of the frequencies of each side; its noise has three channels."""
    code = script("CGBA", "proposed_attack.py")
    zero = torch.zeros_like(x)
    attack = code.Proposed_attack(
        meter, x, [0, 0, 0], [1, 1, 1], zero, zero + 1, attack_method="CGBA", iteration=ENDLESS, dim_reduc_factor=4
    )
    with quiet():
        attack.Attack()


def sign_opt(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """Sign-OPT of its authors, L2."""
    attack = script("attackbox", "attack/Sign_OPT.py").OPT_attack_sign_SGD(Labelled(meter))
    with quiet():
        attack.attack_untargeted(x, y, query_limit=ENDLESS)


def signhunter(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """SignHunter of its authors."""
    file = "src/attacks/blackbox/sign_attack.py"
    code = script("blackbox-adv-examples-signhunter", file, "src")
    power = "inf" if case.norm is Norm.LINF else "2"
    attack = code.SignAttack(max_loss_queries=ENDLESS, epsilon=case.eps, p=power, fd_eta=case.eps, lb=0.0, ub=1.0)

    def asked(points: np.ndarray) -> Tensor:
        return meter(torch.from_numpy(points).reshape(x.shape))

    def loss(points: np.ndarray) -> np.ndarray:
        return torch.nn.functional.cross_entropy(asked(points), y, reduction="none").numpy()

    def fooled(points: np.ndarray) -> np.ndarray:
        return (asked(points).argmax(1) != y).numpy()

    def no_metric(*points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(1), np.zeros(1)

    with quiet():
        attack.run(x.numpy(), loss, fooled, no_metric)


def _madry(meter: Meter, x: Tensor, y: Tensor, case: Case, **options: Any) -> None:
    """NES and Bandits of MadryLab; three channels; lengths that their figures give for ε = 0.05 and 5 go with ε."""
    functional = SimpleNamespace(normalize=lambda image, mean, std: image)
    code = definitions("blackbox-bandits", "src/main.py", F=functional, Upsample=torch.nn.Upsample, pdb=None)
    linf = case.norm is Norm.LINF
    args = SimpleNamespace(
        mode="linf" if linf else "l2",
        epsilon=case.eps,
        batch_size=1,
        max_queries=ENDLESS,
        log_progress=False,
        **options,
    )
    with quiet():
        code.make_adversarial_examples(x, y, args, meter, x.shape[-1])


def bandits(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """Bandits of its authors with priors of time and data."""
    assert case.eps is not None
    if case.norm is Norm.LINF:
        own = {"fd_eta": 0.1, "image_lr": 0.2 * case.eps, "online_lr": 100.0, "exploration": 1.0}
    else:
        own = {"fd_eta": 0.01, "image_lr": 0.1 * case.eps, "online_lr": 0.1, "exploration": 0.01}
    tiles = min(50, x.shape[-1])
    _madry(meter, x, y, case, nes=False, tiling=True, tile_size=tiles, gradient_iters=1, **own)


def nes(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """NES as MadryLab gives it beside Bandits."""
    assert case.eps is not None
    own = {"image_lr": 0.2 * case.eps, "gradient_iters": 50}
    if case.norm is Norm.L2:
        own = {"image_lr": 0.06 * case.eps, "gradient_iters": 5}
    _madry(meter, x, y, case, nes=True, tiling=False, tile_size=0, fd_eta=0.1, exploration=0.0, online_lr=0.0, **own)


def simba(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """SimBA of its authors on single features."""
    attack = script("simple-blackbox-attack", "simba.py").SimBA(meter, "mnist", x.shape[-1])
    attack.normalize = lambda points: points
    with quiet():
        attack.simba_single(x[0], y, num_iters=x.numel(), epsilon=0.2)


def simba_dct(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """SimBA of its authors on cosines, in the order and size of its README; three channels.

    It asks about both directions, and counts the second one only where the first did not help; so does the meter.
    """
    side = x.shape[-1]
    attack = script("simple-blackbox-attack", "simba.py").SimBA(meter, "imagenet", side)
    attack.normalize = lambda points: points
    ask = attack.get_probs
    turn = {"count": 0, "last": 1.0, "left": 1.0}

    def probs(points: Tensor, labels: Tensor) -> Tensor:
        meter.free = turn["count"] > 0 and turn["count"] % 2 == 0 and turn["left"] < turn["last"]
        answer: Tensor = ask(points, labels)
        meter.free = False
        value = float(answer[0])
        if turn["count"] % 2 == 1:
            turn["left"] = value
        else:
            turn["last"] = min(turn["last"], turn["left"], value)
        turn["count"] += 1
        return answer

    attack.get_probs = probs
    with quiet():
        # an order of all frequencies, the lowest band first
        attack.simba_batch(x, y, 3 * side * side, side // 8, max(side // 32, 1), 0.2, order="strided")


def sparse_rs(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """Sparse-RS of its authors, L0."""
    code = script("sparse-rs", "rs_attacks.py")
    attack = code.RSAttack(
        lambda points: meter(points).clone(), norm="L0", n_queries=case.budget, eps=int(case.eps or 0), p_init=0.3,
        verbose=False, device="cpu", seed=int(torch.randint(ENDLESS, ())),
    )  # fmt: skip
    with quiet():
        attack.perturb(x, y)


def foolbox(name: str, **options: Any) -> Peer:
    """An attack of Foolbox."""

    def run(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
        package = importlib.import_module("foolbox")
        model = package.PyTorchModel(meter, bounds=(0, 1), device="cpu")
        attack = getattr(package.attacks, name)(**options)
        attack.run(model, x, package.criteria.Misclassification(y), early_stop=None)

    return run


def art(name: str, eps: bool = False, **options: Any) -> Peer:
    """An attack of ART; ``eps`` says whether it takes a radius."""

    def run(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
        estimators = importlib.import_module("art.estimators.classification")
        loss = torch.nn.CrossEntropyLoss()
        shape, classes = tuple(x.shape[1:]), case.target.num_classes
        model = estimators.PyTorchClassifier(meter, loss, shape, classes, clip_values=(0.0, 1.0), device_type="cpu")
        given = {**options, "eps": case.eps} if eps else options
        vars(np).setdefault("mat", np.asmatrix)  # which its GeoDA asks for, and NumPy 2 has no more
        attack = getattr(importlib.import_module("art.attacks.evasion"), name)(model, verbose=False, **given)
        with quiet(), contextlib.chdir(tempfile.gettempdir()):  # where its GeoDA leaves a file
            attack.generate(x.numpy(), y.numpy())

    return run

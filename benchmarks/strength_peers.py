"""Further sides of autoattack.py: the authors' code of A3, MALT, PMA and PMA+, with the parameters that it has.

A3 is Adaptive Auto Attack (Liu et al. 2022), MALT of Melamed et al. 2024, PMA and PMA+ of Xie et al. 2024. Each is
imported where its checkout is given, and called with the counted torch module. What differs from running it as it is:

- No GPU: ``.cuda()`` and ``.to("cuda")`` leave a tensor where it is, no CUDA device is seen, A3's ``device`` is a CPU.
- A3's images come from memory, its table of files is a dict, ``np.int`` is ``int``. Its data set is "cifar10", which
  differs from "mnist" in name alone. It keeps no points: the last rows that the model was asked for a batch are taken.
- A column [1, 1] is squeezed to [1], not to a number: PMA's code ends with an error where one image of a batch is left.
- ``PMA`` of PMA's code ends at an assertion (its loss is named otherwise); it is the first attack of its ``PMA+``.
- Its ``PMA+`` gives APGD-T two steps, with the mean of 100 gradients at each, which are equal where a model is not
  random. "PMA+ as released" runs it so, "PMA+" with 100 steps of one gradient.
- MALT's targeted APGD is adv-lib's, as in its demo.
- Modules for data, plots and progress that they import, and that nothing here uses, are stood in for.

Tables, and cases of other than ten classes, are left out, for which A3 and nine targets are not made. Points are moved
into ball and box where they are outside (rounding; the first noise of PMA is not cut off at the box), and judged alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import random
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from autoattack_sides import Case, Data, Outcome
from common import Counter
from torch import Tensor, nn

from robaudit.engine.units import Sample
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm, distance

__all__ = ["PEERS", "Peer", "peers", "run_peer"]

Attack = Callable[[nn.Module, Tensor, Tensor, str, float], Tensor]
"""(model, x, label, norm, eps) -> points."""
PEERS = ("A3", "MALT", "PMA", "PMA+", "PMA+ as released")
SQUEEZE, TO = Tensor.squeeze, Tensor.to


@dataclass(frozen=True)
class Peer:
    """A side: what runs it, and the norms that its code has."""

    attack: Attack
    norms: tuple[str, ...]

    def fits(self, case: Case, data: Data) -> bool:
        return case.norm in self.norms and data[1].dim() == 4 and data[0].num_classes == 10


def peers(a3: Path | None, malt: Path | None, pma: Path | None, advlib: Path | None) -> dict[str, Peer]:
    """The sides of the checkouts that are given; ``advlib`` where adv-lib is not installed."""
    found = {}
    if a3 is not None:
        found["A3"] = Peer(partial(_a3, a3), ("linf", "l2"))
    if malt is not None:
        found["MALT"] = Peer(partial(_malt, malt, advlib), ("linf", "l2"))
    if pma is not None:
        found["PMA"] = Peer(partial(_pma, pma, parts=1, released=True), ("linf",))
        found["PMA+"] = Peer(partial(_pma, pma, parts=2, released=False), ("linf",))
        found["PMA+ as released"] = Peer(partial(_pma, pma, parts=2, released=True), ("linf",))
    return found


def run_peer(peer: Peer, case: Case, data: Data, samples: dict[int, Sample], seed: int = 0) -> Outcome:
    """Its attack on the inputs that are answered correctly."""
    target, x, y = data
    kept = torch.tensor(sorted(samples))
    origin, labels, eps = x[kept], y[kept], case.threat.radius
    counter = Counter(target)
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(seed)
    start, processor = time.perf_counter(), time.process_time()
    with _adapted(), contextlib.redirect_stdout(io.StringIO()):
        points = peer.attack(counter, origin.clone(), labels.clone(), case.norm, eps).detach().float()
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    points = _into(points, origin, case.norm, eps)
    inside, _ = ThreatModel(Norm(case.norm), eps).admissible(origin, points)
    wrong = torch.cat([target.scores(point[None], alone=True) for point in points]).argmax(1) != labels
    return Outcome(set(kept[~(wrong & inside)].tolist()), counter.equivalents, seconds, processor)


def _into(points: Tensor, origin: Tensor, norm: str, eps: float) -> Tensor:
    """[N, *shape] moved into ball and box where they are outside."""
    delta = points.clamp(0, 1) - origin
    if norm == "linf":
        return (origin + delta.clamp(-eps, eps)).clamp(0, 1)
    size = distance(Norm(norm), delta.double()).clamp_min(1e-30)
    return origin + delta * (eps / size).clamp_max(1).float().view(-1, *[1] * (delta.dim() - 1))


def _column(self: Tensor, *dims: int) -> Tensor:
    """``squeeze`` that leaves [N, 1] its N."""
    return SQUEEZE(self, *(dims or ((1,) if self.dim() == 2 and self.shape[1] == 1 else ())))


def _here(self: Tensor, *args: Any, **options: Any) -> Tensor:
    """``to`` that does not go to a GPU."""
    return self if args == ("cuda",) else TO(self, *args, **options)


@contextlib.contextmanager
def _adapted() -> Iterator[None]:
    """Without a GPU, and with the numpy of the time."""
    with (
        patch.object(Tensor, "cuda", lambda self: self),
        patch.object(Tensor, "to", _here),
        patch.object(Tensor, "squeeze", _column),
        patch.object(torch.cuda, "is_available", lambda: False),
        patch.object(np, "int", int, create=True),
    ):
        yield


def _imported(folder: Path | None, name: str) -> Any:
    """A module of a folder, or an installed one, that does not change the generator's seed."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    progress = types.SimpleNamespace(tqdm=iter, trange=range)
    stood = dict.fromkeys(("torchvision", "torchvision.models", "pandas", "PIL", "visdom"), MagicMock())
    with torch.random.fork_rng(devices=[]), patch.dict(sys.modules, stood | {"tqdm": progress, "tqdm.auto": progress}):
        return importlib.import_module(name)


class Watched(nn.Module):
    """Keeps the rows that were asked last."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Tensor:
        self.last = rows.detach().clone()
        return self.model(rows)


class Table(dict[str, Any]):
    """As much of pandas' DataFrame as A3 uses."""

    @property
    def loc(self) -> Table:
        return self

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else Table(img_path=self.paths[key])

    @property
    def paths(self) -> np.ndarray:
        return np.array(self["img_path"])


def _a3(folder: Path, model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: float) -> Tensor:
    """Its schedule of 13 rounds, as its main function calls it: at most 1,000 iterations an image."""
    module = _imported(folder, "Adaptive_Auto_Attack_main")
    module.device = torch.device("cpu")
    watched, points = Watched(model), x.clone()

    def loader(batch_size: int, dataframe: Table, **_: Any) -> Iterator[dict[str, Tensor]]:
        rows = torch.tensor([int(Path(path).stem) for path in dataframe.paths], dtype=torch.int64)
        for part in rows.split(batch_size) if len(rows) else ():
            yield {"img": x[part].clone(), "lab": y[part].clone()}
            points[part] = watched.last  # of the whole batch, where it has ended

    paths = [f"{label}/{index}.png" for index, label in enumerate(y.tolist())]
    with (
        patch.object(module, "mytest_loader", loader),
        patch.object(module, "glob", types.SimpleNamespace(glob=lambda _: paths)),
        patch.object(module, "pd", types.SimpleNamespace(DataFrame=Table)),
    ):
        module.Adaptive_Auto_white_box_attack(
            watched,
            module.device,
            eps,
            True,
            128,
            1000,
            "",
            data_set="cifar10",
            Lnorm={"linf": "Linf", "l2": "L2"}[norm],
        )
    return points


def _malt(folder: Path, advlib: Path | None, model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: float) -> Tensor:
    """Its nine targets, each with 100 steps of adv-lib's targeted APGD (DLR), as in its demo."""
    apgd = _imported(advlib, "adv_lib.attacks.auto_pgd").apgd
    order = {"linf": np.inf, "l2": 2}[norm]
    attack = _imported(folder, "MALT_attack").MALTAttack(
        lambda model, x, y: apgd(model=model, inputs=x, labels=y, eps=eps, norm=order, targeted=True),
        k=9,
        norm=order,
        testk=100,
    )
    return attack.test_w_data(model, x_orig=x, y_orig=y)[0]


def _pma(
    folder: Path, model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: float, *, parts: int, released: bool
) -> Tensor:
    """The first of PMA+'s attacks, or both; APGD-T with the steps that were released, or with 100."""
    handler = _imported(folder, "attacks.attack_handler")
    attack = handler.Attacker(model, "PMA+", eps=eps, num_steps=100, bs=256, verbose=False, x_test=x, y_test=y)
    attack.attacks_to_run = attack.attacks_to_run[:parts]
    if not released:
        attack.apgdt.n_iter, attack.apgdt.eot_iter = 100, 1
    return attack.evaluate()[2]

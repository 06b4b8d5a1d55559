"""Authors' code that asks a graph of TensorFlow 1 or does its work in ``main``: its loops run as they are.

The graph is restated here in torch: what the authors' session answers, from the same figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from blackbox_loading import definitions, quiet
from blackbox_meter import Case, Meter, Peer
from torch import Tensor, nn

__all__ = ["autozoom", "fd_grouping", "nattack", "zoo"]

ENDLESS = 1_000_000


class _Symbol:
    """A node of a graph that nobody runs."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Symbol()

    def __call__(self, *args: Any, **options: Any) -> _Symbol:
        return _Symbol()

    def _same(self, *other: Any) -> _Symbol:
        return _Symbol()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _same


class _Session:
    """Answers what the graph of AutoZOOM's authors does, for [P, H, W, C] perturbations of images around 0."""

    def __init__(self, meter: Meter, label: int, tanh: bool) -> None:
        self.meter, self.label, self.tanh = meter, label, tanh
        self.image, self.c = torch.zeros(()), 0.0

    def run(self, fetches: Any, feed_dict: Any) -> Any:
        """Loss, squared distance, its parts, probabilities, images, and more; or where the graph is set up, nothing."""
        if len(feed_dict) == 3:
            image, _, self.c = feed_dict.values()
            self.image = torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)
            return None
        moved = torch.from_numpy(np.asarray(next(iter(feed_dict.values())), np.float32)).permute(0, 3, 1, 2)
        if moved.shape[-1] != self.image.shape[-1]:
            moved = nn.functional.interpolate(moved, self.image.shape[-2:], mode="bilinear", align_corners=True)
        if self.tanh:
            new, old = torch.tanh(moved + self.image) / 2, torch.tanh(self.image) / 2
        else:
            new, old = (moved + self.image).clamp(-0.5, 0.5), self.image
        far = (new - old).square().flatten(1).sum(1)
        chance = self.meter(new + 0.5).softmax(1)
        others = torch.cat([chance[:, : self.label], chance[:, self.label + 1 :]], 1).amax(1)
        lead = ((chance[:, self.label] + 1e-30).log() - (others + 1e-30).log()).clamp_min(0)
        images = new.permute(0, 2, 3, 1)
        known = (self.c * lead + far, far, self.c * lead, far, chance, images, chance[:, self.label], others)
        return [part.numpy() for part in known[: len(fetches)]]


def _of_autozoom(kind: str, tanh: bool, **options: Any) -> Peer:
    def run(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
        given = {"tf": _Symbol(), "time": time, "ADAM_BETA1": 0.9, "ADAM_BETA2": 0.999}
        code = definitions("Autozoom-Attack", "blackbox_attack.py", **given)
        channels, side = x.shape[1], x.shape[-1]
        classes = case.target.num_classes
        shape = SimpleNamespace(num_channels=channels, image_size=side, num_labels=classes, predict=_Symbol())
        args = {
            "max_iterations": ENDLESS,
            "print_every": ENDLESS,
            "switch_iterations": 100,
            "init_const": 10,
            "attack_type": "untargeted",
            "use_tanh": tanh,
            "batch_size": 128,
            "lr": 1e-2,
            "confidence": 0,
            "num_rand_vec": 1,
            "img_resize": side,
            **options,
        }
        attack = getattr(code, kind)(_Session(meter, int(y), tanh), shape, args)
        attack.print_info = lambda: None
        with quiet(), np.errstate(over="ignore"):
            attack.attack(x[0].permute(1, 2, 0).numpy() - 0.5, np.eye(classes)[int(y)])

    return run


def autozoom(side: int, tanh: bool) -> Peer:
    """AutoZOOM of its authors with bilinear resizing from so many pixels; ``tanh`` as they have it for colour."""
    return _of_autozoom("AutoZOOM_BiLIN", tanh, img_resize=side)


def zoo(tanh: bool) -> Peer:
    """ZOO as the authors of AutoZOOM, who are in part its own, give it beside theirs."""
    return _of_autozoom("ZOO", tanh)


class _OneImage:
    """What the authors' script of NAttack attacks: the same image again, if it were asked for another."""

    def __init__(self, image: np.ndarray, label: int) -> None:
        self.found = image, label

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        return self.found


def nattack(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
    """NAttack of its authors in L-infinity, as its script for an undefended kind of CIFAR network has it."""
    width = {"npop": 300, "sigma": 0.1, "alpha": 0.02, "epsi": case.eps, "epsilon": 1e-30}
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]))
    provider = _OneImage(x[0].permute(1, 2, 0).numpy(), int(y))
    parser = SimpleNamespace(
        add_argument=lambda *args, **options: None,
        parse_args=lambda: SimpleNamespace(modelIn=None, noise=0.0, cifar_path=""),
    )

    class Normalised(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            return meter(points * std + mean)  # type: ignore[no-any-return]

    code = definitions(
        "Nattack",
        "robustnet/re_li_attack.py",
        argparse=SimpleNamespace(ArgumentParser=lambda: parser),
        autograd=SimpleNamespace(Variable=lambda value, volatile=True: value),
        nn=SimpleNamespace(DataParallel=lambda model, device_ids: model, CrossEntropyLoss=lambda: None),
        robustml=SimpleNamespace(provider=SimpleNamespace(CIFAR10=lambda path: provider)),
        torch_arctanh=lambda value, eps=1e-6: np.arctanh(value * (1 - eps)),
        VGG=lambda name, noise: Normalised(),
        boxplus=0.5,
        boxmul=0.5,
        **width,
    )
    with quiet(), np.errstate(divide="ignore"):
        code.main()


def fd_grouping(group: int, delta: float, step: float) -> Peer:
    """Grouped finite differences of their authors, iterative, with the logit loss, L-infinity, one channel.

    Args:
        group: features in a group.
        delta: of a difference.
        step: of an iteration, as a share of ε.
    """

    def run(meter: Meter, x: Tensor, y: Tensor, case: Case) -> None:
        assert case.eps is not None
        side = x.shape[-1]

        def answers(fetches: list[str], feed_dict: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
            points = torch.from_numpy(next(iter(feed_dict.values()))).float().reshape(1, *x.shape[1:])
            scores = meter(points)
            return iter([(scores if name == "logits" else scores.softmax(1)).numpy().copy() for name in fetches])

        session = SimpleNamespace(run=lambda fetches, feed_dict: list(answers(fetches, feed_dict)))
        code = definitions(
            "blackbox-attacks",
            "query_based_attack.py",
            python2=True,
            K=SimpleNamespace(get_session=lambda: session),
            FLAGS=SimpleNamespace(IMAGE_ROWS=side, IMAGE_COLS=side, NUM_CHANNELS=1),
            args=SimpleNamespace(
                method="query_based_un_iter", loss_type="cw", delta=delta, norm="linf", conf=0.0, alpha=0.0,
                group_size=group, num_iter=ENDLESS,
            ),
            time=time,
            BATCH_SIZE=1, BATCH_EVAL_NUM=1, PCA_FLAG=False, PARALLEL_FLAG=False, CLIP_MIN=0, CLIP_MAX=1,
        )  # fmt: skip
        image = x[0].permute(1, 2, 0)[None].numpy()
        with quiet():
            code.estimated_grad_attack_iter(
                image, image, "x", [int(y)], "prediction", "logits", case.eps, x.numel(), step * case.eps
            )

    return run

"""Small ONNX classifiers that end in every way, and what is expected of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from model_files import FLOAT, weight, write_onnx
from onnx import TensorProto, helper
from target_kit import complete

from robaudit.target.load import open_target
from robaudit.target.reading.interface import Interface
from robaudit.target.target import Target

NODE = helper.make_node
STRING, INT64 = TensorProto.STRING, TensorProto.INT64
W = weight(3, 8)


def ready(path: Path, *, samples: int = 8, **interface: object) -> tuple[Target, torch.Tensor]:
    target = open_target(path, device="cpu", interface=Interface(**interface))
    u = torch.rand(samples, *target.spec.shape, generator=torch.Generator().manual_seed(1)).to(target.dtype)
    target = complete(target, u)
    return target, u


def expected(u: torch.Tensor, w: np.ndarray = W) -> np.ndarray:
    return u.numpy().reshape(len(u), -1) @ w


def gradient_is_of_the_logits(target: Target, u: torch.Tensor, w: np.ndarray = W) -> None:
    """The twin's logits are those of the linear layer, whatever the file does to them."""
    leaf = u.clone().requires_grad_()
    logits = target.logits(leaf)
    found = logits - logits.mean(1, keepdim=True)
    wanted = torch.from_numpy(expected(u, w))
    torch.testing.assert_close(found, wanted - wanted.mean(1, keepdim=True), rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), leaf)
    torch.testing.assert_close(gradient.flatten(1)[0], torch.from_numpy(w[:, 1] - w[:, 0]), rtol=1e-4, atol=1e-4)


def ending(
    path: Path,
    nodes: list[onnx.NodeProto],
    outputs: Mapping[str, tuple[object, int]],
    constants: Mapping[str, np.ndarray] | None = None,
    w: np.ndarray = W,
) -> Path:
    """x [N, 8] through a matrix to ``z`` [N, 3], then the nodes."""
    head = [NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["z"])]
    held = {"w": w, **(constants or {})}
    return write_onnx(path, head + nodes, ("N", 8), held, outputs=outputs, domains={"ai.onnx.ml": 3})


PROBABILITIES = {"y": (("N", 3), FLOAT)}

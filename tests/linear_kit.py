"""A linear model of two classes, whose distances are known, with samples and profiles for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from run_kit import records

__all__ = ["Stopper", "linear", "near_the_middle", "profile", "recomputed"]

SIDE = 4
EPS = {"linf": 0.1, "l2": 0.35, "l1": 1.2, "l0": 2}


def linear(path: Path) -> np.ndarray:
    """A two-class linear model on 4 x 4 inputs; its normal [16]."""
    normal = np.random.default_rng(5).normal(size=SIDE * SIDE).astype(np.float32)
    weights = np.stack([-normal / 2, normal / 2])
    arrays = {"w": weights, "b": np.array([normal.sum() / 4, -normal.sum() / 4], np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1)],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return normal.astype(np.float64)


def near_the_middle(path: Path, normal: np.ndarray, count: int = 14) -> np.ndarray:
    """Samples whose nearest boundary point lies in the box; two of them are labelled wrongly. Margins [count]."""
    rng = np.random.default_rng(9)
    x = (0.5 + rng.uniform(-0.08, 0.08, size=(count, 1, SIDE, SIDE))).astype(np.float32)
    margins = (x.reshape(count, -1).astype(np.float64) - 0.5) @ normal
    y = (margins > 0).astype(np.int64)
    y[:2] = 1 - y[:2]
    np.savez(path, x=x, y=y)
    return np.abs(margins)


def profile(
    path: Path, norm: str, more: str = "curve: true", attacks: str = "[fgsm]", eps: float | None = None
) -> Path:
    radius = EPS[norm] if eps is None else eps
    path.write_text(
        f"name: tiny\nthreat: {{norm: {norm}, eps: {radius}}}\nattacks: {attacks}\nchecks: [clean, evidence]\n{more}\n"
    )
    return path


class Stopper:
    """Asks for a stop after so many journaled units."""

    def __init__(self, folder: Path, units: int) -> None:
        self.folder, self.units = folder, units

    def __call__(self) -> bool:
        return len(records(self.folder, "unit")) >= self.units


def recomputed(run: Path, keys: Sequence[str]) -> dict[int, int]:
    """Queries until each sample fell, from the lines of a journal alone; each attack has one unit a sample."""
    units = {(r["attack"], r["sample"]): r for r in records(run, "unit")}
    found = {}
    for sample in {sample for _, sample in units}:
        spent = 0
        for key in keys:
            record = units.get((key, sample))
            spent += record["queries"] if record else 0
            if record and record["success"]:
                found[sample] = spent
                break
    return found

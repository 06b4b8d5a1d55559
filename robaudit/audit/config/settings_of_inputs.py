"""Settings of what the model's input and output mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robaudit.audit.config.declaring import AS_IN_SCAN, Part, Read, setting

if TYPE_CHECKING:
    from robaudit.audit.config.value_types import (
        Bounds,
        Decision,
        Finite,
        Fixed,
        Numbers,
        NumberText,
        PathText,
        Positive01,
        Share,
    )

__all__ = ["InputSettings"]

BOTH = {"inspect": AS_IN_SCAN, "init": AS_IN_SCAN}
INPUT = "input"
"""Key of the map that says what the values of the input mean."""


def _said(name: str) -> Part:
    """What the user declared about the input under a name, if anything."""
    return Part(INPUT, lambda asked: asked.input_values.get(name), within=name, unless=None)


def _input(flag: Any, name: str, help: str, meaning: str, *, everywhere: bool = True) -> Any:
    """A setting of the input's values; null is left to be found."""
    also = BOTH if everywhere else {}
    return setting(None, flag, help=help, meaning=meaning, also=also, inside=INPUT, identity=_said(name))


@dataclass(frozen=True)
class InputSettings:
    """What the owner says about the model's input and output; null is left to be found."""

    mean: Numbers | None = _input(
        str, "mean", "Mean per channel, subtracted after --scale.", "Mean per channel, subtracted after scaling."
    )
    std: Numbers | None = _input(str, "std", "Standard deviation per channel.", "Standard deviation per channel.")
    scale: Finite | None = _input(
        float,
        "scale",
        "Factor from [0, 1] to the model's units, such as 255.",
        "Factor from [0, 1] to the model's units before mean and std, such as 255.",
    )
    domain: Bounds | None = _input(
        str,
        "domain",
        "Lowest and highest valid value, such as 0,1.",
        "Lowest and highest valid value of the input, before scale, mean and std.",
    )
    feature_ranges: PathText | None = setting(
        None,
        Path,
        help="CSV (name, low, high, immutable, integer) or YAML with the range of each feature of a table. "
        "Default: MODEL.ranges.csv, else from the data.",
        meaning="Lowest and highest value of each feature of a table, as CSV or YAML; null takes them from the data.",
        also=BOTH,
        path=Read("the ranges of the features"),
        identity=Part("feature ranges", lambda asked: asked.feature_ranges, read="file"),
    )
    layout: Literal["nchw", "nhwc"] | None = _input(
        str, "layout", "nchw or nhwc.", "Layout of the model's images: nchw or nhwc."
    )
    channels: Literal["rgb", "bgr"] | None = _input(
        str, "channels", "rgb or bgr.", "Channel order of the model's images: rgb or bgr."
    )
    resize: NumberText | None = _input(
        str,
        "resize",
        "Size of the model's images: 224 or 224x224.",
        "Size that image files are resized to: 224, 224x224, or none.",
    )
    crop: Positive01 | None = _input(
        float,
        "crop",
        "Share of the shorter side that the centre crop keeps.",
        "Share of the shorter side that the centre crop keeps.",
        everywhere=False,
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = _input(
        str,
        "interpolation",
        "bicubic, bilinear, lanczos or nearest.",
        "How image files are resized: bicubic, bilinear, lanczos or nearest.",
        everywhere=False,
    )
    clean_accuracy: Share | None = setting(
        None,
        float,
        help="Clean accuracy that you expect; a check compares it.",
        meaning="Clean accuracy that the owner expects; a check compares it with the measured one.",
        identity=Part("declared"),
    )
    classes: PathText | tuple[str, ...] | None = setting(
        None,
        Path,
        help="Class names in the order of the model's outputs, a file with one a line.",
        meaning="Class names in the order of the model's outputs, or the path of a file with one a line.",
        also=BOTH,
        path=Read("the class names"),
        identity=Part("classes", lambda asked: asked.classes),
    )
    output_name: str | None = setting(
        None,
        str,
        help="Output with the class scores. Default: found by name, shape and graph.",
        meaning="Name of the output that holds the class scores; null finds it.",
        also=BOTH,
        identity=Part("interface", lambda asked: asked.interface.output, within=0),
    )
    decision: Decision | None = setting(
        None,
        str,
        help="Which score decides: largest or smallest; of one number above:T or below:T, where the second class "
        "begins. Default: found.",
        meaning="Which score decides: largest or smallest; of one number above:T or below:T, where the second class "
        "begins.",
        also=BOTH,
        identity=Part("reading", lambda asked: str(asked.interface.rule), within=0),
    )
    fixed: Fixed | None = setting(
        None,
        list[str],
        flags=("--input",),
        metavar="NAME=VALUE",
        help="Value of an input that is not attacked: a number, a list, zeros, ones, an .npy file; repeatable.",
        meaning="Values of the inputs that are not attacked, by name: a number, a list, zeros, ones, or an .npy or "
        ".npz file.",
        also=BOTH,
        inside=INPUT,
        identity=Part("interface", lambda asked: asked.interface.fixed, read="inputs", within=2),
    )
    input_name: str | None = setting(
        None,
        str,
        help="The attacked input, where there are several.",
        meaning="Name of the attacked input, where the model has several.",
        also=BOTH,
        identity=Part("interface", lambda asked: asked.interface.input, within=1),
    )

"""Gradient cases of resampling images, and of spectra."""

from __future__ import annotations

import numpy as np
from gradient_case import GradientCase
from standard_cases import case, data, ints, scalar

IMAGE = data(1, 2, 4, 5)
_SCALES = np.float32([1, 1, 1.6, 0.55])
_SIZES = ints(1, 2, 7, 3)
_ROIS = np.float32([[0.2, 0.3, 3.1, 2.7], [1.1, 0.4, 3.6, 3.4]])
CASES: list[GradientCase] = [
    *[case("Resize", IMAGE, _SCALES, opset=10, mode=mode) for mode in ("nearest", "linear")],
    *[case("Resize", IMAGE, None, _SCALES, opset=13, mode=mode) for mode in ("nearest", "linear", "cubic")],
    *[
        case("Resize", IMAGE, None, None, _SIZES, opset=18, mode=mode, coordinate_transformation_mode=how)
        for mode in ("linear", "cubic")
        for how in ("align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel")
    ],
    *[
        case("Resize", IMAGE, None, None, _SIZES, opset=18, mode=mode, antialias=1, exclude_outside=1)
        for mode in ("linear", "cubic")
    ],
    case(
        "Resize",
        IMAGE,
        None,
        None,
        ints(6, 6),
        opset=19,
        mode="linear",
        axes=[2, 3],
        keep_aspect_ratio_policy="not_larger",
    ),
    case(
        "Resize",
        IMAGE,
        np.float32([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.7]),
        np.float32([]),
        _SIZES,
        opset=11,
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    case("Upsample", IMAGE, opset=7, scales=[1.0, 1.0, 2.0, 3.0], mode="linear"),
    case("Upsample", IMAGE, np.float32([1, 1, 2, 2]), opset=9),
    *[
        case("GridSample", IMAGE, data(1, 3, 2, 2, low=-1.2, high=1.2), opset=16, mode=mode, padding_mode=padding)
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
    ],
    *[
        case("GridSample", IMAGE, data(1, 3, 2, 2), opset=20, mode=mode, align_corners=1)
        for mode in ("linear", "cubic")
    ],
    case("GridSample", data(1, 2, 3, 4, 3), data(1, 2, 2, 2, 3), opset=20, mode="linear"),
    case("GridSample", data(1, 2, 3, 4, 3), data(1, 2, 2, 2, 3), opset=20, mode="nearest"),
    *[case("AffineGrid", data(2, 2, 3), ints(2, 3, 4, 5), opset=20, align_corners=c) for c in (0, 1)],
    *[case("AffineGrid", data(2, 3, 4), ints(2, 3, 4, 1, 5), opset=20, align_corners=c) for c in (0, 1)],
    *[
        case("RoiAlign", data(2, 2, 5, 5), _ROIS, ints(1, 0), opset=opset, output_height=2, output_width=3, **more)
        for opset, more in (
            (10, {"sampling_ratio": 2}),
            (10, {}),
            (16, {"sampling_ratio": 1, "spatial_scale": 0.8}),
            (16, {"mode": "max", "sampling_ratio": 2}),
            (16, {"coordinate_transformation_mode": "output_half_pixel"}),
        )
    ],
    case(
        "RoiAlign",
        data(1, 1, 6, 6),
        data(2, 4, low=1.0, high=4.0),
        ints(0, 0),
        opset=16,
        sampling_ratio=2,
        output_height=2,
        output_width=2,
    ),
    *[
        case("DFT", data(2, 5, parts), scalar(axis, np.int64) if opset == 20 else None, opset=opset, inverse=inverse)
        for opset, parts, axis, inverse in ((17, 1, 1, 0), (17, 2, 1, 1))
    ],
    case("DFT", data(2, 5, 1), opset=17, onesided=1, axis=1),
    case("DFT", data(2, 5, 1), scalar(4, np.int64), opset=17),
    case("DFT", data(2, 5, 2), scalar(7, np.int64), scalar(1, np.int64), opset=20),
    case("DFT", data(2, 5, 2), None, scalar(-2, np.int64), opset=20, inverse=1),
    case("STFT", data(2, 9, 1), scalar(2, np.int64), data(4)),
    case("STFT", data(2, 9, 1), scalar(3, np.int64), None, scalar(4, np.int64), onesided=0),
    case("STFT", data(1, 9, 2), scalar(3, np.int64), data(4), scalar(4, np.int64), onesided=0),
]
NO_GRADIENT: dict[tuple[str, str], str] = {
    **{("", op): "made of sizes alone" for op in ("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix")},
    **{
        ("", op): "draws anew each time; see test_randomness.py"
        for op in ("Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
    },
}

"""The settings as keywords of a call, with the types that Python callers give them as.

Each is declared, with its meaning, in ``settings_of_*.py``; that no keyword is missing here, and none too many, is
tested.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

from robaudit.audit.result.document import Attacker, Norm

__all__ = ["PathLike", "SettingKeywords"]

PathLike: TypeAlias = str | os.PathLike[str]
Numbers: TypeAlias = str | float | Sequence[float]


class SettingKeywords(TypedDict, total=False):
    """Keywords of :func:`robaudit.audit`, whose second argument are the data; None is not given."""

    labels: PathLike | None
    label_column: str | None
    target_column: str | None
    profile: PathLike | None
    norm: Norm | None
    eps: str | float | None
    mask: PathLike | None
    goal: str | None
    access: Attacker | None
    curve: bool | None
    secrecy: bool | None
    samples: int | None
    surrogates: Sequence[PathLike]
    make_surrogates: Sequence[str]
    resize_surrogates: bool
    matrix: bool | None
    stand_in: PathLike | None
    defense: str | Sequence[str] | None
    detector: str | None
    false_alarms: float
    certify: Sequence[str]
    top_scores: int | None
    score_decimals: int | None
    score_noise: float | None
    reject_below: float | None
    duplicates: Literal["charged", "free"] | None
    query_rate: str | None
    min_robust: float | None
    gates: Sequence[str]
    until_decided: bool
    time_budget: str | float | None
    on_inconclusive: Literal["fail", "warn", "pass"] | None
    fail_on: Literal["error", "warn", "never"] | None
    baseline: PathLike | None
    sign: PathLike | None
    verify: PathLike | None
    non_inferiority_margin: float | None
    output: Sequence[PathLike]
    mean: Numbers | None
    std: Numbers | None
    scale: float | None
    domain: Numbers | None
    feature_ranges: PathLike | None
    layout: Literal["nchw", "nhwc"] | None
    channels: Literal["rgb", "bgr"] | None
    resize: str | int | None
    crop: float | None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None
    clean_accuracy: float | None
    classes: PathLike | Sequence[str] | None
    output_name: str | None
    decision: str | None
    fixed: Mapping[str, str] | Sequence[str] | None
    input_name: str | None
    device: str | None
    batch_size: int | Literal["auto"] | None
    compile: bool
    search_precision: Literal["float32", "bfloat16", "tf32"] | None
    seed: int | None
    run_dir: PathLike | None
    fresh: bool
    trust_model: bool
    fresh_state: bool
    sandbox: bool | None
    load_timeout: float | None
    call_timeout: float | None
    memory_limit: float | None
    max_queries: int | None
    max_cost: float | None
    custom_ops: Sequence[PathLike]

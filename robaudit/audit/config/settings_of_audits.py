"""Settings of what is audited and what decides: data, threat model, attacks' helpers, gates and reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robaudit.audit.config.declaring import AS_IN_SCAN, GATES, PROFILE, SIGNED, Apart, Part, Read, Written, setting

if TYPE_CHECKING:
    from robaudit.audit.config.request import AuditRequest
    from robaudit.audit.config.value_types import (
        Attacker,
        Defended,
        Detecting,
        Duration,
        Eps,
        FalseAlarms,
        GateSpec,
        Norm,
        Paths,
        PathText,
        Positive,
        Share,
        Small,
    )

__all__ = ["DEFAULT_PROFILE", "AuditSettings"]

DEFAULT_PROFILE = "auto"
INCONCLUSIVE = "What an inconclusive gate means: fail, warn or pass. Default: fail."
JUDGED_ANEW = Apart("the journal holds evidence, and what it means is decided anew")


def _defense(asked: AuditRequest) -> str | None:
    """The defenses, whatever the places of their files."""
    from robaudit.defenses.registry import parse_chain, words_of_chain  # imports what computes

    defense = asked.settings.defense
    return None if defense is None else words_of_chain(parse_chain(defense), files=False)


def _defense_files(asked: AuditRequest) -> tuple[str, ...]:
    """The files that defenses name; their content counts."""
    from robaudit.defenses.registry import named_files, parse_chain

    chain = () if asked.settings.defense is None else parse_chain(asked.settings.defense)
    return tuple(map(str, named_files(chain)))


def _detector(asked: AuditRequest) -> str | None:
    """The detector, whatever the place of its file."""
    from robaudit.detectors.registry import parse_detector, words_of_detector

    detector = asked.settings.detector
    return None if detector is None else words_of_detector(parse_detector(detector), files=False)


def _detector_files(asked: AuditRequest) -> tuple[str, ...]:
    """The files that the detector names; their content counts."""
    from robaudit.detectors.registry import named_files

    return tuple(map(str, named_files(asked.settings.detector)))


@dataclass(frozen=True)
class AuditSettings:
    """What is audited, against what, and what decides."""

    data: PathText | None = setting(
        None,
        Path,
        help="Image folder (a subfolder a class, or with --labels FILE.csv), table (.csv, .tsv) or .npz with x "
        "and y. Default: robaudit.yaml, MODEL.data.npz or .csv, else bundled images in stability mode.",
        meaning="Image folder, table or .npz; null looks for a sidecar file, then takes the bundled images.",
        also={
            "inspect": "Image folder, table or .npz; default as in scan, else bundled images.",
            "init": AS_IN_SCAN,
            "replay": "Data of the audit, to prove certificates on. Default: where the run directory says.",
        },
        path=Read("the data"),
        identity=Part("data", lambda asked: asked.data, read="file"),
    )
    labels: PathText | None = setting(
        None,
        str,
        help="CSV of file,label; or 'model': the model's own answers are the reference (stability mode).",
        meaning="CSV of labels, or `model` for stability mode.",
        also={"init": AS_IN_SCAN},
        path=Read("the labels", words=("model",)),
        identity=(
            Part("labels", lambda asked: asked.labels, read="file"),
            Part("reference", lambda asked: asked.reference),
        ),
    )
    label_column: str | None = setting(
        None,
        str,
        help="Column with the labels, of a table or a CSV of labels. Default: found by its name.",
        meaning="Column that holds the labels, of a table or a CSV of labels; null finds it by its name.",
        also={"inspect": AS_IN_SCAN, "init": AS_IN_SCAN},
        identity=Part("label column"),
    )
    target_column: str | None = setting(
        None,
        str,
        help="Column of a table with the class to reach, for --goal given.",
        meaning="Column of a table with the class that each row is to be made to answer, for the goal `given`.",
        identity=Part("target column"),
    )
    profile: PathText = setting(
        DEFAULT_PROFILE,
        str,
        help="auto, quick, ci, standard, thorough, blackbox, labels, … or a YAML file. Default: auto.",
        meaning="Name or path of the profile.",
        completes="profiles",
        also={"init": AS_IN_SCAN},
        identity=PROFILE,
    )
    norm: Norm = setting(
        "linf",
        str,
        help="linf, l2, l1 or l0.",
        meaning="Norm of the threat model: linf, l2, l1 or l0.",
        completes=("linf", "l2", "l1", "l0"),
        identity=PROFILE,
    )
    eps: Eps = setting(
        "8/255",
        str,
        help="Radius as a fraction of the domain's width, such as 8/255.",
        meaning="Radius of the threat model, as a fraction of the domain's width.",
        identity=PROFILE,
    )
    mask: PathText | None = setting(
        None,
        Path,
        help="Only what this file marks may change: a black and white image of the model's size (white may change), "
        "or an .npy array of 0 and 1. With --eps 1 anything is allowed there, as on a sticker.",
        meaning="File that marks what may change: a black and white image of the model's size (white may change), or "
        "an `.npy` or `.npz` array of 0 and 1; null: all may.",
        path=Read("the mask"),
        identity=PROFILE,
    )
    goal: str = setting(
        "untargeted",
        str,
        help="untargeted (any wrong answer), or the class to reach: random, least-likely, second-likely, "
        "class:NAME, given, every or every:N; `robaudit explain goal` tells more.",
        meaning="What counts as a success: untargeted, random, least-likely, second-likely, class:NAME, given, every, "
        "every:N.",
        identity=PROFILE,
    )
    access: Attacker = setting(
        "white-box",
        str,
        help="The most that the attacker has of the model: white-box, scores or labels.",
        meaning="The most that the attacker has of the model: white-box (the file), scores, or labels.",
        completes=("white-box", "scores", "labels"),
        identity=PROFILE,
    )
    curve: bool | None = setting(
        None,
        bool,
        help="Search each sample's smallest distance too: accuracy at every radius.",
        meaning="Search the whole robustness curve; null: as the profile says.",
        identity=PROFILE,
    )
    secrecy: bool | None = setting(
        None,
        bool,
        help="Measure what less access costs an attacker too: accuracy at every number of queries.",
        meaning="Measure the price of secrecy, accuracy against queries for each access; null: as the profile says.",
        identity=PROFILE,
    )
    samples: Positive | None = setting(
        None,
        int,
        help="Samples to draw. Default: the profile's.",
        meaning="Samples to draw; null takes all.",
        identity=PROFILE,
    )
    surrogates: Paths = setting(
        (),
        list[Path],
        flags=("--surrogate",),
        help="Model file for transfer attacks; repeat to average logits.",
        meaning="Files of surrogate models for transfer attacks.",
        path=Read("a file that the audit loads"),
        identity=Part("surrogates", lambda asked: asked.surrogates, read="model"),
    )
    stand_in: PathText | None = setting(
        None,
        Path,
        help="Differentiable model whose gradient is taken in place of the model's own (BPDA).",
        meaning="File of a differentiable model whose gradient white-box attacks take in place of the model's own.",
        path=Read("a file that the audit loads"),
        identity=Part("stand-in", read="model"),
    )
    defense: Defended | None = setting(
        None,
        list[str],
        help="Defense in front of the model, such as jpeg:75 or bits:depth=4; repeatable, the first meets the input "
        "first; the attacker knows it. `robaudit defenses list` lists them.",
        meaning="Defense in front of the model, such as jpeg:75, or a chain such as jpeg:75+bits:depth=4 (or a list), "
        "which the attacker knows.",
        completes="defenses",
        also={"inspect": AS_IN_SCAN},
        identity=(
            Part("defense", _defense, unless=None),
            Part("files of defenses", _defense_files, read="file", unless=()),
        ),
    )
    detector: Detecting | None = setting(
        None,
        str,
        help="Detector beside the model, such as squeezing, dknn:nodes=NAME or file:PATH; what it rejects is no "
        "success; the attacker knows it. `robaudit detectors list` lists them.",
        meaning="Detector beside the model, such as squeezing or file:PATH: inputs that it rejects have no answer, and "
        "an attack succeeds where it accepts and the model is wrong.",
        completes="detectors",
        identity=(
            Part("detector", _detector, unless=None),
            Part("files of the detector", _detector_files, read="file", unless=()),
        ),
    )
    false_alarms: FalseAlarms = setting(
        0.05,
        float,
        help="Share of clean inputs that the detector may reject; its threshold is set on samples apart from those "
        "audited. Default: 0.05.",
        meaning="Share of clean inputs that the detector may reject; its threshold is set on samples of the data apart "
        "from those audited.",
        metavar="P",
        identity=Part("false alarms", unless=0.05),
    )
    certify: tuple[str, ...] = setting(
        (),
        list[str],
        flags=("--certify",),
        help="Certificate to prove for each sample, such as interval; repeatable. `robaudit explain` lists them.",
        meaning="Certificates to prove for each sample, beside those of the profile.",
        variable=False,
        identity=PROFILE,
    )
    min_robust: Share | None = setting(
        None,
        float,
        help="Gate: least robust accuracy that passes (exact one-sided interval).",
        meaning="Least robust accuracy that passes: short for a gate on robust_accuracy.",
        also={"gate": "Least robust accuracy that passes; default: the run's own gates."},
        identity=GATES,
    )
    gates: tuple[GateSpec, ...] = setting(
        (),
        list[str],
        flags=("--gate",),
        help="Gate on any metric: 'attack.square.success_rate<=0.2', 'check.parity'; repeatable.",
        meaning="Gates; one on the same metric replaces the profile's.",
        variable=False,
        also={
            "gate": "Gate to decide too, such as 'robust_accuracy>=0.6'; it replaces the run's on the same metric; "
            "repeatable.",
            "diff": "Gate on the comparison: 'newly_broken<=0', 'clean_regression<=0.01'; repeatable.",
        },
        identity=GATES,
    )
    until_decided: bool = setting(
        False,
        bool,
        help="End when the gates are decided; --samples are the most then.",
        meaning="End when the gates are decided; `samples` are the most that are audited.",
        identity=Part(
            "until decided",
            lambda asked: (
                [g.model_dump(mode="json") for g in asked.profile.gates] if asked.settings.until_decided else None
            ),
            unless=None,
        ),
    )
    time_budget: Duration | None = setting(
        None,
        str,
        help="Begin nothing new after this time, such as 10m; the report says what was not tried.",
        meaning="Time after which nothing new is begun, such as 10m; null: no limit. What is not tried is reported as "
        "such.",
        identity=Apart("what was not tried in time is tried when the run goes on"),
    )
    on_inconclusive: Literal["fail", "warn", "pass"] = setting(
        "fail",
        str,
        help="What an inconclusive gate means: fail, warn or pass.",
        meaning="What an inconclusive gate means for the exit code: fail, warn or pass.",
        completes=("fail", "warn", "pass"),
        also={"gate": INCONCLUSIVE, "diff": INCONCLUSIVE},
        identity=JUDGED_ANEW,
    )
    fail_on: Literal["error", "warn", "never"] = setting(
        "error",
        str,
        help="Gates that decide the exit code: error (level), warn (all), never; an invalid audit is 3.",
        meaning="Gates that decide the exit code: those of level error, all, or none; an invalid audit is 3 in any "
        "case.",
        also={
            "gate": "Gates that decide the exit code: error (level), warn (all), never; an invalid audit is 3. "
            "Default: error."
        },
        identity=JUDGED_ANEW,
    )
    baseline: PathText | None = setting(
        None,
        Path,
        help="Result of an earlier audit of the same data, to compare with, sample by sample.",
        meaning="Result of an earlier audit of the same data, to compare with: a JSON file or a run directory.",
        path=Read("the baseline"),
        also={"gate": "Earlier result to compare with, for gates on the regression."},
        identity=JUDGED_ANEW,
    )
    sign: PathText | None = setting(
        None,
        Path,
        help="Sign the result with this Ed25519 private key: RESULT.sig beside each.",
        meaning="Ed25519 private key that the result is signed with, in PEM or OpenSSH's format; null: it is not "
        "signed.",
        path=Read("the key"),
        identity=Apart("results are signed when they are written"),
    )
    verify: PathText | None = setting(
        None,
        Path,
        help="Refuse a baseline that is not signed by this Ed25519 public key.",
        meaning="Ed25519 public key that the baseline must be signed with, and every result that a command reads; "
        "null: none.",
        path=Read("the public key"),
        also={"gate": SIGNED, "diff": SIGNED, "replay": SIGNED},
        identity=Apart("signatures are verified when results are read"),
    )
    non_inferiority_margin: Small | None = setting(
        None,
        float,
        help="Gate: largest loss of robust accuracy against the baseline that passes, such as 0.02.",
        meaning="Largest loss of robust accuracy against the baseline that passes: short for a gate on regression.",
        also={"diff": "Largest loss of robust accuracy that passes, such as 0.02: the exit code says."},
        identity=GATES,
    )
    output: Paths = setting(
        (),
        list[Path],
        flags=("--output", "-o"),
        help="Report file ({suffixes}); repeatable.",
        meaning="Reports to write; the suffix picks the format.",
        completes="reports",
        path=Written(),
        also={"diff": "Report of the new audit with the comparison ({suffixes}); repeatable."},
        identity=Apart("reports are made from the result"),
    )

"""``robaudit scan``: its flags, and the audit that they ask for."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import directions, formats, norms, profiles, reports
from robaudit.cli.confine import FLAG, HELP, sandbox_mode
from robaudit.cli.request import read_files, to_request
from robaudit.report.registry import suffixes

__all__ = ["scan"]

INPUT = "What the input means"
RUN = "How it runs"


def scan(
    model: Annotated[Path, typer.Argument(help="ONNX or TorchScript file of a classifier.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Image folder (a subfolder a class, or with --labels FILE.csv), table (.csv, .tsv) or .npz with x "
            "and y. Default: robaudit.yaml, MODEL.data.npz or .csv, else bundled images in stability mode."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="CSV of file,label; or 'model': the model's own answers are the reference (stability mode)."),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(help="Column with the labels, of a table or a CSV of labels. Default: found by its name."),
    ] = None,
    target_column: Annotated[
        str | None, typer.Option(help="Column of a table with the class to reach, for --goal given.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="quick, ci, standard, thorough, … or a YAML file. Default: quick.", autocompletion=profiles),
    ] = None,
    norm: Annotated[str | None, typer.Option(help="linf, l2, l1 or l0.", autocompletion=norms)] = None,
    eps: Annotated[str | None, typer.Option(help="Radius as a fraction of the domain's width, such as 8/255.")] = None,
    goal: Annotated[
        str | None,
        typer.Option(
            help="untargeted (any wrong answer), or the class to reach: random, least-likely, second-likely, "
            "class:NAME, given, every or every:N; `robaudit explain goal` tells more."
        ),
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Search each sample's smallest distance too: accuracy at every radius.")
    ] = False,
    samples: Annotated[int | None, typer.Option(help="Samples to draw. Default: the profile's.")] = None,
    surrogate: Annotated[
        list[Path] | None, typer.Option(help="Model file for transfer attacks; repeat to average logits.")
    ] = None,
    stand_in: Annotated[
        Path | None,
        typer.Option(help="Differentiable model whose gradient is taken in place of the model's own (BPDA)."),
    ] = None,
    min_robust: Annotated[
        float | None, typer.Option(help="Gate: least robust accuracy that passes (exact one-sided interval).")
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(help="Gate on any metric: 'attack.square.success_rate<=0.2', 'check.parity'; repeatable."),
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="End when the gates are decided; --samples are the most then."),
    ] = False,
    time_budget: Annotated[
        str | None,
        typer.Option(help="Begin nothing new after this time, such as 10m; the report says what was not tried."),
    ] = None,
    on_inconclusive: Annotated[
        str | None,
        typer.Option(help="What an inconclusive gate means: fail, warn or pass.", autocompletion=directions),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(help="Gates that decide the exit code: error (level), warn (all), never; an invalid audit is 3."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Result of an earlier audit of the same data, to compare with, sample by sample."),
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(help="Sign the result with this Ed25519 private key: RESULT.sig beside each.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Refuse a baseline that is not signed by this Ed25519 public key.")
    ] = None,
    non_inferiority_margin: Annotated[
        float | None,
        typer.Option(help="Gate: largest loss of robust accuracy against the baseline that passes, such as 0.02."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help=f"Report file ({', '.join(suffixes())}); repeatable.", autocompletion=reports
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean per channel, subtracted after --scale.", rich_help_panel=INPUT)
    ] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation per channel.", rich_help_panel=INPUT)] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Factor from [0, 1] to the model's units, such as 255.", rich_help_panel=INPUT),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="Lowest and highest valid value, such as 0,1.", rich_help_panel=INPUT),
    ] = None,
    feature_ranges: Annotated[
        Path | None,
        typer.Option(
            help="CSV (name, low, high, immutable, integer) or YAML with the range of each feature of a table. "
            "Default: MODEL.ranges.csv, else from the data.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="nchw or nhwc.", rich_help_panel=INPUT)] = None,
    channels: Annotated[str | None, typer.Option(help="rgb or bgr.", rich_help_panel=INPUT)] = None,
    resize: Annotated[
        str | None, typer.Option(help="Size of the model's images: 224 or 224x224.", rich_help_panel=INPUT)
    ] = None,
    crop: Annotated[
        float | None,
        typer.Option(help="Share of the shorter side that the centre crop keeps.", rich_help_panel=INPUT),
    ] = None,
    interpolation: Annotated[
        str | None, typer.Option(help="bicubic, bilinear, lanczos or nearest.", rich_help_panel=INPUT)
    ] = None,
    clean_accuracy: Annotated[
        float | None,
        typer.Option(help="Clean accuracy that you expect; a check compares it.", rich_help_panel=INPUT),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="Class names in the order of the model's outputs, a file with one a line.", rich_help_panel=INPUT
        ),
    ] = None,
    output_name: Annotated[
        str | None,
        typer.Option(
            help="Output with the class scores. Default: found by name, shape and graph.", rich_help_panel=INPUT
        ),
    ] = None,
    decision: Annotated[
        str | None,
        typer.Option(
            help="Which score decides: largest or smallest; of one number above:T or below:T, where the second class "
            "begins. Default: found.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Value of an input that is not attacked: a number, a list, zeros, ones, an .npy file; repeatable.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    input_name: Annotated[
        str | None, typer.Option(help="The attacked input, where there are several.", rich_help_panel=INPUT)
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUN)] = None,
    batch_size: Annotated[str | None, typer.Option(help="A number, or auto: measured.", rich_help_panel=RUN)] = None,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the twin (torch.compile): minutes at first; for GPUs.", rich_help_panel=RUN
        ),
    ] = False,
    search_precision: Annotated[
        str | None,
        typer.Option(help="Of white-box searches: float32, bfloat16 or tf32 (GPU).", rich_help_panel=RUN),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.", rich_help_panel=RUN)] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of journal, evidence and result.", rich_help_panel=RUN),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard what the run directory holds.", rich_help_panel=RUN)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and stop.", rich_help_panel=RUN)
    ] = False,
    trust_model: Annotated[
        bool,
        typer.Option(
            "--trust-model",
            help="Load a TorchScript archive whose code is not known to be harmless, or a torch.export archive (.pt2).",
            rich_help_panel=RUN,
        ),
    ] = False,
    fresh_state: Annotated[
        bool,
        typer.Option(
            "--fresh-state",
            help="Undo before each call what earlier calls have left behind in the model, so that every answer is the "
            "first after loading (TorchScript, torch.export).",
            rich_help_panel=RUN,
        ),
    ] = False,
    sandbox: Annotated[bool | None, typer.Option(FLAG, help=HELP, show_default=False, rich_help_panel=RUN)] = None,
    load_timeout: Annotated[
        float,
        typer.Option(help="Seconds for loading the file and its first run; 0: no limit.", rich_help_panel=RUN, min=0),
    ] = 300.0,
    call_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds for one call of the model, more where it is known to be slow: an input that takes longer is "
            "not asked again, and told. 0: no limit.",
            rich_help_panel=RUN,
            min=0,
        ),
    ] = 60.0,
    memory_limit: Annotated[
        float | None,
        typer.Option(help="GB of memory that the audit may take. Default: what is free.", rich_help_panel=RUN, min=0.1),
    ] = None,
    custom_ops: Annotated[
        list[Path] | None,
        typer.Option(
            help="Library of custom operators for ONNX Runtime, whose code is run; repeatable.", rich_help_panel=RUN
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text or json.", autocompletion=formats)
    ] = "text",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict alone.")] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; list every sample.")] = 0,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No live progress on stderr.")] = False,
) -> None:
    """Audit a model file: run the attacks of a profile, check the audit itself, report, and gate."""
    import os

    from robaudit.audit.config.resolve import resolve_settings
    from robaudit.cli.output import chosen_format, config_words, say
    from robaudit.errors import UsageError
    from robaudit.report.outputs import check_output, check_outputs

    chosen_format(format)
    flags = {
        "data": data,
        "labels": labels,
        "label_column": label_column,
        "target_column": target_column,
        "feature_ranges": feature_ranges,
        "profile": profile,
        "norm": norm,
        "eps": eps,
        "goal": goal,
        "curve": curve or None,
        "samples": samples,
        "surrogates": surrogate,
        "stand_in": stand_in,
        "min_robust": min_robust,
        "gates": gate,
        "until_decided": until_decided or None,
        "time_budget": time_budget,
        "on_inconclusive": on_inconclusive,
        "fail_on": fail_on,
        "baseline": baseline,
        "sign": sign,
        "verify": verify,
        "non_inferiority_margin": non_inferiority_margin,
        "output": output,
        "mean": mean,
        "std": std,
        "scale": scale,
        "domain": domain,
        "layout": layout,
        "channels": channels,
        "resize": resize,
        "crop": crop,
        "interpolation": interpolation,
        "clean_accuracy": clean_accuracy,
        "output_name": output_name,
        "decision": decision,
        "fresh_state": fresh_state or None,
        "input_name": input_name,
        "fixed": input,
        "classes": classes,
        "device": device,
        "batch_size": batch_size,
        "compile": compile or None,
        "search_precision": search_precision,
        "seed": seed,
        "run_dir": run_dir,
    }
    resolved = resolve_settings(flags, os.environ, model)
    for path in resolved.settings.output:
        check_output(path)
    process = {
        "sandbox": sandbox_mode(sandbox, trust_model=trust_model),
        "load_timeout": load_timeout,
        "call_timeout": call_timeout,
        "memory_limit": memory_limit,
        "custom_ops": custom_ops,
    }
    request = to_request(model, resolved, trust_model=trust_model, command=_command(resolved.sources), process=process)
    check_outputs(resolved.settings.output, read_files(request, resolved))
    if dry_run and format == "json":
        raise UsageError("--dry-run tells in words alone; leave --format json out")
    if dry_run:
        from robaudit.cli.preview import preview

        folder = resolved.settings.run_dir
        preview(request, None if folder is None else Path(folder), fresh, resolved.settings.output)
        if resolved.config_file is not None and not quiet:
            say(config_words(resolved.config_file))
        return

    from robaudit.cli.audit import audit_and_report

    code = audit_and_report(
        request,
        resolved.settings,
        as_json=format == "json",
        quiet=quiet,
        live=not no_progress,
        verbose=verbose > 0,
        fresh=fresh,
        config=resolved.config_file,
    )
    raise typer.Exit(code)


def _command(sources: Mapping[str, str]) -> str:
    """The command as it was typed, with the variables of the environment that it took settings from."""
    import os

    origins = sorted(set(sources.values()))
    used = [name for name in (origin.removeprefix("environment ") for origin in origins) if name in os.environ]
    variables = [f"{name}={shlex.quote(os.environ[name])}" for name in used]
    return " ".join([*variables, shlex.join(["robaudit", *sys.argv[1:]])])

"""``robaudit init``: a commented robaudit.yaml for a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["init"]


def init(
    model: Annotated[Path, typer.Argument(help="ONNX or TorchScript file of a classifier.")],
    data: Annotated[Path | None, typer.Option(help="As in scan.")] = None,
    labels: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    label_column: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    feature_ranges: Annotated[Path | None, typer.Option(help="As in scan.")] = None,
    mean: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    std: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    scale: Annotated[float | None, typer.Option(help="As in scan.")] = None,
    domain: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    layout: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    channels: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    resize: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    classes: Annotated[Path | None, typer.Option(help="As in scan.")] = None,
    profile: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    output_name: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    decision: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    input: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="As in scan.")] = None,
    input_name: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    trust_model: Annotated[bool, typer.Option("--trust-model", help="As in scan.")] = False,
    fresh_state: Annotated[bool, typer.Option("--fresh-state", help="As in scan.")] = False,
    custom_ops: Annotated[list[Path] | None, typer.Option(help="As in scan.")] = None,
    load_timeout: Annotated[float, typer.Option(help="As in scan.", min=0)] = 300.0,
    call_timeout: Annotated[float, typer.Option(help="As in scan.", min=0)] = 60.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a robaudit.yaml that is there.")] = False,
) -> None:
    """Write a commented robaudit.yaml beside a model, from what the file says of itself."""
    from robaudit.audit.config.resolve import CONFIG_NAME, resolve_settings
    from robaudit.audit.inspection.survey import survey
    from robaudit.audit.process.persist import persistently
    from robaudit.audit.run.limits import confinement_of
    from robaudit.cli.confine import sandbox_mode
    from robaudit.cli.output import model_says, say
    from robaudit.cli.request import to_request
    from robaudit.errors import UsageError
    from robaudit.files import write_atomic
    from robaudit.report.starter import starter
    from robaudit.target.sniff import model_format

    model_format(model)
    path = model.with_name(CONFIG_NAME)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; --force overwrites it")
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written there")
    flags = {
        "data": data,
        "labels": labels,
        "label_column": label_column,
        "feature_ranges": feature_ranges,
        "mean": mean,
        "std": std,
        "scale": scale,
        "domain": domain,
        "layout": layout,
        "channels": channels,
        "resize": resize,
        "classes": classes,
        "profile": profile,
        "output_name": output_name,
        "decision": decision,
        "fresh_state": fresh_state or None,
        "input_name": input_name,
        "fixed": input,
    }
    resolved = resolve_settings(flags, os.environ, model)
    process = {
        "custom_ops": custom_ops,
        "sandbox": sandbox_mode(None, trust_model=trust_model),
        "load_timeout": load_timeout,
        "call_timeout": call_timeout,
    }
    request = to_request(model, resolved, trust_model=trust_model, command="", process=process)
    found = persistently(survey, request, confinement=confinement_of(request), about=model, told=model_says)

    def beside(file: Path | str | None) -> str | None:
        return None if file is None else os.path.relpath(file, path.parent)

    own = Path(resolved.settings.profile)
    stated = {
        "data": beside(request.data),
        "labels": "model" if resolved.settings.labels == "model" else beside(request.labels),
        "label-column": request.label_column,
        "feature-ranges": beside(request.feature_ranges),
        "resize": resize,
        "classes": beside(classes),
        "decision": resolved.settings.decision,
        "fresh-state": resolved.settings.fresh_state or None,
        "profile": beside(own) if own.is_file() else str(own),
    }
    write_atomic(path, starter(found, stated, model.name))
    say(f"wrote {path}")
    for sentence in found.meaning.assumed:
        say(f"robaudit: warning: {sentence}")

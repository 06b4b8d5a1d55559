"""``robaudit inspect``: what the file is, what its input means, what an audit would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import formats
from robaudit.cli.confine import Sandbox, sandbox_mode

__all__ = ["inspect"]


def inspect(
    model: Annotated[Path, typer.Argument(help="ONNX or TorchScript file of a classifier.")],
    data: Annotated[
        Path | None, typer.Option(help="Image folder, table or .npz; default as in scan, else bundled images.")
    ] = None,
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
    output_name: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    decision: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    input: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="As in scan.")] = None,
    input_name: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    device: Annotated[str | None, typer.Option(help="As in scan.")] = None,
    trust_model: Annotated[bool, typer.Option("--trust-model", help="As in scan.")] = False,
    fresh_state: Annotated[bool, typer.Option("--fresh-state", help="As in scan.")] = False,
    sandbox: Sandbox = None,
    load_timeout: Annotated[float, typer.Option(help="As in scan.", min=0)] = 300.0,
    call_timeout: Annotated[float, typer.Option(help="As in scan.", min=0)] = 60.0,
    memory_limit: Annotated[float | None, typer.Option(help="As in scan.", min=0.1)] = None,
    custom_ops: Annotated[list[Path] | None, typer.Option(help="As in scan.")] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text or json.", autocompletion=formats)
    ] = "text",
) -> None:
    """Show inputs, outputs, operators, preprocessing, gradient, parity, speed, and the cost of each profile."""
    import os

    from robaudit.audit.config.resolve import resolve_settings
    from robaudit.audit.inspection.survey import survey
    from robaudit.audit.process.persist import persistently
    from robaudit.audit.run.limits import confinement_of
    from robaudit.cli.output import chosen_format, config_words, model_says, say, write_json, write_lines
    from robaudit.cli.request import to_request
    from robaudit.report.inspection import inspection_lines

    chosen_format(format)
    flags = {
        "data": data,
        "label_column": label_column,
        "feature_ranges": feature_ranges,
        "mean": mean,
        "std": std,
        "scale": scale,
        "domain": domain,
        "layout": layout,
        "channels": channels,
        "resize": resize,
        "device": device,
        "output_name": output_name,
        "decision": decision,
        "fresh_state": fresh_state or None,
        "input_name": input_name,
        "fixed": input,
        "classes": classes,
    }
    resolved = resolve_settings(flags, os.environ, model)
    process = {
        "sandbox": sandbox_mode(sandbox, trust_model=trust_model),
        "load_timeout": load_timeout,
        "call_timeout": call_timeout,
        "memory_limit": memory_limit,
        "custom_ops": custom_ops,
    }
    request = to_request(model, resolved, trust_model=trust_model, command="", process=process)
    found = persistently(survey, request, confinement=confinement_of(request), about=model, told=model_says)
    if resolved.config_file is not None:
        say(config_words(resolved.config_file))
    if format == "json":
        write_json(found.model_dump(mode="json"))
        return
    write_lines(inspection_lines(found))

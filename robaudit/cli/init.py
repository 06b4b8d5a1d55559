"""``robaudit init``: a commented robaudit.yaml for a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.confine import warn_unconfined
from robaudit.cli.settings import Given, takes_settings

__all__ = ["init"]


@takes_settings("init")
def init(
    model: Annotated[Path, typer.Argument(help="ONNX or TorchScript file of a classifier.")],
    given: Given,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a robaudit.yaml that is there.")] = False,
) -> None:
    """Write a commented robaudit.yaml beside a model, from what the file says of itself."""
    from robaudit.audit.config.resolve import CONFIG_NAME, resolve_settings
    from robaudit.audit.inspection.survey import survey
    from robaudit.audit.process.persist import persistently
    from robaudit.audit.run.asking import request_of
    from robaudit.audit.run.limits import confinement_of
    from robaudit.cli.output import model_says, say
    from robaudit.errors import UsageError
    from robaudit.files import write_atomic
    from robaudit.report.starter import starter
    from robaudit.target.files.sniff import model_format

    model_format(model)
    path = model.with_name(CONFIG_NAME)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; --force overwrites it")
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written there")
    resolved = resolve_settings(given, os.environ, model)
    warn_unconfined(resolved.settings)
    request = request_of(model, resolved)
    found = persistently(survey, request, confinement=confinement_of(request), about=model, told=model_says)

    def beside(file: Path | str | None) -> str | None:
        return None if file is None else os.path.relpath(file, path.parent)

    own = Path(resolved.settings.profile)
    stated = {
        "data": beside(request.data),
        "labels": "model" if resolved.settings.labels == "model" else beside(request.labels),
        "label-column": request.settings.label_column,
        "feature-ranges": beside(request.feature_ranges),
        "resize": given["resize"],
        "classes": beside(given["classes"]),
        "decision": resolved.settings.decision,
        "fresh-state": resolved.settings.fresh_state or None,
        "profile": beside(own) if own.is_file() else str(own),
    }
    write_atomic(path, starter(found, stated, model.name))
    say(f"wrote {path}")
    for sentence in found.meaning.assumed:
        say(f"robaudit: warning: {sentence}")

"""``robaudit replay``: ask a file again about the stored evidence; an ONNX file without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import formats
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.settings import NOTHING, Given, takes_settings
from robaudit.cli.trust import trusted

__all__ = ["replay"]


@takes_settings("replay")
def replay(
    run: Annotated[Path, typer.Argument(help="Run directory, or a result's JSON with the evidence beside it.")],
    model: Annotated[
        Path | None, typer.Option(help="File to ask. Default: the audited one, which must not have changed.")
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Value of an input that is not attacked. Default: the audit's."),
    ] = None,
    given: Given = NOTHING,
    all_proofs: Annotated[
        bool,
        typer.Option(
            "--all-proofs", help="Prove all certificates again. Default: as many, at random, as fit a minute."
        ),
    ] = False,
    format: Annotated[str, typer.Option("--format", "-f", help="text or json.", autocompletion=formats)] = "text",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every example.")] = False,
) -> None:
    """Check that every stored adversarial example still fools the file, and that certificates are proved again; exit
    code 1 if one does not hold, 3 if the file does not answer."""
    from robaudit.audit.config.levels import settings_of_flags
    from robaudit.audit.process.confinement import Confinement
    from robaudit.audit.process.persist import persistently
    from robaudit.audit.process.sandbox import mode_of
    from robaudit.audit.replay.replaying import replay as replay_run
    from robaudit.audit.replay.request import ReplayRequest
    from robaudit.audit.run.limits import memory_allowed
    from robaudit.cli.output import chosen_format, columns, for_a_reader, model_says, write_json, write_lines
    from robaudit.report.replay import replay_lines

    chosen_format(format)
    settings = settings_of_flags(given)
    device = _device(given["device"] or "cpu")
    request = ReplayRequest(
        run=run,
        model=model,
        inputs=_values(input or ()),
        device=device,
        data=None if settings.data is None else Path(settings.data),
        all_proofs=all_proofs,
        trust_model=settings.trust_model,
        custom_ops=tuple(map(Path, settings.custom_ops)),
        trusted=trusted(settings.verify),
    )
    warn_unconfined(settings)
    confinement = Confinement(
        seconds=None,
        call=settings.call_timeout or None,
        memory=memory_allowed(settings.memory_limit),
        gpu=device == "cuda",
        sandbox=mode_of(settings.sandbox, trust_model=settings.trust_model),
    )
    found = persistently(replay_run, request, confinement=confinement, about=model or run, told=model_says)
    with for_a_reader():
        if format == "json":
            write_json(found.model_dump(mode="json"))
        else:
            write_lines(replay_lines(found, every=verbose, width=columns()))
    raise typer.Exit(found.exit_code)


def _device(name: str) -> str:
    from robaudit.errors import UsageError

    if name not in ("cpu", "cuda"):
        raise UsageError(f"--device is cpu or cuda, not {name!r}")
    return name


def _values(texts: Sequence[str]) -> dict[str, str]:
    """Values of inputs, by name."""
    from robaudit.errors import UsageError

    pairs = [text.partition("=") for text in texts]
    for name, sign, _ in pairs:
        if not sign or not name.strip():
            raise UsageError(f"--input is NAME=VALUE, not {name!r}")
    return {name.strip(): text.strip() for name, _, text in pairs}

"""The command line. Each command is a file; nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import click
import typer

from robaudit import __version__
from robaudit.cli import demo, doctor, explain, gate, inspect, profile, report, scan
from robaudit.errors import RobauditError

__all__ = ["app", "main"]

app = typer.Typer(
    name="robaudit",
    help="Audit how easily a finished ONNX or TorchScript classifier is fooled, and whether the answer can be trusted.",
    epilog="Exit codes: 0 gates pass, 1 a gate failed, 2 usage, 3 audit incomplete or invalid, 4 inconclusive "
    "at this sample size, 130 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"robaudit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command("scan")(scan.scan)
app.command("inspect")(inspect.inspect)
app.command("report")(report.report)
app.command("gate")(gate.gate)
app.command("explain")(explain.explain)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(profile.app, name="profile")


def main() -> None:
    """Entry point of the ``robaudit`` command: errors become one sentence and an exit code, never a traceback."""
    # Threads that spin while they wait make small models ten times slower where other programs use the processors.
    # The runtime reads this once, before torch is imported; workers inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False)
    except RobauditError as error:
        _say(str(error))
        code = error.exit_code
    except click.ClickException as error:
        _say(error.format_message())
        code = 2
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except Exception as error:
        _say(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}; please report it")
        code = 3
    sys.exit(code if isinstance(code, int) else 0)


def _say(message: str) -> None:
    from robaudit.report.words import plain

    sys.stderr.write(f"robaudit: error: {plain(message, 2000)}\n")


if __name__ == "__main__":
    main()

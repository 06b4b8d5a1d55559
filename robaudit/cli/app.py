"""The commands. Each is a file; nothing heavy is imported before one runs."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Annotated

import typer

from robaudit import __version__
from robaudit.cli import (
    defenses,
    demo,
    detectors,
    diff,
    doctor,
    explain,
    gate,
    init,
    inspect,
    profile,
    replay,
    report,
    scan,
    sign,
    train_purifier,
)
from robaudit.errors import RobauditError, UsageError, path_words
from robaudit.report.nearest import adapt
from robaudit.streams import hold_standard

__all__ = ["app", "run"]

COMMAND_LINE_ERROR = typer.BadParameter.__mro__[2]
"""Base of what the parser raises; newer versions of typer carry click inside them, so click is not imported."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

app = typer.Typer(
    name="robaudit",
    help="Audit how easily a finished ONNX or TorchScript classifier is fooled, and whether the answer can be trusted.",
    epilog="Exit codes: 0 no gate failed, or none decides, 1 a gate failed, 2 usage, 3 audit incomplete or invalid, "
    "4 inconclusive at this sample size, 130 interrupted.",
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
app.command("init")(init.init)
app.command("report")(report.report)
app.command("gate")(gate.gate)
app.command("diff")(diff.diff)
app.command("replay")(replay.replay)
app.command("sign")(sign.sign)
app.command("verify")(sign.verify)
app.command("train-purifier")(train_purifier.train_purifier)
app.command("explain")(explain.explain)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(profile.app, name="profile")
app.add_typer(defenses.app, name="defenses")
app.add_typer(detectors.app, name="detectors")


def run() -> int:
    """Run what the command line asks for; errors become one sentence, never a traceback.

    Returns:
        The exit code.
    """
    # Threads that spin while they wait make small models ten times slower where other programs use the processors.
    # The runtime reads this once, before torch is imported; workers inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Else the processes that are started would import whatever lies beside a model in the working directory.
    os.environ["PYTHONSAFEPATH"] = "1"
    hold_standard()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: what is written there is for nobody
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process lives
    adapt(sys.stdout, sys.stderr)
    try:
        _look_around()
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except RobauditError as error:
        _say(str(error))
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except SystemExit as error:  # the parser's own: completion, or 1 for a closed pipe, which is our code for a gate
        code = 3 if error.code == 1 else error.code
    except OSError as error:
        code = _unwritable(error)
    except Exception as error:
        code = _unexpected(error)
    return code if isinstance(code, int) else 0


def _look_around() -> None:
    """Paths are relative to a working directory that is there.

    Raises:
        UsageError: it was removed.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("the working directory is not there any more; change into one that is") from error


def _unwritable(error: OSError) -> int:
    """A reader that left early hears nothing; a sentence tells of a full disk, or of a path that can be none."""
    if not isinstance(error, BrokenPipeError):
        if (words := path_words(error)) is not None:
            _say(words)
            return 2
        if error.filename is not None or error.errno not in FULL:
            return _unexpected(error)
        _say(f"the output cannot be written: {error.strerror}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else it is flushed again at exit
    return 3


def _unexpected(error: Exception) -> int:
    """A usage error of the parser is 2; a command without arguments has shown its help. Anything else is ours: 3."""
    if isinstance(error, COMMAND_LINE_ERROR):
        if message := error.format_message():  # type: ignore[attr-defined]
            _say(f"{message.rstrip('.')}; see --help")
        return 2
    _say(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}; please report it")
    return 3


def _say(message: str) -> None:
    from robaudit.report.words import plain

    with contextlib.suppress(OSError):  # the exit code tells it all the same
        sys.stderr.write(f"robaudit: error: {plain(message, 2000)}\n")

"""Calls a function in a confined process of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from robaudit.audit.process.child import Child
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.messages import (
    Answered,
    CutOffError,
    Failed,
    Underway,
    no_answer,
    not_loaded,
    too_late,
    unexpected,
)
from robaudit.errors import AuditError, RobauditError, UsageError
from robaudit.target.running.watch import Watch

__all__ = ["in_child"]

T = TypeVar("T")


def in_child(
    function: Callable[..., T],
    *arguments: Any,
    confinement: Confinement,
    about: object,
    told: Callable[[str], None] = lambda _: None,
    watched: bool = False,
    heard: Callable[[Any], None] | None = None,
) -> T:
    """Call a function in a confined process of its own.

    Args:
        function: found by name; ``arguments`` and what it returns are picklable.
        confinement: for the process; its time is that of the whole call, or until the function begins a part that can
            be skipped, or asks samples.
        about: the file that it is about, for errors.
        told: of each line that the process prints, cleaned and cut.
        watched: the function calls a model, and takes a ``watch`` that it tells of that.
        heard: called with what the function tells before it returns, through the ``tell`` that it takes then.

    Raises:
        UsageError: the function raised it.
        CutOffError: it crashed, or the model hung, at something that the watch was notified of.
        AuditError: it failed otherwise, crashed, or took more time or memory than it may.
    """
    answering = partial(_answer, watched=watched, telling=heard is not None)
    child = Child(answering, (function, arguments), confinement)
    begun = False
    try:
        while True:
            if child.connection.poll(0.05):
                message = child.connection.recv()
                if heard is None or not isinstance(message, Underway):
                    break
                heard(message.value)
                continue
            child.watch()
            for line in child.said.lines():
                told(line)
            at_work = child.pulse.at_work()
            begun = begun or bool(at_work.part or at_work.samples)
            if child.late() and not begun:
                child.process.kill()
                at_work, seconds = child.pulse.at_work(), confinement.seconds or 0
                if at_work.auxiliary:
                    raise CutOffError(about, too_late("it", seconds), at_work)
                raise AuditError(too_late(about, seconds, at_work))
            if child.pulse.overdue:
                child.process.kill()
                at_work = child.pulse.at_work()
                raise CutOffError(about, no_answer(at_work), at_work)
            if not child.process.is_alive() and not child.connection.poll(0):
                raise EOFError
    except (EOFError, OSError) as error:
        child.process.join()
        at_work, how = child.pulse.at_work(), child.ended()
        if begun or at_work.samples or at_work.auxiliary:
            raise CutOffError(about, f"{how} {at_work.words}".strip(), at_work) from error
        raise AuditError(not_loaded(about, how, at_work)) from error
    finally:
        child.close()
        for line in child.said.rest():
            told(line)
    if isinstance(message, Failed):
        raise (UsageError if message.usage else AuditError)(message.message)
    value: T = message.value
    return value


def _answer(
    connection: Connection,
    watch: Watch,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    watched: bool,
    telling: bool,
) -> None:
    named: dict[str, Any] = {"watch": watch} if watched else {}
    if telling:
        named["tell"] = lambda value: connection.send(Underway(value))
    try:
        connection.send(Answered(function(*arguments, **named)))
    except RobauditError as error:
        connection.send(Failed(str(error), error.exit_code == 2))
    except Exception as error:
        connection.send(unexpected(error))

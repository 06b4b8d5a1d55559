from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import quick_start
from command_line import Command, Outcome

os.environ.setdefault("COLUMNS", "100")

# The same examples in every run, so that a change fails only on what it changed; others are sought with
# `pytest --hypothesis-profile explore`.
hypothesis.settings.register_profile("fixed", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False)
hypothesis.settings.load_profile("fixed")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # pytest-xdist runs a process a core


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key of journals is not the developer's own."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Real models that lie beside the project for its developers; users do not have them."""
    folder = SHARED / "models"
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED on real models: {folder} is missing")
    return folder


@pytest.fixture
def no_settings(monkeypatch) -> None:
    """Nothing from the environment that the tests were started in."""
    for name in [n for n in os.environ if n.startswith("ROBAUDIT_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _quick_start() -> Iterator[None]:
    """Processes with a model start in a tenth of a second."""
    context = quick_start.prepared()
    with pytest.MonkeyPatch.context() as patch:
        if context is not None:
            patch.setattr("robaudit.audit.process.child.starting_context", lambda: context)
        yield


@pytest.fixture
def no_child(monkeypatch) -> None:
    """Models are loaded in this process, not in one of their own, whose start takes seconds."""
    monkeypatch.setattr(
        "robaudit.audit.process.calling.in_child", lambda function, *arguments, **_: function(*arguments)
    )


@pytest.fixture
def robaudit(monkeypatch, capfd) -> Command:
    """The command line, in this process."""
    from robaudit.cli.main import main

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["robaudit", *map(str, arguments)])
        capfd.readouterr()
        handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        hook = sys.unraisablehook
        try:
            with pytest.raises(SystemExit) as caught:
                main()
        finally:
            sys.unraisablehook = hook
            for number, handler in handled.items():
                signal.signal(number, handler)
        return Outcome(int(caught.value.code or 0), *capfd.readouterr())

    return run

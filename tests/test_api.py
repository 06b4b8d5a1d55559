"""The Python interface: the same audit as the command line's, as a function that prints nothing."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from run_kit import INPUT, make_data, make_onnx, scan

import robaudit
from robaudit.audit.journal.events import AttackFinished, Finished, Note
from robaudit.audit.run import supervisor

PAGE = Path(__file__).parents[1] / "docs" / "python-api.md"
PROFILE = "name: p\nattacks: [{id: fgsm}, {id: apgd-ce, steps: 8}]\nchecks: [clean, evidence]\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "p.yaml").write_text(PROFILE)
    model, data = make_onnx(folder / "m.onnx"), make_data(folder / "d.npz", 12)
    return {"folder": folder, "model": model, "data": data, "profile": folder / "p.yaml"}


def audited(files: dict[str, Path], **settings: Any) -> robaudit.Result:
    return robaudit.audit(files["model"], files["data"], profile=files["profile"], **INPUT, **settings)


@pytest.fixture(scope="module")
def done(files: dict[str, Path]) -> tuple[robaudit.Result, list[Any]]:
    events: list[Any] = []
    return audited(files, run_dir=files["folder"] / "run", observer=events.append, sandbox=False), events


@pytest.mark.slow
def test_it_is_the_audit_of_the_command_line(files, done) -> None:
    result, events = done
    other = files["folder"] / "other"
    told = scan(files["model"], files["data"], files["profile"], other, "--no-sandbox")
    assert told.returncode == result.exit_code, told.stderr
    same = robaudit.load_result(other)
    for name in ("worst_case", "clean", "samples", "gates", "data", "target", "threat_model"):
        assert getattr(same, name) == getattr(result, name), name
    assert same.run.id == result.run.id
    assert 0 < len(result.broken) < 12
    assert {type(event) for event in events} >= {AttackFinished, Finished}


def test_a_finished_audit_is_returned_and_nothing_is_printed(files, done, capfd) -> None:
    again = audited(files, run_dir=files["folder"] / "run", sandbox=False)
    assert again.run.shown_again is not None
    assert again.samples == done[0].samples
    assert capfd.readouterr() == ("", "")


def test_the_result_says_what_is_asked_most(done, files) -> None:
    result = done[0]
    assert result.run_directory == files["folder"] / "run"
    assert result.robust_accuracy == result.worst_case.robust_accuracy
    assert result.robust_accuracy.k == sum(sample.stands for sample in result.samples)
    assert result.clean_accuracy.n == 12
    assert result.exit_code == result.verdict.exit_code == 0
    assert repr(result).startswith(f"<Result {result.verdict.word}, exit code 0: ")
    assert len(repr(result)) < 400


def test_a_result_is_loaded_from_its_folder_or_file_and_rendered(done, tmp_path) -> None:
    folder = done[0].run_directory
    assert robaudit.load_result(folder) == robaudit.load_result(str(folder / "result.json"))
    robaudit.render(robaudit.load_result(folder), tmp_path / "r.html")
    assert "data:image" in (tmp_path / "r.html").read_text()  # pictures of the evidence
    with pytest.raises(robaudit.UsageError, match="no report format"):
        robaudit.render(done[0], tmp_path / "r.pdf")
    with pytest.raises(robaudit.UsageError, match="would replace the result that it is made from"):
        robaudit.render(done[0], folder / "result.json")


def test_the_command_for_the_record_asks_for_the_same(files, done) -> None:
    command = done[0].run.command
    assert command.startswith("robaudit scan ")
    assert "--profile p.yaml" in command
    assert "--no-sandbox" in command
    assert "--domain 0,1" in command


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"esp": 0.1}, "there is no setting 'esp'; did you mean 'eps'"),
        ({"dry_run": True}, "there is no setting 'dry_run'"),
        ({"eps": -1}, "eps"),
        ({"gates": ["robust <= nothing"]}, "robust"),
        ({"data": "nowhere.npz"}, "there is no data at nowhere.npz"),
        ({"output": ["r.pdf"]}, "no report format for 'r.pdf'"),
        ({"baseline": "nowhere"}, "cannot be read"),
    ],
)
def test_what_is_refused_is_a_usage_error_of_one_sentence(files, settings, words, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"data": files["data"], "profile": files["profile"], **INPUT, **settings}
    with pytest.raises(robaudit.UsageError, match=re.escape(words)) as caught:
        robaudit.audit(files["model"], **given)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_none_is_refused(files, tmp_path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(robaudit.RobauditError):
        robaudit.audit(tmp_path / "m.onnx", files["data"], run_dir=tmp_path / "run")


@pytest.mark.slow
def test_it_runs_in_another_thread(files, done) -> None:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(audited(files, run_dir=files["folder"] / "thread", fresh=True))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(120)
    (result,) = found
    assert result.samples == done[0].samples


@pytest.mark.slow
def test_what_was_interrupted_is_an_error_and_goes_on(files, monkeypatch) -> None:
    folder = files["folder"] / "stopped"

    def interrupt(event: Any) -> None:
        if isinstance(event, AttackFinished):
            os.kill(os.getpid(), supervisor.STOPPING[0])

    with pytest.raises(robaudit.AuditInterrupted, match="the same call goes on"):
        audited(files, run_dir=folder, observer=interrupt)
    result = audited(files, run_dir=folder)
    assert (result.run.resumed, result.run.interrupted) == (True, False)


def test_warnings_are_events(files, done, monkeypatch) -> None:
    monkeypatch.setattr("robaudit.api.missing", lambda: "this system has no sandbox")
    events: list[Any] = []
    audited(files, run_dir=files["folder"] / "run", observer=events.append)
    assert [event.message.split(";")[0] for event in events if isinstance(event, Note)] == [
        "this system has no sandbox"
    ]


def test_import_is_light_and_the_names_are_there() -> None:
    code = (
        "import sys, json, robaudit\n"
        "light = sorted({n.partition('.')[0] for n in sys.modules} & {'torch', 'numpy', 'pydantic', 'onnx', 'typer'})\n"
        "names = [name for name in robaudit.__all__ if getattr(robaudit, name, None) is None]\n"
        "print(json.dumps([light, names, callable(robaudit.audit), set(robaudit.__all__) <= set(dir(robaudit))]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == [[], [], True, True]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = robaudit.nothing


def test_the_package_that_is_called_is_the_function() -> None:
    from robaudit import api

    assert inspect.signature(robaudit.audit) == inspect.signature(api.audit)
    assert robaudit.audit.__doc__


@pytest.mark.slow
def test_the_example_of_the_page_runs_without_a_guard(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "example.py").write_text(f"print('begun')\n{code}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert (told.returncode, told.stderr) == (0, "")
    begun, verdict, clean, *rest = told.stdout.splitlines()
    assert begun == "begun"
    assert verdict.split()[-1] in "014"
    assert clean.endswith("of 10 answered correctly")
    assert len(rest) <= 4
    assert (tmp_path / "report.html").stat().st_size > 10_000

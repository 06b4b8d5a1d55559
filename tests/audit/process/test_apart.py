"""Processes that are started run nothing of the script that starts them, and need nothing of it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from multiprocessing import spawn

import pytest

from robaudit.audit.process.calling import in_child
from robaudit.audit.process.confinement import Confinement
from robaudit.errors import AuditError

SCRIPT = """
import os
print("begun", flush=True)
from robaudit.audit.process.calling import in_child
from robaudit.audit.process.confinement import Confinement
print(in_child(os.path.basename, "folder/name", confinement=Confinement(), about="it"))
print({name: os.environ.get(name) for name in ("PYTHONSAFEPATH", "OMP_WAIT_POLICY")})
"""


@pytest.mark.parametrize("how", ["file", "module", "stdin"])
def test_a_script_without_a_guard_runs_once(how: str, tmp_path) -> None:
    (tmp_path / "unguarded.py").write_text(SCRIPT)
    (tmp_path / "pickle.py").write_text("raise SystemExit('the file beside the model was imported')")
    place = {"file": ["unguarded.py"], "module": ["-m", "unguarded"], "stdin": ["-"]}[how]
    free = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "OMP_WAIT_POLICY")}
    if how != "module":
        free["PYTHONSAFEPATH"] = "1"
    else:
        (tmp_path / "pickle.py").unlink()
    done = subprocess.run(
        [sys.executable, *place], input=SCRIPT, cwd=tmp_path, env=free, capture_output=True, text=True, timeout=60
    )
    kept = {"PYTHONSAFEPATH": free.get("PYTHONSAFEPATH"), "OMP_WAIT_POLICY": None}
    assert (done.stdout.splitlines(), done.stderr) == (["begun", "name", str(kept)], "")


def test_the_process_has_a_safe_path_and_patient_threads() -> None:
    for name, value in (("PYTHONSAFEPATH", "1"), ("OMP_WAIT_POLICY", "PASSIVE")):
        assert in_child(os.getenv, name, confinement=Confinement(), about="it") == os.environ.get(name, value)


def test_another_thread_may_ask() -> None:
    found: list[str] = []
    ask = threading.Thread(
        target=lambda: found.append(in_child(os.path.basename, "a/b", confinement=Confinement(), about="it"))
    )
    ask.start()
    ask.join(60)
    assert found == ["b"]
    assert spawn.get_preparation_data.__module__ == "multiprocessing.spawn"


def test_a_process_that_may_start_none_says_so(monkeypatch) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(AuditError, match=r"worker of a multiprocessing\.Pool may not start"):
        in_child(os.path.basename, "a/b", confinement=Confinement(), about="it")

"""Scans each model for the action, writes the job summary and the outputs, and leaves the verdict to a later step.

The standard library alone, so that it is the same on Linux, macOS and Windows. Inputs come from the environment alone,
so that nothing in them is read as code.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PREFIX = "ROBAUDIT_ACTION_"
FLAGS = ("data", "profile", "min-robust", "baseline", "time-budget")
SUFFIXES = ("json", "md", "html", "xml", "csv")
SEVERITY = (0, 4, 1, 3)
"""Exit codes from good to bad: passed, undecided, a gate failed, incomplete or invalid; anything else is worse."""


def main() -> int:
    """Scan all models; 0 where the outputs could be written, whatever the verdicts."""
    given = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    # robaudit refuses variables of its own prefix that it does not know
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}

    def value(name: str) -> str:
        return given.get(PREFIX + name.replace("-", "_").upper(), "").strip()

    arguments = [f"--{name}={value(name)}" for name in FLAGS if value(name)] + lines(value("args"))
    models = lines(value("model"))
    reports = Path(value("report-dir") or "robaudit-report").resolve()
    (reports / "sarif").mkdir(parents=True, exist_ok=True)
    codes = []
    for number, model in enumerate(models, start=1):
        name = f"{number}-" + re.sub(r"[^A-Za-z0-9._-]", "_", re.split(r"[\\/]", model)[-1])
        print(f"::group::robaudit scan ({number})", flush=True)
        code = scan(model, name, reports, arguments, environment)
        print("::endgroup::", flush=True)
        append("GITHUB_STEP_SUMMARY", summary(reports, name, code))
        codes.append(code)
    if not models:
        print("robaudit: no model was named", file=sys.stderr)
        codes = [2]
    written = any((reports / "sarif").glob("*.sarif"))
    # Of its own for each job of a matrix and each use in a job, and the same in every run, so that alerts are tracked
    own = "\n".join([*models, value("report-dir"), value("working-directory")])
    label = re.sub(r"[^A-Za-z0-9._-]", "_", value("job")) or "job"
    told = {
        "exit-code": str(max(codes, key=lambda code: SEVERITY.index(code) if code in SEVERITY else len(SEVERITY))),
        "report-dir": str(reports),
        "sarif": str(reports / "sarif") if written else "",
        "label": f"robaudit-{label}-{hashlib.sha256(own.encode()).hexdigest()[:8]}",
    }
    append("GITHUB_OUTPUT", "".join(f"{name}={' '.join(text.splitlines())}\n" for name, text in told.items()))
    return 0


def lines(text: str) -> list[str]:
    """The lines that hold something."""
    return [line for line in text.splitlines() if line.strip()]


def scan(model: str, name: str, reports: Path, arguments: list[str], environment: dict[str, str]) -> int:
    """Scan one model afresh: a directory that an earlier run left may be of another file, or tampered with."""
    sarif, log = reports / "sarif" / f"{name}.sarif", reports / f"{name}.log"
    written = [reports / f"{name}.{suffix}" for suffix in SUFFIXES] + [sarif]
    for path in [*written, log]:
        path.unlink(missing_ok=True)
    robaudit = shutil.which("robaudit", path=environment.get("PATH"))
    if robaudit is None:
        log.write_text("robaudit is not installed: the command is not on the PATH\n", "utf-8")
        print(log.read_text("utf-8"), end="", file=sys.stderr)
        return 3
    command = [robaudit, "scan", *arguments, "--fresh", f"--run-dir={reports / name}"]
    command += [f"--output={path}" for path in written]
    with log.open("wb") as kept:
        process = subprocess.Popen([*command, "--", model], env=environment, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            kept.write(line)
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
        code = process.wait()
    return code if code >= 0 else 3  # ended by a signal


def summary(reports: Path, name: str, code: int) -> str:
    """The report in Markdown, or the last that robaudit said."""
    try:
        return (reports / f"{name}.md").read_text("utf-8")
    except OSError:
        said = (reports / f"{name}.log").read_text("utf-8", "replace").splitlines()[-5:]
        # indented by four, a line is code in Markdown, whatever it holds
        return "\n".join(
            ["", f"### robaudit: no report (exit code {code})", "", *(f"    {line}" for line in said), "", ""]
        )


def append(variable: str, text: str) -> None:
    """Add to a file that the service reads."""
    if path := os.environ.get(variable):
        with open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(text)


if __name__ == "__main__":
    sys.exit(main())

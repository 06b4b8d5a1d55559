"""What CI services take from this repository: schemas, and the action's own steps run as the service would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft7Validator
from model_files import linear_onnx, weight

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: dict[str, dict[str, Any]] = {step["name"]: step for step in ACTION["runs"]["steps"]}
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


def vendored(name: str) -> Draft7Validator:
    """A schema of SchemaStore, as check-jsonschema packs it."""
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema brings the schemas of CI services")
    folder = files("check_jsonschema") / "builtin_schemas" / "vendor"
    return Draft7Validator(json.loads((folder / f"{name}.json").read_text("utf-8")))


def examples(kind: str) -> list[Any]:
    """Examples in docs/ci.md, by what their first line says they are."""
    blocks = re.findall(r"```yaml\n# (.*?)\n(.*?)```", (ROOT / "docs" / "ci.md").read_text("utf-8"), re.DOTALL)
    found = [yaml.safe_load(body) for name, body in blocks if kind in name]
    assert found
    return found


def errors(validator: Draft7Validator, content: Any) -> list[str]:
    return [error.message for error in validator.iter_errors(content)]


def test_the_action_is_valid() -> None:
    assert errors(vendored("github-actions"), ACTION) == []


def test_workflows_in_the_documentation_are_valid_and_use_inputs_that_there_are() -> None:
    workflows = examples(".github/workflows")
    for workflow in workflows:
        plain = json.loads(json.dumps({"on" if key is True else key: value for key, value in workflow.items()}))
        assert errors(vendored("github-workflows"), plain) == []
        uses = [s for job in workflow["jobs"].values() for s in job["steps"] if "robaudit" in s.get("uses", "")]
        assert uses
        assert all(set(step["with"]) <= set(ACTION["inputs"]) for step in uses)


def test_the_gitlab_template_and_its_example_are_valid() -> None:
    schema = vendored("gitlab-ci")
    assert errors(schema, yaml.safe_load((ROOT / "action" / "gitlab.yml").read_text())) == []
    for example in examples(".gitlab-ci.yml"):
        assert errors(schema, example) == []
        template = yaml.safe_load((ROOT / "action" / "gitlab.yml").read_text())
        assert {job["extends"] for name, job in example.items() if name != "include"} == set(template)


def test_the_gitlab_job_runs_as_the_service_would_run_it(tmp_path, pretender) -> None:
    job = yaml.safe_load((ROOT / "action" / "gitlab.yml").read_text())[".robaudit"]
    (tmp_path / "pip.py").write_text("")
    variables = job["variables"] | {
        "MODEL": "a b $(touch pwned) exit4.onnx",
        "REPORTS": "out dir/x",
        "SCAN_ARGS": "--data=a b\n*",
    }
    done = subprocess.run(
        ["sh", "-ec", "\n".join(job["script"])],
        cwd=tmp_path,
        env={**{k: str(v) for k, v in variables.items()}, "PATH": pretender, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4, done.stderr
    (call,) = calls(tmp_path)
    assert call[:4] == ["scan", "--data=a b", "*", "--fresh"]
    assert call[-2:] == ["--", variables["MODEL"]]
    assert f"--output={Path('out dir/x/junit.xml')}" in call
    assert not (tmp_path / "pwned").exists()
    assert job["artifacts"]["reports"]["junit"].startswith("$REPORTS/")
    assert job["artifacts"]["paths"] == ["$REPORTS"]
    assert re.search(r"@sha256:[0-9a-f]{64}$", job["image"])


def test_every_input_is_documented() -> None:
    page = (ROOT / "docs" / "ci.md").read_text("utf-8")
    assert {name for name in ACTION["inputs"] if f"`{name}`" not in page} == set()
    assert {name for name in ACTION["outputs"] if f"`{name}`" not in page} == set()


def test_inputs_reach_the_shell_through_the_environment_alone() -> None:
    for step in STEPS.values():
        assert not EXPRESSION.search(step.get("run", "")), "an input in a script would be read as shell code"
    used = {
        name
        for step in STEPS.values()
        for text in map(str, walk(step))
        for name in re.findall(r"inputs\.([\w-]+)", text)
    }
    assert used == set(ACTION["inputs"])


def walk(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [found for item in value.values() for found in walk(item)]
    return [value]


def test_reports_are_kept_whatever_the_verdict() -> None:
    names = list(STEPS)
    assert names.index("Upload SARIF") < names.index("Gate")
    assert names.index("Keep the reports") < names.index("Gate")
    assert all("!cancelled()" in STEPS[name]["if"] for name in ("Upload SARIF", "Keep the reports", "Gate"))


def run_step(
    name: str, folder: Path, inputs: dict[str, str], path: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """A step as GitHub runs it: `bash` with the inputs in its environment, given or by default."""
    values = {key: str(entry.get("default", "")) for key, entry in ACTION["inputs"].items()} | inputs

    def filled(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            expression = match[1]
            known = {"github.action_path": str(ROOT), "github.job": "audit", "strategy.job-index": "2"}
            known["runner.temp"] = str(folder)
            return known.get(expression) or values[expression.removeprefix("inputs.")]

        return EXPRESSION.sub(value, text)

    environment = {key: filled(text) for key, text in STEPS[name]["env"].items() if "steps." not in text}
    for variable in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (folder / variable).touch()
        environment[variable] = str(folder / variable)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ROBAUDIT_")}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]],
        cwd=folder,
        env={**clean, **environment, "PATH": path, "OMP_NUM_THREADS": "1", **more},
        capture_output=True,
        text=True,
        timeout=240,
    )


def outputs(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "GITHUB_OUTPUT").read_text().splitlines())


def with_python(folder: Path) -> str:
    """A folder for the PATH in which ``python`` is this one, and nothing else is."""
    folder.mkdir(exist_ok=True)
    (folder / "python").symlink_to(sys.executable)
    return f"{folder}{os.pathsep}{os.defpath}"


REAL = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def test_a_real_scan_through_the_action(tmp_path) -> None:
    linear_onnx(tmp_path / "m.onnx")
    x = np.random.default_rng(0).random((12, 3, 4, 4), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=(x.reshape(12, -1) @ weight(5, 48)).argmax(1))
    (tmp_path / "p.yaml").write_text(
        "name: tiny\nthreat: {norm: linf, eps: 0.1}\nattacks: [{id: fgsm}]\nchecks: [clean, evidence]\n"
    )
    stated = "--mean=0\n--std=1\n--layout=nchw\n--domain=0,1\n--no-progress"
    inputs = {"model": "m.onnx", "data": "d.npz", "profile": "p.yaml", "min-robust": "1", "args": stated}
    done = run_step("Scan", tmp_path, inputs, REAL)
    assert done.returncode == 0, done.stderr
    told = outputs(tmp_path)
    assert told["exit-code"] == "1", done.stderr
    # Another file of the same name, into the same folder of reports, as a runner that keeps its work does
    linear_onnx(tmp_path / "m.onnx", metadata={"note": "other bytes"})
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (tmp_path / name).unlink()
    again = run_step("Scan", tmp_path, inputs | {"min-robust": ""}, REAL)
    assert outputs(tmp_path) == told | {"exit-code": "0"}, again.stderr
    reports = Path(told["report-dir"])
    assert {path.suffix for path in reports.glob("1-m.onnx.*")} == {".json", ".md", ".html", ".xml", ".csv", ".log"}
    assert [path.name for path in Path(told["sarif"]).iterdir()] == ["1-m.onnx.sarif"]
    assert (reports / "1-m.onnx" / "evidence.npz").is_file()
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == (reports / "1-m.onnx.md").read_text()
    gate = run_step("Gate", tmp_path, {}, REAL, ROBAUDIT_ACTION_CODE=told["exit-code"])
    assert gate.returncode == 1


@pytest.fixture
def pretender(tmp_path) -> str:
    """A robaudit that puts down its arguments, and exits with the code in the model's name."""
    program = tmp_path / "bin" / "robaudit"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, re, sys\n"
        f"open({str(tmp_path / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "assert not [n for n in os.environ if n.startswith('ROBAUDIT_')]\n"
        "print('robaudit: error: `code` <b>html</b>', file=sys.stderr)\n"
        "sys.exit(int((re.findall(r'exit(\\d)', sys.argv[-1]) or ['0'])[0]))\n"
    )
    program.chmod(0o755)
    return with_python(program.parent)


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize(
    "evil", ["$(touch pwned).onnx", "`touch pwned`.onnx", "a;touch pwned;.onnx", "--trust-model", "a b'\"\\.onnx", "*"]
)
def test_nothing_in_an_input_is_run(tmp_path, pretender, evil) -> None:
    inputs = {"model": evil, "data": evil, "args": evil, "report-dir": "out dir"}
    done = run_step("Scan", tmp_path, inputs, pretender)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "pwned").exists()
    (call,) = calls(tmp_path)
    assert call[-2:] == ["--", evil]
    assert f"--data={evil}" in call
    assert evil in call[:-1]
    assert "--fresh" in call
    summary = (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert "    robaudit: error: `code` <b>html</b>" in summary
    assert outputs(tmp_path)["sarif"] == ""


def test_several_models_exit_with_the_worst(tmp_path, pretender) -> None:
    done = run_step("Scan", tmp_path, {"model": "exit0.onnx\nexit4.onnx\n\nexit1.onnx\n"}, pretender)
    assert done.returncode == 0
    assert len(calls(tmp_path)) == 3
    assert outputs(tmp_path)["exit-code"] == "1"
    assert outputs(tmp_path)["report-dir"] == str(tmp_path / "robaudit-report")


def test_no_model_is_a_usage_error(tmp_path, pretender) -> None:
    assert run_step("Scan", tmp_path, {"model": "\n"}, pretender).returncode == 0
    assert outputs(tmp_path)["exit-code"] == "2"


def test_a_scan_that_cannot_start_fails_closed(tmp_path) -> None:
    done = run_step("Scan", tmp_path, {"model": "m.onnx"}, with_python(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path)["exit-code"] == "3"
    assert "not installed" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()


@pytest.mark.parametrize(("code", "ended"), [("0", 0), ("4", 4), ("3", 3), ("", 3), (None, 3)])
def test_the_gate_is_closed_where_no_code_is_known(tmp_path, code, ended) -> None:
    more = {} if code is None else {"ROBAUDIT_ACTION_CODE": code}
    assert run_step("Gate", tmp_path, {}, os.defpath, **more).returncode == ended
    assert "inputs.fail != 'false'" in STEPS["Gate"]["if"]


def test_names_are_of_their_own_for_each_job_and_use(tmp_path, pretender) -> None:
    labels = []
    for number, (inputs, job) in enumerate(
        [({}, "a-0"), ({}, "a-0"), ({}, "a-1"), ({"report-dir": "b"}, "a-0"), ({"working-directory": "c"}, "a-0")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        run_step("Scan", folder, {"model": "m.onnx"} | inputs, pretender, ROBAUDIT_ACTION_JOB=job)
        labels.append(outputs(folder)["label"])
    assert labels[0] == labels[1]
    assert len(set(labels)) == 4
    assert STEPS["Upload SARIF"]["with"]["category"] == "${{ steps.scan.outputs.label }}"
    assert "steps.scan.outputs.label" in STEPS["Keep the reports"]["with"]["name"]


def test_an_upload_that_cannot_happen_decides_nothing() -> None:
    for name in ("Upload SARIF", "Keep the reports", "Cache downloads"):
        assert STEPS[name]["continue-on-error"] is True


def test_other_actions_are_pinned_by_commit() -> None:
    used = [step["uses"] for step in STEPS.values() if "uses" in step]
    used += re.findall(r"uses: (?!robaudit/)(\S+)", (ROOT / "docs" / "ci.md").read_text("utf-8"))
    used += re.findall(r"uses: (?!robaudit/)(\S+)", (ROOT / "README.md").read_text("utf-8"))
    assert len(used) >= 5
    assert [name for name in used if not re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", name)] == []


def test_the_action_needs_nothing_but_the_standard_library() -> None:
    for path in (ROOT / "action").glob("*.py"):
        names = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text("utf-8"), re.MULTILINE)
        assert set(names) <= set(sys.stdlib_module_names), path


@pytest.mark.parametrize(("given", "installed"), [("", str(ROOT)), ("robaudit==9; $(x)", "robaudit==9; $(x)")])
def test_the_install_step(tmp_path, given, installed) -> None:
    (tmp_path / "pip.py").write_text(
        f"import sys\nopen({str(tmp_path / 'calls')!r}, 'w').write('\\n'.join(sys.argv))\n"
    )
    inputs = {"install": given, "pip-args": "-i\nplace"}
    done = run_step("Install robaudit", tmp_path, inputs, with_python(tmp_path / "bin"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "calls").read_text().splitlines()
    assert words[-4:] == ["-i", "place", "--", installed]
    assert (str(ROOT / "constraints.txt") in words) == (not given)


def test_the_cache_follows_what_is_installed(tmp_path) -> None:
    keys = []
    for number, given in enumerate(({}, {}, {"install": "robaudit==9"}, {"pip-args": "-i\nplace"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run_step("Name the cache", folder, given, with_python(folder / "bin"))
        assert done.returncode == 0, done.stderr
        keys.append(outputs(folder)["key"])
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert all(re.fullmatch(r"[\w-]+", key) for key in keys)


HOOK = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())[0]


def test_the_pre_commit_hook_runs_on_this_repositorys_profiles(tmp_path) -> None:
    """In an environment of its own, whose packages are ours here: nothing is fetched in a test."""
    chosen = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "profiles").iterdir())]
    (tmp_path / "robaudit.yaml").write_text("profile: ci\neps: 4/255\ngates: [robust_accuracy >= 0.3]\n")
    chosen.append(str(tmp_path / "robaudit.yaml"))
    assert all(re.search(HOOK["files"], Path(name).as_posix()) for name in chosen)
    assert not re.search(HOOK["files"], "tests/other.yaml")
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "pip.py").write_text(
        f"import sys\nopen({str(tmp_path / 'pip')!r}, 'a').write(' '.join(sys.argv) + '\\n')\n"
    )
    places = os.pathsep.join([str(fake), *filter(None, sys.path)])
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "cache"), "PYTHONPATH": places}
    for _ in range(2):
        done = subprocess.run(
            [str(ROOT / HOOK["entry"]), *chosen], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
        )
        assert (done.returncode, len(done.stdout.splitlines())) == (0, len(chosen)), done.stderr
    (installed,) = [line for line in (tmp_path / "pip").read_text().splitlines() if "--constraint" in line]
    assert not re.search("torch|onnx", installed.split("--constraint", 1)[1].split(" ", 2)[2])


LIGHT = f"""
import importlib.machinery, sys
real = importlib.machinery.PathFinder.find_spec
heavy = {("torch", "onnx", "onnxruntime", "matplotlib", "PIL", "jinja2")!r}
importlib.machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.partition(".")[0] in heavy else real(name, *rest)
)
from robaudit.cli.main import main
main()
"""


def test_settings_are_validated_without_pytorch(tmp_path, monkeypatch, robaudit) -> None:
    monkeypatch.chdir(tmp_path)

    def said(**content: Any) -> list[tuple[int, str, str]]:
        Path("robaudit.yaml").write_text(yaml.safe_dump(content))
        command = ["profile", "validate", "robaudit.yaml", "thorough"]
        light = subprocess.run([sys.executable, "-c", LIGHT, *command], capture_output=True, text=True, timeout=120)
        full = robaudit(*command)
        return [(light.returncode, light.stdout, light.stderr.strip()), (full.code, full.out, full.err.strip())]

    light, full = said(profile="ci", eps="4/255")
    assert light == full
    assert light[0] == 0, light[2]
    for wrong, words in [
        ({"epz": 1}, "did you mean 'eps'"),
        ({"norm": "l3"}, "did you mean 'l2'"),
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"gates": ["attack.sqare.success_rate <= 0.1"]}, "did you mean 'square'"),
        ({"gates": [{"metric": "robust_accuracy", "min": 0.8, "max": 0.2}]}, "robust_accuracy"),
    ]:
        light, full = said(**wrong)
        assert light == full
        assert light[0] == 2
        assert words in light[2]
    (tmp_path / "p.yaml").write_text("name: p\nattacks: [{id: pgd, steps: -1}]\n")
    light, full = said(profile="p.yaml")
    assert light == full
    assert "steps" in light[2]


def test_every_wrong_profile_is_told(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nattacks: [{id: pdg}]\n")
    (tmp_path / "b.yaml").write_text("nonsense: 1\n")
    (tmp_path / "c.yaml").write_text("extends: quick\ngates: ['attack.sqare.success_rate<=0.1']\n")
    (tmp_path / "d.yaml").write_text("extends: quik\n")
    robaudit = str(Path(sys.executable).with_name("robaudit"))
    done = subprocess.run(
        [robaudit, "profile", "validate", "a.yaml", "quick", *(f"{name}.yaml" for name in "bcd")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout.startswith("quick: valid")
    told = done.stderr.splitlines()
    assert len(told) == 4
    assert all(f"{name}.yaml" in line for name, line in zip("abcd", told, strict=True))
    assert told[2].endswith("did you mean 'square'?")


def test_the_image_runs_as_no_administrator() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
    assert all(re.search(r"@sha256:[0-9a-f]{64}( AS \w+)?$", line) for line in lines if line.startswith("FROM "))
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    assert copied == sent

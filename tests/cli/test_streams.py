"""Standard streams that are closed, and models that print what a terminal acts upon."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from run_kit import environment, load, make_data, make_onnx, make_profile, scan, scan_command

ONE = "\n  - {id: fgsm}\n"
HOSTILE = "\x1b[2J\x1b]52;c;cm0gLXJm\x07\x9b31m\u202e\u2066"


class Printing(torch.nn.Module):
    """Prints what clears the screen, sets the clipboard and turns the text around."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("\x1b[2J\x1b]52;c;cm0gLXJm\x07seen\x1b[0m \u202e", x.shape[0])  # noqa: T201
        return self.last(x.flatten(1))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz", 6)
    make_profile(tmp_path / "p.yaml", ONE)
    return tmp_path


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_an_audit_needs_no_standard_stream(place: Path, closed: str) -> None:
    words = scan_command(place / "m.onnx", place / "d.npz", place / "p.yaml", place / "run", "-o", place / "r.json")
    line = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(["sh", "-c", f"{line} {closed}"], env=environment(), timeout=120)
    assert done.returncode == 0
    assert load(place / "run").run.complete
    assert json.loads((place / "r.json").read_text())["run"]["complete"]


def test_what_a_model_prints_is_shown_clean(place: Path) -> None:
    torch.jit.script(Printing().eval()).save(str(place / "m.pt"))
    done = scan(place / "m.pt", place / "d.npz", place / "p.yaml", place / "run", "--trust-model", "-f", "json")
    assert json.loads(done.stdout)["run"]["complete"], done.stderr
    for sign in "\x1b\x07\x9b\u202e":
        assert sign not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("model: ")]
    assert "model: seen \N{REPLACEMENT CHARACTER} 1" in said
    assert any("more lines were not shown" in line for line in said)


def test_names_from_files_reach_neither_terminal_nor_json_raw(place: Path) -> None:
    """Of the model's file, of samples and of classes."""
    model = (place / "m.onnx").rename(place / f"m{HOSTILE}.onnx")
    (place / "names.txt").write_text("\n".join(f"class \u202e\u2066 {i}" for i in range(4)))
    reports = [place / f"r{HOSTILE}.{suffix}" for suffix in ("json", "sarif", "xml", "md", "html", "cdx.json", "csv")]
    options = [word for report in reports for word in ("-o", report)]
    done = scan(model, place / "d.npz", place / "p.yaml", place / "run", "--classes", place / "names.txt", *options)
    told = [done.stdout, done.stderr, *(report.read_text("utf-8") for report in reports)]
    told.append((place / "run" / "result.json").read_text("utf-8"))
    for text in told:
        for sign in "\x1b\x07\x9b\x7f\u202e\u2066":
            assert sign not in text
    assert load(place / "run").data.classes == tuple(f"class \u202e\u2066 {i}" for i in range(4))

"""What the shapes of a trace cause torch to import."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

CODE = """
import sys
from pathlib import Path
import torch
from robaudit.target.load import open_target
opened = open_target(Path(sys.argv[1]), device="cpu", sample_shape=(1, 28, 28))
u = torch.rand(3, 1, 28, 28, requires_grad=True)
opened.logits(u).sum().backward()
assert u.grad.abs().sum() > 0
print(torch.__version__, "torch._dynamo" in sys.modules)
torch.compile(torch.relu, backend="eager")(torch.rand(3))
print("torch._dynamo" in sys.modules)
"""


def test_a_traced_file_needs_nothing_of_torchs_compiler_which_still_works() -> None:
    path = str(files("robaudit") / "demo" / "fashion_clean.onnx")
    done = subprocess.run([sys.executable, "-c", CODE, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    traced, compiled = done.stdout.splitlines()
    assert traced.endswith("False"), f"torch keeps its wrappers in another way: {traced}"
    assert compiled == "True"

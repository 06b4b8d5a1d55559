from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
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


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Real models that lie beside the project for its developers; users do not have them."""
    folder = SHARED / "models"
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED on real models: {folder} is missing")
    return folder

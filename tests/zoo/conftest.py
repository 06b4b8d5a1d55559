from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def zoo() -> Path:
    """Folder that ``python -m tests.zoo`` filled, which the variable ZOO_CACHE names."""
    named = os.environ.get("ZOO_CACHE")
    if not named or not Path(named).is_dir():
        pytest.skip(
            "NOT TESTED on the zoo: fill a folder with `python -m tests.zoo FOLDER_OF_FASHION_MNIST --cache DIR` "
            "and name it in ZOO_CACHE"
        )
    return Path(named)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The zoo's command flushes subnormal numbers, which the process is not to go on with."""
    yield
    torch.set_flush_denormal(False)

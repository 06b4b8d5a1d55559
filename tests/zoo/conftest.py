from __future__ import annotations

import os
from pathlib import Path

import pytest


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

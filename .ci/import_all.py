"""Imports every module of the installed package, as a check of a Python version on which not all tests run."""

import importlib
import pkgutil
import sys

import robaudit


def main() -> None:
    """Import all; the first that fails ends it with its traceback."""
    names = sorted(module.name for module in pkgutil.walk_packages(robaudit.__path__, "robaudit."))
    for name in names:
        importlib.import_module(name)
    sys.stdout.write(f"{len(names)} modules imported by Python {sys.version.split()[0]}\n")


if __name__ == "__main__":
    main()

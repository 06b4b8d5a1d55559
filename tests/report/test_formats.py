"""Suffixes: the list in the help is that of the renderers, and the longest suffix wins."""

from __future__ import annotations

import pytest

from robaudit.errors import UsageError
from robaudit.report.formats import FORMATS
from robaudit.report.outputs import check_output
from robaudit.report.render import renderers


def test_help_lists_every_format_and_no_other() -> None:
    assert set(FORMATS) == set(renderers())


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_suffix_is_taken_in_any_case(suffix, tmp_path) -> None:
    check_output(tmp_path / f"model.v2{suffix}")
    check_output(tmp_path / f"R{suffix.upper()}")
    with pytest.raises(UsageError, match="no report format"):
        check_output(tmp_path / f"model{suffix}.bak")

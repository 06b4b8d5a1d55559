import json
import os
import stat

import pytest
from results import make_result, make_samples, make_stored

from robaudit.audit.stored.file import load_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import AuditError, UsageError
from robaudit.report.outputs import check_output
from robaudit.report.render import write_report


@pytest.fixture
def result():
    return conclude(make_stored(make_result(samples=make_samples(41, 100))), [])


def test_the_suffix_picks_the_format(result, tmp_path):
    write_report(result, tmp_path / "r.json")
    write_report(result, tmp_path / "r.TXT")
    assert load_result(tmp_path / "r.json") == result
    assert "Verdict: MEASURED (no gate on the model), exit code 0" in (tmp_path / "r.TXT").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "r.json").read_text())["schema_version"] == "1.10"


@pytest.mark.parametrize("name", ["r.doc", "r", "json"])
def test_other_suffixes_are_refused_with_a_list(result, name, tmp_path):
    with pytest.raises(UsageError, match=r"\.json, .*\.txt"):
        write_report(result, tmp_path / name)
    with pytest.raises(UsageError, match=r"\.json"):
        check_output(tmp_path / name)


def test_a_place_that_cannot_be_written_is_refused_before_the_audit(result, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        check_output(tmp_path / "no" / "r.json")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        check_output(tmp_path / "d.json")
    with pytest.raises(AuditError, match="cannot be written"):
        write_report(result, tmp_path / "no" / "r.json")
    check_output(tmp_path / "r.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written"):
        check_output(tmp_path / "r.json")
    tmp_path.chmod(0o700)


def test_a_report_has_ordinary_permissions(result, tmp_path):
    umask = os.umask(0o022)
    try:
        write_report(result, tmp_path / "r.json")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o644


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html"])
@pytest.mark.parametrize("every", [False, True])
def test_attacks_that_do_not_serve_the_audit_are_told_below_the_table_alone(result, tmp_path, suffix, every):
    first = result.attacks[0].model_copy(update={"id": "other-norm", "status": "skipped", "reason": "it is for others"})
    attacks = (first,) if every else (first, *result.attacks)
    write_report(result.model_copy(update={"attacks": attacks}), tmp_path / f"r{suffix}")
    text = (tmp_path / f"r{suffix}").read_text(encoding="utf-8")
    kept = text.partition('id="attacks"')[2].partition("Parameters of the attacks")[0] if suffix == ".html" else text
    assert "other-norm skipped: it is for others" in " ".join(kept.replace("\\-", "-").replace("\n", " ").split())
    assert kept.replace("\\-", "-").count("other-norm") == 1

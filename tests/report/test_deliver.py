"""Reports are written and signed each as what it is; one that fails costs no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from results import make_result, make_samples, make_stored

from robaudit.audit.stored.file import save_result
from robaudit.audit.stored.signing import check_signature, read_trusted
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import AuditError
from robaudit.report.deliver import deliver

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = tmp_path / "k.key", tmp_path / "k.pub"
    encoding, form = serialization.Encoding, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(encoding.PEM, form, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_every_json_report_is_signed_as_it_was_written(keys, tmp_path) -> None:
    result = conclude(make_stored(make_result(samples=make_samples(41, 100))), [])
    save_result(result, tmp_path / "result.json")
    told: list[str] = []
    reports = [str(tmp_path / name) for name in ("r.json", "r.cdx.json", "r.sarif.json", "r.md")]
    deliver(result, tmp_path, reports, keys[0], told.append)
    signed = {path.name.removesuffix(".sig") for path in tmp_path.glob("*.sig")}
    assert signed == {"result.json", "r.json", "r.cdx.json", "r.sarif.json"}
    for name in signed:
        check_signature((tmp_path / name).read_bytes(), tmp_path / name, read_trusted(keys[1]))
    assert [line.split()[0] for line in told] == ["wrote"] * 4 + ["signed"] * 4


def test_a_report_that_cannot_be_written_costs_no_other(tmp_path) -> None:
    result = conclude(make_stored(make_result(samples=make_samples(41, 100))), [])
    with pytest.raises(AuditError, match=r"no/a\.md' cannot be written"):
        deliver(result, tmp_path, [str(tmp_path / "no/a.md"), str(tmp_path / "b.md")], None)
    assert (tmp_path / "b.md").read_text().startswith("#")

"""Signed results: made, checked and demanded as a user would, and refused where a byte, the key or the file is off."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused
from results import make_result, make_samples, make_stored

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.stored.signing import check_signature, read_private, read_trusted, signature
from robaudit.audit.stored.trust import sign_file
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import ChangedFileError, UsageError

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")


def write_keys(folder: Path, name: str, ssh: bool = False) -> tuple[Path, Path]:
    """A private and a public key file, as openssl or ssh-keygen write them."""
    key = ed25519.Ed25519PrivateKey.generate()
    form, encoding = serialization.PrivateFormat, serialization.Encoding
    private = key.private_bytes(encoding.PEM, form.OpenSSH if ssh else form.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(
        encoding.OpenSSH if ssh else encoding.PEM,
        serialization.PublicFormat.OpenSSH if ssh else serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    paths = folder / f"{name}.key", folder / f"{name}.pub"
    paths[0].write_bytes(private)
    paths[1].write_bytes(public + b"\n")
    return paths


@pytest.fixture
def keys(tmp_path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "ours")


@pytest.fixture
def result(tmp_path) -> Path:
    path = tmp_path / "run" / "result.json"
    path.parent.mkdir()
    draft = make_stored(make_result(samples=make_samples(41, 100)))
    save_result(conclude(draft, [GateSpec.model_validate("robust_accuracy>=0.3")]), path)
    return path


@pytest.mark.parametrize("ssh", [False, True])
def test_a_signed_result_is_verified(robaudit, result, tmp_path, ssh) -> None:
    private, public = write_keys(tmp_path, "k", ssh)
    told = robaudit("sign", result.parent, "--key", private)
    assert (told.code, told.err) == (0, "")
    assert "signed by SHA256:" in told.out
    told = robaudit("verify", result, "--key", public)
    assert (told.code, told.err) == (0, "")
    assert "its figures fit its 100 samples" in told.out
    for command in (("gate", result), ("report", result), ("diff", result, result)):
        assert robaudit(*command, "--verify", public).code == 0


def test_any_changed_byte_the_wrong_key_and_no_signature_are_refused(robaudit, result, keys, tmp_path) -> None:
    private, public = keys
    _, foreign = write_keys(tmp_path, "theirs")
    for command in (("gate", result), ("report", result), ("diff", result, result), ("replay", result)):
        refused(robaudit(*command, "--verify", public), "is not signed", "result.json.sig")
    robaudit("sign", result, "--key", private)
    signed = result.read_bytes()
    for command in (("gate", result), ("report", result), ("diff", result, result), ("replay", result)):
        refused(robaudit(*command, "--verify", foreign), "was signed with another key (SHA256:")
    for edited in (signed + b" ", signed.replace(b"0.1.0", b"0.1.1", 1), signed.replace(b"\n", b"\r\n"), signed[:-1]):
        result.write_bytes(edited)
        for command in (("verify", result, "--key"), ("gate", result, "--verify")):
            refused(robaudit(*command, public), "is not what was signed")
    result.write_bytes(signed)
    assert robaudit("verify", result, "--key", public).code == 0
    beside = result.with_name("result.json.sig")
    text = beside.read_text()
    for harmed in ("", "nonsense", text[:60], text.replace("U1NIU0lH", "V1NIU0lH"), text.replace("A", "B", 3)):
        beside.write_text(harmed)
        refused(robaudit("verify", result, "--key", public), "result.json")


def test_a_forgery_that_contradicts_nothing_is_refused_by_its_signature_alone(robaudit, result, keys) -> None:
    private, public = keys
    robaudit("sign", result, "--key", private)
    better = make_stored(make_result(samples=make_samples(90, 100)))
    save_result(conclude(better, [GateSpec.model_validate("robust_accuracy>=0.3")]), result)
    assert robaudit("gate", result).code == 0
    refused(robaudit("gate", result, "--verify", public), "is not what was signed")


def test_what_contradicts_itself_is_not_signed(robaudit, result, keys) -> None:
    content = json.loads(result.read_text())
    content["worst_case"]["upper_bound_observed"]["k"] = 60
    result.write_text(json.dumps(content))
    refused(robaudit("sign", result, "--key", keys[0]), "result.json")
    assert not result.with_name("result.json.sig").exists()


def test_what_was_exchanged_after_it_was_written_is_not_signed(tmp_path) -> None:
    private, _ = write_keys(tmp_path, "own")
    path = tmp_path / "r.json"
    result = make_result(samples=make_samples(2, 4))
    save_result(result, path)
    assert sign_file(path, private, result.to_json().encode()).startswith("SHA256:")
    path.write_text(result.to_json().replace("[", "[ ", 1))
    path.with_name("r.json.sig").unlink()
    with pytest.raises(ChangedFileError, match="changed after it was written"):
        sign_file(path, private, result.to_json().encode())
    assert not path.with_name("r.json.sig").exists()


def test_a_configuration_or_a_variable_demands_the_signature(robaudit, result, keys, tmp_path, monkeypatch) -> None:
    private, public = keys
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robaudit.yaml").write_text("verify: ours.pub\n")
    refused(robaudit("gate", result), "is not signed")
    robaudit("sign", result, "--key", private)
    assert robaudit("gate", result).code == 0
    assert robaudit("verify", result).code == 0
    _, foreign = write_keys(tmp_path, "theirs")
    monkeypatch.setenv("ROBAUDIT_VERIFY", str(foreign))
    refused(robaudit("gate", result), "another key")
    assert robaudit("gate", result, "--verify", public).code == 0
    monkeypatch.delenv("ROBAUDIT_VERIFY")
    (tmp_path / "robaudit.yaml").write_text("verify: none.pub\n")
    refused(robaudit("gate", result), "none.pub cannot be read")
    (tmp_path / "robaudit.yaml").unlink()
    refused(robaudit("verify", result), "name the public key")


@pytest.mark.parametrize(
    ("content", "words"),
    [("nonsense", "is not a private Ed25519 key"), ("", "is not a private Ed25519 key"), (None, "cannot be read")],
)
def test_a_bad_private_key_is_one_sentence(robaudit, result, tmp_path, content, words) -> None:
    path = tmp_path / "bad.key"
    if content is not None:
        path.write_text(content)
    refused(robaudit("sign", result, "--key", path), words)


def test_keys_of_other_kinds_are_refused(result, keys, tmp_path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "ec.key").write_bytes(other.private_bytes(pem, form, serialization.NoEncryption()))
    locked = ed25519.Ed25519PrivateKey.generate()
    secret = serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "locked.key").write_bytes(locked.private_bytes(pem, form, secret))
    public = other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.pub").write_bytes(public)
    (tmp_path / "empty.pub").write_text("# nobody\n")
    for path, read, words in (
        (tmp_path / "ec.key", read_private, "is not an Ed25519 key"),
        (tmp_path / "locked.key", read_private, "is encrypted"),
        (tmp_path / "ec.pub", read_trusted, "is not an Ed25519 key"),
        (tmp_path / "empty.pub", read_trusted, "holds no public Ed25519 key"),
        (keys[0], read_trusted, "holds a private key; give its public half"),
    ):
        with pytest.raises(UsageError, match=words):
            read(path)


def test_one_of_several_keys_suffices(result, tmp_path) -> None:
    pairs = [write_keys(tmp_path, name, ssh=True) for name in ("a", "b", "c")]
    (tmp_path / "team.pub").write_text("# the team\n" + "".join(public.read_text() for _, public in pairs[:2]))
    trusted, content = read_trusted(tmp_path / "team.pub"), result.read_bytes()
    beside = result.with_name("result.json.sig")
    for private, _ in pairs[:2]:
        beside.write_text(signature(content, read_private(private)))
        assert load_result(result, trusted).data.drawn == 100
    beside.write_text(signature(content, read_private(pairs[2][0])))
    with pytest.raises(UsageError, match="another key"):
        load_result(result, trusted)


def test_without_the_package_a_sentence_says_what_to_install(result, keys, tmp_path) -> None:
    (tmp_path / "block" / "cryptography").mkdir(parents=True)
    (tmp_path / "block" / "cryptography" / "__init__.py").write_text("raise ImportError('blocked')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'block')!r}); from robaudit.cli.main import main; main()"
    for arguments in (("sign", result, "--key", keys[0]), ("gate", result, "--verify", keys[1])):
        told = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120
        )
        assert told.returncode == 2, told.stderr
        assert "pip install 'robaudit[sign]'" in told.stderr
        assert len(told.stderr.splitlines()) == 1


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not here")
def test_openssh_checks_and_makes_the_same_signatures(result, tmp_path) -> None:
    private, public = write_keys(tmp_path, "k", ssh=True)
    private.chmod(0o600)
    beside = result.with_name("result.json.sig")
    beside.write_text(signature(result.read_bytes(), read_private(private)))
    (tmp_path / "allowed").write_text(f'ci namespaces="robaudit-result" {public.read_text()}')

    def keygen(*arguments: object) -> int:
        command = ["ssh-keygen", "-Y", *map(str, arguments)]
        return subprocess.run(command, input=result.read_bytes(), capture_output=True, timeout=60).returncode

    check = ("verify", "-f", tmp_path / "allowed", "-I", "ci", "-n", "robaudit-result", "-s", beside)
    assert keygen(*check) == 0
    beside.unlink()
    assert keygen("sign", "-f", private, "-n", "robaudit-result", result) == 0
    trusted = read_trusted(public)
    assert check_signature(result.read_bytes(), result, trusted).startswith("SHA256:")
    beside.unlink()
    assert keygen("sign", "-f", private, "-n", "file", result) == 0
    with pytest.raises(UsageError, match="made for another purpose"):
        check_signature(result.read_bytes(), result, trusted)

"""Files that change during an audit: what it began with is what it reads, or it says so and ends."""

import dataclasses
import os
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_kit import (
    make_data,
    make_onnx,
    make_profile,
    make_request,
    make_script,
    records,
    run_here,
    start,
    wait_for,
    with_settings,
    worker_of,
)

from robaudit.audit.config import discovery as config_file
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.replay import replaying as replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result import archive
from robaudit.audit.result.archive import read_examples
from robaudit.audit.run.identity import identity_of
from robaudit.audit.stored.file import load_result, save_result
from robaudit.data import arrays
from robaudit.data.arrays import read_npz
from robaudit.data.images import open_folder
from robaudit.data.reader import Fit, Wanted
from robaudit.errors import ChangedFileError, UsageError
from robaudit.files import held_to, open_regular, read_regular

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FGSM = "\n  - {id: fgsm}\n"


def rewrite(path: Path, content: bytes) -> None:
    """Another content of the same size, with the time of the first."""
    about = path.stat()
    assert len(content) == about.st_size
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def flipped(path: Path) -> bytes:
    """The content with its last byte changed."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    return bytes(content)


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"one")

    def read(content: bytes, fails: bool) -> None:
        with open_regular(path) as file:
            file.read()
            rewrite(path, content)
            if fails:
                raise ValueError("what was read makes no sense")

    for content, fails in ((b"two", False), (b"six", True)):
        with pytest.raises(ChangedFileError, match="f was changed while it was read"):
            read(content, fails)
    with open_regular(path) as file:
        assert file.read() == b"six"


def test_files_are_held_to_their_digests(tmp_path):
    path, absent = tmp_path / "f.csv", tmp_path / "g"
    path.write_bytes(b"one")
    request = make_request(make_onnx(tmp_path / "m.onnx"), path, make_profile(tmp_path / "p.yaml"))
    known = {**identity_of(request).files, str(absent): None}
    assert known[str(path)] is not None
    with held_to(known):
        assert read_regular(path, 9) == read_regular(path, 9) == b"one"
        rewrite(path, b"two")
        with pytest.raises(ChangedFileError, match="when the audit began"):
            read_regular(path, 9)
        rewrite(path, b"one")
        assert read_regular(path, 9) == b"one"
        absent.write_text("x")
        with pytest.raises(ChangedFileError, match="was not there when the audit began"):
            read_regular(absent, 9)
    assert read_regular(absent, 9) == b"x"


@pytest.fixture
def asked(tmp_path):
    """A request with what names its run, and its data."""
    model = make_onnx(tmp_path / "m.onnx")
    data = make_data(tmp_path / "d.npz")
    request = make_request(model, data, make_profile(tmp_path / "p.yaml", FGSM))
    return dataclasses.replace(request, files=identity_of(request).files)


@pytest.mark.parametrize("which", ["model", "data", "surrogate", "stand-in", "names", "sidecar"])
def test_a_worker_takes_no_file_but_those_that_the_run_is_named_by(tmp_path, asked, which):
    other = make_onnx(tmp_path / "other.onnx", scale=0.5)
    beside = {"names": "m.labels.txt", "sidecar": "preprocessor_config.json"}
    request = asked
    if which in ("surrogate", "stand-in"):
        extra = make_onnx(tmp_path / "extra.onnx")
        surrogate = dataclasses.replace(request, surrogates=(extra,))
        request = surrogate if which == "surrogate" else with_settings(request, stand_in=str(extra))
        request = dataclasses.replace(request, files=identity_of(request).files)
        os.replace(other, extra)
    elif which in beside:
        (tmp_path / beside[which]).write_text("{}")
    elif which == "model":
        os.replace(other, request.model)
    else:
        make_data(request.data, wrong=5)
    with pytest.raises(ChangedFileError, match="when the audit began"):
        run_here(request, tmp_path / "run")


def test_an_audit_that_is_begun_again_reads_no_other_model(tmp_path):
    """The worker is killed, and the model is another one when the next worker starts."""
    model, data = make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz", 64)
    slow = "\n  - {id: apgd-ce, steps: 400, restarts: 20}\n"
    other = make_onnx(tmp_path / "other.onnx", scale=0.5)
    process = start(model, data, make_profile(tmp_path / "p.yaml", slow), tmp_path / "run")
    wait_for(lambda: records(tmp_path / "run", "plan"))
    os.replace(other, model)
    os.kill(worker_of(process), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    result = load_result(tmp_path / "run" / "result.json")
    assert "m.onnx was another file (its SHA-256 differs) when the audit began" in str(result.run.failed)
    assert "when the audit began" in " ".join((out + err).split())


def images(folder: Path, count: int = 8) -> Path:
    generator = np.random.default_rng(0)
    for index in range(count):
        (folder / str(index % 2)).mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (6, 6), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / str(index % 2) / f"{index}.bmp")
    return folder


def test_an_image_that_is_changed_after_the_data_were_opened(tmp_path):
    folder = images(tmp_path / "images")
    data = open_folder(folder, Fit((1, 6, 6), num_classes=2), Wanted())
    before = data.load(0)
    rewrite(folder / data.ids[0], flipped(folder / data.ids[0]))
    with pytest.raises(ChangedFileError, match="was changed since the audit began"):
        data.load(0)
    rewrite(folder / data.ids[0], flipped(folder / data.ids[0]))
    np.testing.assert_array_equal(data.load(0), before)


def test_an_audit_of_a_folder_is_not_taken_up_with_other_images(tmp_path):
    """Their names, sizes and times are the same, and so is the run's name."""
    folder = images(tmp_path / "images")
    model = make_onnx(tmp_path / "m.onnx")
    request = make_request(model, folder, make_profile(tmp_path / "p.yaml", FGSM), reference="model")
    run_here(request, tmp_path / "run")
    before = identity_of(request).run_id
    for path in folder.glob("*/*.bmp"):
        rewrite(path, flipped(path))
    assert identity_of(request).run_id == before
    with pytest.raises(ChangedFileError, match="images was changed since this audit began"):
        run_here(request, tmp_path / "run")


def test_the_labels_of_a_folder_are_part_of_what_names_a_run(tmp_path):
    folder = images(tmp_path / "images")
    (folder / "labels.csv").write_text("file,label\n0/0.bmp,0\n")
    request = make_request(make_onnx(tmp_path / "m.onnx"), folder, make_profile(tmp_path / "p.yaml", FGSM))
    before = identity_of(request)
    rewrite(folder / "labels.csv", b"file,label\n0/0.bmp,1\n")
    after = identity_of(request)
    assert before.run_id != after.run_id
    assert before.files[str(folder / "labels.csv")] != after.files[str(folder / "labels.csv")]


def test_weights_beside_a_model_of_any_name_are_part_of_what_names_a_run(tmp_path):
    import onnx

    path = make_onnx(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), tmp_path / "m.model", save_as_external_data=True, location="w.bin", size_threshold=0)
    profile = make_profile(tmp_path / "p.yaml", FGSM)
    request = make_request(tmp_path / "m.model", make_data(tmp_path / "d.npz"), profile)
    before = identity_of(request)
    assert str(tmp_path / "w.bin") in before.files
    rewrite(tmp_path / "w.bin", flipped(tmp_path / "w.bin"))
    assert identity_of(request).run_id != before.run_id


def test_arrays_and_their_digest_are_of_one_file(tmp_path, monkeypatch):
    path, other = make_data(tmp_path / "d.npz"), make_data(tmp_path / "other.npz", wrong=7)
    labels = arrays._labels

    def late(*arguments):
        found = labels(*arguments)
        os.replace(other, path)
        return found

    monkeypatch.setattr(arrays, "_labels", late)
    with pytest.raises(ChangedFileError, match=r"d\.npz was changed while it was read"):
        read_npz(path)


@pytest.mark.parametrize("make", [make_onnx, make_script])
def test_a_replay_asks_the_file_whose_digest_it_reports(tmp_path, monkeypatch, make):
    model = make(tmp_path / ("m.onnx" if make is make_onnx else "m.pt"))
    data, profile = make_data(tmp_path / "d.npz"), make_profile(tmp_path / "p.yaml", FGSM, eps=0.1)
    result = run_here(make_request(model, data, profile), tmp_path / "run")
    save_result(result, tmp_path / "run" / "result.json")
    request = ReplayRequest(tmp_path / "run", model)
    assert replay.replay(request).same_model
    judge = replay.judge_of

    def late(*arguments, **options):
        content = model.read_bytes()
        copy = tmp_path / "copy"
        copy.write_bytes(content + b"\x72\x00" if make is make_onnx else content)
        if make is make_script:
            with zipfile.ZipFile(copy, "a") as packed:
                packed.writestr("m/extra/more.txt", "x")
        os.replace(copy, model)
        return judge(*arguments, **options)

    monkeypatch.setattr(replay, "judge_of", late)
    with pytest.raises(ChangedFileError, match="was another file"):
        replay.replay(request)


def test_evidence_is_read_from_the_archive_whose_digest_was_compared(tmp_path, monkeypatch):
    data, profile = make_data(tmp_path / "d.npz"), make_profile(tmp_path / "p.yaml", FGSM, eps=0.1)
    result = run_here(make_request(make_onnx(tmp_path / "m.onnx"), data, profile), tmp_path / "run")
    path = tmp_path / "run" / "evidence.npz"
    read_examples(tmp_path / "run", result.evidence, 1)
    unpack = zipfile.ZipFile

    def late(*arguments):
        path.with_name("other").write_bytes(b"another archive")
        os.replace(path.with_name("other"), path)
        return unpack(*arguments)

    monkeypatch.setattr(archive.zipfile, "ZipFile", late)
    with pytest.raises(ChangedFileError, match=r"evidence\.npz was changed while it was read"):
        read_examples(tmp_path / "run", result.evidence, 1)


def test_whose_settings_are_read_is_asked_of_the_file_that_is_read(tmp_path, monkeypatch):
    """Ours is found, and a stranger's lies there when it is opened."""
    path = tmp_path / "robaudit.yaml"
    path.write_text("seed: 1\n")
    model = tmp_path / "m.onnx"
    assert resolve_settings({}, {}, model).settings.seed == 1
    find, own = config_file.find_config, config_file.os.fstat

    def stranger(descriptor):
        about = own(descriptor)
        return os.stat_result((*about[:4], about.st_uid + 1, *about[5:10]))

    def found(*arguments):
        path = find(*arguments)
        monkeypatch.setattr(config_file, "os", _Strange(stranger))
        return path

    monkeypatch.setattr("robaudit.audit.config.resolve.find_config", found)
    with pytest.raises(UsageError, match="belongs to another user"):
        resolve_settings({}, {}, model)


class _Strange:
    """``os`` in which an open file is another user's."""

    def __init__(self, fstat):
        self.fstat = fstat

    def __getattr__(self, name):
        return getattr(os, name)

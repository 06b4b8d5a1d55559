"""Evidence as pictures, and reading it back."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from run_kit import make_data, make_onnx, make_profile, make_request, predict, run_here

from robaudit.audit.journal.keys import RunKey
from robaudit.audit.result.archive import read_examples
from robaudit.audit.result.document import Evidence, Result
from robaudit.audit.result.pictures import MOST, eight_bit_pair, is_picture, png
from robaudit.audit.run.rundir import MARKER, claimed
from robaudit.checks.evidence import eight_bit
from robaudit.errors import AuditError

UNIT = st.floats(0, 1, width=32)


@given(arrays(np.float32, (3, 2, 2), elements=UNIT), arrays(np.float32, (3, 2, 2), elements=UNIT))
def test_no_pixel_moves_farther_than_it_did(origin, point):
    first, second = (np.moveaxis(x.astype(int), -1, 0) for x in eight_bit_pair(origin, point))
    moved = second - first
    assert np.array_equal(first, np.rint(origin.astype(float) * 255))
    assert (np.sign(moved) * np.sign(point - origin) >= 0).all(), "never the other way"
    assert (np.abs(moved) <= np.abs(point.astype(float) - origin) * 255 + 0.5 + 1e-4).all()


@given(arrays(np.uint8, (1, 3, 3)), arrays(np.float32, (1, 3, 3), elements=UNIT))
def test_from_eight_bits_it_is_the_rounding_of_the_evidence_check(levels, point):
    origin = (levels / 255).astype(np.float32)
    _, second = eight_bit_pair(origin, point)
    assert np.array_equal(np.moveaxis(second, -1, 0), np.rint(eight_bit(origin, point).astype(float) * 255))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_png_holds_the_levels_and_nothing_else(channels, mode):
    levels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(png(levels)))
    assert (image.mode, image.size, image.info) == (mode, (7, 5), {})
    assert np.array_equal(np.asarray(image).reshape(levels.shape), levels)


@pytest.mark.parametrize("shape", [(4,), (2, 8, 8), (1, 8), (5, 2, 2), (3, 0, 2)])
def test_what_is_no_picture(shape):
    assert not is_picture(shape)


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Result]:
    request = make_request(
        make_onnx(tmp_path / "m.onnx"),
        make_data(tmp_path / "d.npz", 40),
        make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n", eps=0.3),
    )
    return tmp_path / "run", run_here(request, tmp_path / "run")


def test_the_first_examples_are_kept_as_pairs_of_pictures(run, tmp_path):
    folder, result = run
    assert result.evidence.count > MOST
    names = sorted(path.name for path in (folder / "evidence").iterdir())
    assert names == sorted(f"{row:04d}-{side}.png" for row in range(MOST) for side in ("original", "adversarial"))
    archive = np.load(folder / "evidence.npz")
    shown = np.stack([np.asarray(Image.open(folder / "evidence" / f"{row:04d}-adversarial.png")) for row in range(16)])
    first = np.load(tmp_path / "d.npz")["x"][archive["index"][0]]
    assert np.array_equal(np.asarray(Image.open(folder / "evidence/0000-original.png")), np.rint(first[0] * 255))
    assert np.abs(shown[:, None] / 255 - archive["adversarial"][:16]).max() < 1 / 255
    fooled = predict((shown[:, None] / 255).astype(np.float32)) != archive["label"][:16]
    assert fooled.mean() > 0.9, "the pictures themselves fool the model, but for a few at the edge"


def test_examples_come_back_with_labels_and_confidences(run):
    folder, result = run
    examples = read_examples(folder, result.evidence, 5)
    archive = np.load(folder / "evidence.npz")
    assert [e.index for e in examples] == archive["index"][:5].tolist()
    for row, example in enumerate(examples):
        assert np.array_equal(example.adversarial, archive["adversarial"][row])
        assert np.array_equal(example.original, archive["original"][row])
        assert (example.attack, example.target) == ("fgsm", None)
        assert predict(example.adversarial[None])[0] == example.prediction != example.label
        assert all(1 / 4 < share <= 1 for share in example.confidence), "a softmax over four classes, of the answer"


def test_a_second_run_leaves_no_picture_of_the_first(run, tmp_path):
    folder, _ = run
    (folder / "evidence" / "mine.png").write_bytes(b"kept")
    request = make_request(
        tmp_path / "m.onnx",
        make_data(tmp_path / "d.npz", 40),
        make_profile(tmp_path / "q.yaml", "\n  - {id: fgsm}\n", eps=1e-5),
    )
    for path in ("journal.jsonl", "points.bin"):
        (folder / path).unlink()
    assert run_here(request, folder).evidence.count == 0
    assert [path.name for path in (folder / "evidence").iterdir()] == ["mine.png"]


def test_a_fresh_audit_leaves_no_picture_of_the_last(run):
    folder, _ = run
    (folder / MARKER).write_text('{"run": "old"}')
    with claimed(folder, "new", fresh=True, key=RunKey(b"key", "name")):
        assert list((folder / "evidence").iterdir()) == []


def test_evidence_that_is_missing_changed_or_damaged_is_refused(run, tmp_path):
    folder, result = run
    with pytest.raises(AuditError, match="not beside the result"):
        read_examples(tmp_path / "elsewhere", result.evidence, 4)
    with pytest.raises(AuditError, match="not beside the result"):
        read_examples(folder, Evidence(), 4)
    path = folder / "evidence.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(AuditError, match=r"another SHA-256 than the result names"):
        read_examples(folder, result.evidence, 4)


def _claimed(path: Path) -> Evidence:
    import hashlib

    return Evidence(path=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), count=1)


def test_an_archive_that_lies_is_refused_without_harm(tmp_path):
    path = tmp_path / "evidence.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(AuditError, match="cannot be read"):
        read_examples(tmp_path, _claimed(path), 4)
    np.savez(path, original=np.array([{"a": 1}], dtype=object))
    with pytest.raises(AuditError, match="no plain array"):
        read_examples(tmp_path, _claimed(path), 4)
    np.savez(path, adversarial=np.zeros((2, 3)))
    with pytest.raises(AuditError, match="original"):
        read_examples(tmp_path, _claimed(path), 4)
    with zipfile.ZipFile(path, "w") as archive, archive.open("original.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1, 10**9, 10**9)}
        np.lib.format.write_array_header_2_0(file, header)
    with pytest.raises(AuditError, match="a row of original has"):
        read_examples(tmp_path, _claimed(path), 4)

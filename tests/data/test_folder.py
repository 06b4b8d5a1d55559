"""What an image folder holds: nothing is passed over without a word."""

from __future__ import annotations

import os
import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.data.folder import image_suffixes, walk
from robaudit.data.images import open_folder
from robaudit.data.reader import Fit, Wanted
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError, UsageError


def picture(path: Path, value: int = 0, **save: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (value, value, value)).save(path, **save)
    return path


def opened(
    folder: Path, *, k: int | None = 3, classes: list[str] | None = None, shape: tuple[int, ...] = (3, 6, 8)
) -> Dataset:
    return open_folder(folder, Fit(shape, num_classes=k, class_names=classes), Wanted())


def labels(data: Dataset) -> dict[str, int]:
    assert data.labels is not None
    return dict(zip(data.ids, data.labels.tolist(), strict=True))


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *(
            (".jfif", "JPEG"),
            (".jpe", "JPEG"),
            (".JPG", "JPEG"),
            (".pnm", "PPM"),
            (".jp2", "JPEG2000"),
            (".avif", "AVIF"),
        ),
        *((".webp", "WEBP"), (".tga", "TGA"), (".ico", "ICO"), (".apng", "PNG"), (".png", "JPEG"), (".dib", "DIB")),
    ],
)
def test_what_pillow_reads_is_read(tmp_path, suffix, kind):
    if suffix.lower() not in image_suffixes():
        pytest.skip(f"NOT TESTED: this Pillow reads no {suffix}")
    picture(tmp_path / "0" / f"a{suffix}", 200, format=kind)
    data = opened(tmp_path)
    assert data.load(0).mean() == pytest.approx(200 / 255, abs=2 / 255)


def test_no_programs_or_films_are_images():
    assert not image_suffixes() & {".eps", ".ps", ".mpg", ".h5", ".pdf", ".wmf", ".txt", ".csv"}
    assert image_suffixes() >= {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


def test_what_cannot_be_read_is_counted_and_named(tmp_path):
    for c in range(3):
        picture(tmp_path / str(c) / "a.png")
    for name in ("0/b.heic", "0/c.HEIC", "1/notes.txt", "2/raw", "README.md"):
        (tmp_path / name).write_text("x")
    for name in ("0/Thumbs.db", "1/.DS_Store", "desktop.ini", "2/.hidden.txt"):
        (tmp_path / name).write_text("x")
    data = opened(tmp_path)
    assert data.notes == [
        "files skipped because they cannot be read as images: 2 .heic, 1 .txt, 1 without a suffix, 1 .md"
    ]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.heic").write_text("x")
    with pytest.raises(UsageError, match=r"holds no images that can be read here \(but 1 \.heic\)"):
        opened(tmp_path / "only")


def test_images_that_are_hidden_are_skipped_and_named(tmp_path):
    for c in range(3):
        picture(tmp_path / str(c) / "a.png")
    for name in ("0/.b.png", "2/.c.JPG", "2/._a.png", "1/.notes.txt"):  # macOS leaves ._a.png beside a.png
        (tmp_path / name).write_bytes((tmp_path / "0" / "a.png").read_bytes())
    data = opened(tmp_path)
    assert set(labels(data)) == {"0/a.png", "1/a.png", "2/a.png"}
    assert data.notes == ["images skipped because their names begin with a dot: 0/.b.png, 2/.c.JPG"]


def test_links_to_folders_and_files_are_followed(tmp_path):
    for c in range(3):
        picture(tmp_path / "pool" / str(c) / "a.png", c)
    split = tmp_path / "split"
    split.mkdir()
    for c in range(2):
        (split / str(c)).symlink_to(tmp_path / "pool" / str(c))
    (split / "2").mkdir()
    (split / "2" / "b.png").symlink_to(tmp_path / "pool" / "2" / "a.png")
    (split / "2" / "deeper").symlink_to(tmp_path / "pool" / "2", target_is_directory=True)
    data = opened(split)
    assert labels(data) == {"0/a.png": 0, "1/a.png": 1, "2/b.png": 2, "2/deeper/a.png": 2}
    assert data.notes == []


def test_links_that_lead_nowhere_or_back_end_and_are_said(tmp_path):
    folder = tmp_path / "photos"
    for c in range(3):
        picture(folder / str(c) / "a.png", c)
    (folder / "0" / "again").symlink_to(folder / "0", target_is_directory=True)
    (folder / "1" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "2" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "3").symlink_to(tmp_path / "nowhere")
    data = opened(folder)
    assert list(data.ids) == ["0/a.png", "1/a.png", "2/a.png"]
    assert data.notes == ["links and folders skipped because they lead nowhere, or back: 0/again, 1/up, 2/gone.png, 3"]


def test_an_empty_class_folder_is_a_class(tmp_path):
    for name in ("ant", "cat"):
        picture(tmp_path / name / "a.png")
    (tmp_path / "bee").mkdir()
    data = opened(tmp_path)
    assert labels(data) == {"ant/a.png": 0, "cat/a.png": 2}
    assert data.class_names == ["ant", "bee", "cat"]
    assert "class folders without an image: bee" in data.notes
    two = opened(tmp_path, k=2)
    assert (labels(two), two.class_names) == ({"ant/a.png": 0, "cat/a.png": 1}, ["ant", "cat"])
    with pytest.raises(UsageError, match=r"3 classes by name and the model has 4.*\(classes: ant, bee, cat\)"):
        opened(tmp_path, k=4)
    assert labels(opened(tmp_path, k=4, classes=["x", "cat", "bee", "ant"])) == {"ant/a.png": 3, "cat/a.png": 1}


def test_a_class_of_which_nothing_can_be_read_is_a_class(tmp_path):
    for name in ("ant", "cat"):
        picture(tmp_path / name / "a.png")
    (tmp_path / "bee").mkdir()
    (tmp_path / "bee" / "a.heic").write_text("x")
    data = opened(tmp_path)
    assert labels(data)["cat/a.png"] == 2
    assert data.notes[:2] == [
        "files skipped because they cannot be read as images: 1 .heic",
        "class folders without an image: bee",
    ]


@pytest.mark.parametrize("names", [("train", "val"), ("Training", "Test"), ("train", "valid", "test")])
def test_parts_of_a_data_set_are_no_classes(tmp_path, names):
    for name in names:
        for c in range(2):
            picture(tmp_path / name / str(c) / "a.png")
    with pytest.raises(UsageError, match=r"holds parts of a data set \(.*\), not classes; give one, as .*"):
        opened(tmp_path, k=len(names))
    assert len(opened(tmp_path / names[0])) == 2


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        picture(tmp_path / name / "a.png")
    assert labels(opened(tmp_path, k=2)) == {"bus/a.png": 0, "train/a.png": 1}
    (tmp_path / "bus" / "a.png").unlink()
    (tmp_path / "bus").rmdir()
    assert labels(opened(tmp_path, k=2, classes=["bus", "train"])) == {"train/a.png": 1}


@pytest.mark.parametrize(("disk", "told"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_folder_names_are_compared_in_normal_form_c(tmp_path, disk, told):
    names = ("café", "naïf", "thé")
    for name in names:
        picture(tmp_path / unicodedata.normalize(disk, name) / "é.png")
    declared = [unicodedata.normalize(told, name) for name in reversed(names)]
    data = opened(tmp_path, classes=declared)
    assert labels(data) == {f"{name}/é.png": 2 - i for i, name in enumerate(names)}
    assert opened(tmp_path).class_names == list(names)


def test_an_order_that_depends_on_the_normal_form_is_refused(tmp_path):
    for name in ("émeu", "zébu"):
        picture(tmp_path / unicodedata.normalize("NFD", name) / "a.png")
    with pytest.raises(UsageError, match="depends on how accents are encoded; declare the names with --classes"):
        opened(tmp_path, k=2)


def test_a_folder_that_is_the_same_in_either_form_has_one_digest(tmp_path):
    for form in ("NFC", "NFD"):
        picture(tmp_path / form / unicodedata.normalize(form, "café") / "é.png")
    first, second = (opened(tmp_path / form, k=1) for form in ("NFC", "NFD"))
    assert (first.digest, list(first.ids)) == (second.digest, list(second.ids))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="NOT TESTED: root may enter every folder")
def test_a_folder_that_cannot_be_entered_is_said(tmp_path):
    picture(tmp_path / "0" / "a.png")
    (tmp_path / "1").mkdir(mode=0)
    assert walk(tmp_path).broken == ["1"]
    (tmp_path / "1").chmod(0o700)


def test_frames_and_transparency_are_said(tmp_path):
    frames = [Image.new("RGB", (8, 6), (c, c, c)) for c in (200, 10)]
    (tmp_path / "0").mkdir()
    frames[0].save(tmp_path / "0" / "a.tif", save_all=True, append_images=frames[1:])
    Image.new("P", (8, 6), 3).save(tmp_path / "0" / "b.png", transparency=3)
    data = opened(tmp_path)
    assert data.load(0).mean() == pytest.approx(200 / 255)
    assert data.notes[1:] == [
        "1 of 2 images has an alpha channel or a transparent colour, which is ignored",
        "1 of 2 images holds several frames or pages, of which the first is used",
    ]


def tiff(path: Path, values: np.ndarray, photometric: int, sample: int = 1) -> None:
    """An uncompressed grey TIFF; ``sample`` 1: without a sign, 2: with."""
    data, (high, wide) = values.tobytes(), values.shape
    tags = [(256, 3, wide), (257, 3, high), (258, 3, 8 * values.itemsize), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8 + 2 + 12 * 10 + 4), (277, 3, 1), (278, 3, high), (279, 4, len(data)), (339, 3, sample)]
    entries = b"".join(
        struct.pack("<HHIHH" if kind == 3 else "<HHII", tag, kind, 1, value, *([0] if kind == 3 else []))
        for tag, kind, value in tags
    )
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_may_be_zero(tmp_path, kind):
    most = np.iinfo(kind).max
    values = np.linspace(0, most, 48).reshape(6, 8).astype(kind)
    tiff(tmp_path / "0" / "a.tif", values, 0)
    tiff(tmp_path / "0" / "b.tif", values, 1)
    data = opened(tmp_path, shape=(1, 6, 8))
    np.testing.assert_allclose(data.load(1)[0], values / most, atol=1 / 255)
    np.testing.assert_allclose(data.load(0)[0], 1 - values / most, atol=1 / 255)


@pytest.mark.parametrize(("kind", "sample"), [(np.int16, 2), (np.int32, 2), (np.uint32, 1)])
def test_grey_values_of_an_unknown_range_are_refused(tmp_path, kind, sample):
    tiff(tmp_path / "0" / "a.tif", np.arange(48).reshape(6, 8).astype(kind), 1, sample)
    with pytest.raises(UnreadableSampleError, match="signed or have 32 bits, in an unknown range"):
        opened(tmp_path, shape=(1, 6, 8)).load(0)

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.data.images import bundled_dataset, open_folder
from robaudit.data.reader import Fit, Wanted
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError, UsageError


def picture(path: Path, size: tuple[int, int] = (8, 6), mode: str = "RGB", seed: int = 0, **save: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands)).astype(np.uint8)
    Image.fromarray(values[..., 0] if bands == 1 else values, mode).save(path, **save)
    return path


def open_it(
    folder: Path,
    shape: tuple[int, ...] = (3, 6, 8),
    *,
    crop: float = 0.875,
    classes: list[str] | None = None,
    labels: Path | None = None,
    k: int | None = 10,
    labelled: bool = True,
) -> Dataset:
    fit = Fit(shape, crop=crop, num_classes=k, class_names=classes)
    return open_folder(folder, fit, Wanted(labels, labelled=labelled))


pytestmark = pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")


def test_folders_that_are_all_numbers_are_the_labels(tmp_path):
    for name in ("10", "9", "007"):
        picture(tmp_path / name / "a.png")
    data = open_it(tmp_path, k=11)
    assert dict(zip(data.ids, data.labels.tolist(), strict=True)) == {"007/a.png": 7, "10/a.png": 10, "9/a.png": 9}
    assert (data.class_order, data.class_names, data.notes) == ("numeric", None, [])
    with pytest.raises(UsageError, match=r"label 10 .* out of range: the model has 10 classes"):
        open_it(tmp_path, k=10)


def test_declared_names_come_first(tmp_path):
    for name in ("cat", "dog"):
        picture(tmp_path / name / "deep" / "a.png")
    data = open_it(tmp_path, classes=["emu", "dog", "cat"], k=3)
    assert data.labels.tolist() == [2, 1]
    assert data.class_order == "declared"
    with pytest.raises(UsageError, match=r"'cat' .* not among the 2 declared ones; did you mean 'cats'"):
        open_it(tmp_path, classes=["cats", "dog"])
    with pytest.raises(UsageError, match=r"'cat' .* declared twice"):
        open_it(tmp_path, classes=["cat", "dog", "cat"])


def test_digits_may_be_declared_names(tmp_path):
    for name in ("3", "8"):
        picture(tmp_path / name / "a.png")
    assert open_it(tmp_path, classes=["8", "3"]).labels.tolist() == [1, 0]
    assert open_it(tmp_path, classes=["three", "eight"]).labels.tolist() == [3, 8]


def test_sorted_names_are_assumed_and_only_where_all_are_there(tmp_path):
    for name in ("b", "a", "C"):
        picture(tmp_path / name / "1.png")
    data = open_it(tmp_path, k=3)
    assert data.class_names == ["C", "a", "b"]
    assert data.class_order == "sorted, assumed"
    assert any("assumed" in note for note in data.notes)
    with pytest.raises(UsageError, match="3 classes by name and the model has 10"):
        open_it(tmp_path)


def test_names_do_not_matter_where_the_model_is_the_reference(tmp_path):
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "2.png")
    (tmp_path / "labels.csv").write_text("1.png,99\n")
    data = open_it(tmp_path, labelled=False)
    assert data.labels is None
    assert list(data.ids) == ["2.png", "a/1.png"]


@pytest.mark.parametrize("header", ["", "file,label\n", "\ufeffImage_Path,Class\n"])
def test_flat_folder_with_csv(tmp_path, header):
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    (tmp_path / "labels.csv").write_text(f"{header}b.png, 4\n\n a.png,2\n", encoding="utf-8")
    data = open_it(tmp_path)
    assert list(data.ids) == ["b.png", "a.png"]
    assert data.labels.tolist() == [4, 2]


def test_csv_elsewhere_and_what_it_may_lack(tmp_path):
    folder = tmp_path / "images"
    picture(folder / "a.png")
    csv = tmp_path / "l.csv"
    csv.write_text("a.png,1\ngone.png,2\n")
    data = open_it(folder, labels=csv)
    assert data.labels.tolist() == [1, 2]
    with pytest.raises(UnreadableSampleError, match=r"gone\.png cannot be read: No such file"):
        data.load(1)
    for content, words in [
        ("a.png\n", "has no header and 1 column; head it file,label"),
        ("", "holds nothing"),
        ("file,label\n", "holds no labels"),
        ("a.png,77\n", r"label 77 in .*l\.csv is out of range"),
        ("nope.png,1\n", "none of the 1 files"),
    ]:
        csv.write_text(content)
        with pytest.raises(UsageError, match=words):
            open_it(folder, labels=csv)
    csv.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        open_it(folder, labels=csv)
    with pytest.raises(UsageError, match="there is no labels file"):
        open_it(folder, labels=tmp_path / "no.csv")


def test_folders_that_cannot_serve(tmp_path):
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(UsageError, match="holds no images"):
        open_it(tmp_path)
    picture(tmp_path / "a.png")
    picture(tmp_path / "1" / "a.png")
    with pytest.raises(UsageError, match="mixes images with class subfolders"):
        open_it(tmp_path)
    with pytest.raises(UsageError, match=r"takes samples of 17; give an \.npz"):
        open_it(tmp_path, (17,))


def test_hidden_files_are_no_data(tmp_path):
    picture(tmp_path / "1" / "a.png")
    picture(tmp_path / ".cache" / "b.png")
    picture(tmp_path / "__MACOSX" / "1" / "c.png")
    picture(tmp_path / "1" / "._a.png")
    assert list(open_it(tmp_path).ids) == ["1/a.png"]


def test_images_of_the_right_kind_are_left_alone(tmp_path):
    path = picture(tmp_path / "1" / "a.png")
    data = open_it(tmp_path)
    np.testing.assert_array_equal(data.load(0), np.moveaxis(np.asarray(Image.open(path)), -1, 0) / np.float32(255))
    assert data.load(0).dtype == np.float32
    assert data.notes == []


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 3), ("RGBA", 3), ("P", 3), ("CMYK", 3), ("1", 1), ("RGB", 1), ("RGB", 4), ("LA", 1)]
)
def test_channels_are_converted_and_the_report_says_so(tmp_path, mode, channels):
    path = tmp_path / "1" / ("a.tif" if mode == "CMYK" else "a.png")
    path.parent.mkdir()
    Image.new("RGB", (8, 6), (200, 100, 50)).convert(mode).save(path)
    picture(tmp_path / "1" / "b.png", mode={1: "L", 3: "RGB", 4: "RGBA"}[channels])
    data = open_it(tmp_path, (channels, 6, 8))
    assert data.load(0).shape == (channels, 6, 8)
    assert 0 <= data.load(0).min() <= data.load(0).max() <= 1
    name = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
    expected = [f"1 of 2 images was converted to {name} (from {mode} 1)"]
    if mode in ("RGBA", "LA"):
        expected.append("1 of 2 images has an alpha channel or a transparent colour, which is ignored")
    assert data.notes == expected


def test_grey_is_the_same_in_every_channel(tmp_path):
    picture(tmp_path / "1" / "a.png", mode="L")
    found = open_it(tmp_path).load(0)
    np.testing.assert_array_equal(found[0], found[2])


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 48).reshape(6, 8).astype(np.uint16)
    (tmp_path / "1").mkdir()
    Image.fromarray(values).save(tmp_path / "1" / "a.png")
    np.testing.assert_allclose(open_it(tmp_path, (1, 6, 8)).load(0)[0], values / 65535, atol=0.5 / 255 + 1e-6)
    Image.fromarray(np.zeros((6, 8), np.float32)).save(tmp_path / "1" / "f.tif")
    with pytest.raises(UnreadableSampleError, match="unknown range"):
        open_it(tmp_path, (1, 6, 8)).load(1)


def test_orientation_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path / "1" / "a.png", (6, 8), exif=exif)
    data = open_it(tmp_path)
    expected = np.rot90(np.asarray(Image.open(path)), -1)
    np.testing.assert_allclose(data.load(0), np.moveaxis(expected, -1, 0) / 255, atol=1e-6)
    assert data.notes == []


def test_resizing_is_the_shorter_side_and_a_centre_crop(tmp_path):
    path = picture(tmp_path / "1" / "a.png", (90, 45))
    data = open_it(tmp_path, (3, 28, 28))
    resized = Image.open(path).resize((64, 32), Image.Resampling.BICUBIC).crop((18, 2, 46, 30))
    np.testing.assert_allclose(data.load(0), np.moveaxis(np.asarray(resized), -1, 0) / 255, atol=1e-6)
    assert data.notes == [
        "1 of 1 image was resized (bicubic) and cut to the centre 28x28 (crop 0.875) before the attack"
    ]


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5), (27, 28), (29, 28)])
def test_any_size_comes_out_right(tmp_path, size):
    picture(tmp_path / "1" / "a.png", size)
    for shape in ((3, 28, 28), (3, 10, 40)):
        assert open_it(tmp_path, shape, crop=1.0).load(0).shape == shape


def test_an_absurd_shape_costs_itself(tmp_path):
    picture(tmp_path / "1" / "a.png", (20000, 1))
    with pytest.raises(UnreadableSampleError, match="too far from the model's"):
        open_it(tmp_path, (3, 224, 224)).load(0)


def test_a_damaged_image_costs_itself(tmp_path):
    good = io.BytesIO()
    Image.new("RGB", (64, 64)).save(good, "jpeg")
    (tmp_path / "1").mkdir()
    contents = {
        "empty.png": b"",
        "text.jpg": b"no image",
        "short.jpg": good.getvalue()[:200],
        "head.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        "bytes.tif": b"II*\0" + b"\xff" * 64,
        "bytes.webp": b"RIFF\xff\xff\0\0WEBPVP8 " + b"\xff" * 32,
    }
    for name, content in contents.items():
        (tmp_path / "1" / name).write_bytes(content)
    picture(tmp_path / "1" / "good.png")
    data = open_it(tmp_path)
    assert len(data) == 7
    for index, name in enumerate(data.ids):
        if name == "1/good.png":
            assert data.load(index).shape == (3, 6, 8)
            continue
        with pytest.raises(UnreadableSampleError, match=f"{name} cannot be read: ."):
            data.load(index)


def test_digest_is_of_names_and_contents(tmp_path):
    def digest() -> str:
        return open_it(tmp_path).digest

    path = picture(tmp_path / "1" / "a.png")
    first = digest()
    assert digest() == first
    picture(path, seed=1)
    assert digest() != first
    picture(path)
    assert digest() == first
    path.rename(tmp_path / "1" / "b.png")
    assert digest() != first


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (4, 20, 30), (3, 224, 224)])
def test_bundled_images_fit_any_image_model(shape):
    data = bundled_dataset(shape)
    assert len(data) >= 10
    assert data.labels is None
    assert data.load(0).shape == shape
    assert data.load(0).std() > 0.01
    assert "bundled" in data.notes[0]


@pytest.mark.parametrize("shape", [(17,), (5, 6), (2, 8, 8)])
def test_bundled_images_are_for_images(shape):
    with pytest.raises(UsageError, match="no images; give --data"):
        bundled_dataset(shape)

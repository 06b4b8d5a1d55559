"""Files that say which features may change: what they may hold, and what refuses them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.data.masks import read_mask
from robaudit.errors import UsageError

SHAPE = (3, 4, 6)
PLACE = np.zeros(SHAPE[1:], dtype=bool)
PLACE[1:3, 2:5] = True


def read(path: Path, shape: tuple[int, ...] = SHAPE, *, image: bool = True, last: bool = False) -> np.ndarray:
    return read_mask(path, shape, image=image, channels_last=last)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_white_pixels_may_change_in_all_channels(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(np.where(PLACE, 255, 0).astype(np.uint8))
    if mode == "I;16":
        Image.fromarray(np.where(PLACE, 65535, 0).astype(np.uint16)).save(tmp_path / "m.png")
    else:
        grey.convert(mode).save(tmp_path / "m.png")
    found = read(tmp_path / "m.png")
    assert found.dtype == bool
    assert np.array_equal(found, np.broadcast_to(PLACE, SHAPE))


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32])
def test_arrays_of_pixels_and_of_samples(kind: type, tmp_path: Path) -> None:
    whole = np.zeros(SHAPE, dtype=bool)
    whole[0, 0, 0] = whole[2, 3, 5] = True
    for mask, wanted in ((PLACE, np.broadcast_to(PLACE, SHAPE)), (whole, whole), (np.moveaxis(whole, 0, -1), whole)):
        np.save(tmp_path / "m.npy", mask.astype(kind))
        np.savez(tmp_path / "one.npz", anything=mask.astype(kind))
        np.savez(tmp_path / "named.npz", x=np.zeros(3), mask=mask.astype(kind))
        for name in ("m.npy", "one.npz", "named.npz"):
            assert np.array_equal(read(tmp_path / name), wanted), name


def test_a_cube_has_its_channels_where_the_models_file_has_them(tmp_path: Path) -> None:
    cube = np.zeros((3, 3, 3), dtype=bool)
    cube[0, 1, 2] = True
    np.save(tmp_path / "m.npy", cube)
    assert np.argwhere(read(tmp_path / "m.npy", (3, 3, 3))).tolist() == [[0, 1, 2]]
    assert np.argwhere(read(tmp_path / "m.npy", (3, 3, 3), last=True)).tolist() == [[2, 0, 1]]


def test_features_of_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([1, 0, 0, 1]))
    assert read(tmp_path / "m.npy", (4,), image=False).tolist() == [True, False, False, True]
    assert read(tmp_path / "m.npy", (2, 2), image=False).tolist() == [[True, False], [False, True]]
    with pytest.raises(UsageError, match="has the size 4, and the model takes 5 features; masks are not resized"):
        read(tmp_path / "m.npy", (5,), image=False)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UsageError, match=r"is an image, and the model takes samples of 4; give an \.npy"):
        read(tmp_path / "m.png", (4,), image=False)


def test_other_sizes_are_refused_and_both_are_said(tmp_path: Path) -> None:
    Image.new("1", (7, 4)).save(tmp_path / "m.png")
    with pytest.raises(UsageError, match=r"has the size 4x7, and the model takes 4x6 pixels .*; masks are not resized"):
        read(tmp_path / "m.png")
    Image.new("1", (60_000, 30_000)).save(tmp_path / "huge.png")  # never unpacked
    with pytest.raises(UsageError, match=r"30000x60000, and the model takes 4x6 pixels|cannot be read"):
        read(tmp_path / "huge.png")
    np.save(tmp_path / "m.npy", np.ones((4, 5)))
    with pytest.raises(UsageError, match="has the size 4x5, and the model takes 4x6 pixels"):
        read(tmp_path / "m.npy")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.npy", np.where(PLACE, 0.5, 0.0), r"6 values neither 0 nor 1, such as 0\.5 at \(1, 2\)"),
        ("m.npy", np.where(PLACE, np.nan, 0.0), "neither 0 nor 1, such as nan"),
        ("m.npy", np.full(SHAPE, "x"), "must hold 0 and 1"),
        ("m.npy", np.array([{}], dtype=object), "cannot be read"),
        ("m.npz", {"a": PLACE, "b": PLACE}, "must hold one array, or one called mask; it holds a, b"),
        ("m.npy", b"\x93NUMPY", "cannot be read"),
        ("m.npz", b"PK\x03\x04", "cannot be read"),
        ("m.png", b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (
            "m.png",
            np.where(PLACE, 255, 7).astype(np.uint8),
            r"18 values neither black nor white, such as 7 at \(0, 0\)",
        ),
    ],
)
def test_what_is_no_mask_is_refused_in_a_sentence(name: str, content: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif path.suffix == ".png":
        Image.fromarray(content).save(path)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(UsageError, match=words):
        read(path)


def test_colours_transparency_and_frames_say_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("RGBA", (6, 4), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    Image.new("L", (6, 4)).save(tmp_path / "two.gif", save_all=True, append_images=[Image.new("L", (6, 4), 255)])
    for name, words in (("red.png", "colours"), ("clear.png", "transparent"), ("two.gif", "several frames")):
        with pytest.raises(UsageError, match=words):
            read(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.png")
    with pytest.raises(UsageError, match="there is no mask"):
        read(tmp_path / "m.png")

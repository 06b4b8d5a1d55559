import os
import socket
import threading

import pytest

from robaudit.errors import UsageError
from robaudit.files import open_regular, read_regular, text_of

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT TESTED: no named pipes here")


def at_once(call, seconds=10.0):
    """What a call raises; it must not wait for anybody."""
    caught = []

    def run():
        try:
            call()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits"
    assert caught, "it was not refused"
    return caught[0]


@needs_pipes
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, words in (("pipe", "a named pipe"), ("link", "a named pipe"), ("zero", "a device"), (".", "a folder")):
        error = at_once(lambda path=tmp_path / name: read_regular(path, 10))
        assert isinstance(error, UsageError), error
        assert words in str(error)
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(tmp_path)  # such names are short
        try:
            listener.bind("socket")
        finally:
            os.chdir(place)
        assert isinstance(at_once(lambda: read_regular(tmp_path / "socket", 10)), (UsageError, OSError))


def test_no_more_is_read_than_was_expected(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular(path, 10) == b"0123456789"
    with pytest.raises(UsageError, match="larger than"):
        read_regular(path, 9)
    with open_regular(path) as file:
        assert file.read(3) == b"012"
    (tmp_path / "loop").symlink_to("loop")
    for name in ("missing", "loop"):
        with pytest.raises(OSError, match=name):
            read_regular(tmp_path / name, 9)


def test_names_that_are_no_text():
    assert text_of(os.fsdecode(b"a/caf\xe9.png")) == "a/caf%E9.png"
    assert text_of("a/caf\u00e9 100%.png") == "a/caf\u00e9 100%.png"
    assert text_of("\ud800") == "\N{REPLACEMENT CHARACTER}"

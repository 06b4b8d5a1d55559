import itertools
import time

import pytest

from robaudit.documents import DEEPEST, parse_json, read_yaml
from robaudit.errors import UsageError

REFUSED = {
    "alias": ("a: &x [1]\nb: *x", "line 2: the alias *x"),
    "merge of an alias": ("a: &x {b: 1}\nc:\n  <<: *x", "line 3: the alias *x"),
    "merge": ("<<: {a: 1}", "line 1: the merge key <<"),
    "tag": ("a: 1\nb: !!int 'abc'", "line 2: the tag !!int"),
    "float": ("a: !!float x", "line 1: the tag !!float"),
    "binary": ("a: !!binary aGk=", "line 1: the tag !!binary"),
    "timestamp": ("a: !!timestamp 2001-13-45", "line 1: the tag !!timestamp"),
    "object": ("a: !!python/object/apply:os.system [ls]", "line 1: the tag !!python/object"),
    "own tag": ("a: !x 1", "line 1: the tag !x"),
    "digits": ("\nseed: " + "9" * 5000, "line 2: a number of 5000 digits"),
    "infinity": ("a: -.inf", "line 1: -.inf is no finite number"),
    "no number": ("a: .NaN", "line 1: .NaN is no finite number"),
    "overflow": ("a: 1.0e999", "line 1: 1.0e999 is no finite number"),
    "twice": ("a: 1\nb: {c: 1, c: 2}", "line 2: the key 'c' is given twice"),
    "twice in two forms": ("a: 1\n'a': 2", "line 2: the key 'a' is given twice"),
    "key": ("? [1, 2]\n: 3", "line 1: a key is a name"),
    "two documents": ("a: 1\n---\nb: 2", "line 2: expected a single document"),
    "tab": ("a:\n\tb: 1", "line 2:"),
    "NUL": ("a: 1\nb: \0", "line 2: a character"),
    "escaped NUL": ('a: "\\0"', "line 1: a text holds a character"),
    "half a character": ('a: "\\ud800"', "line 1: a text holds a character"),
    "no character": ('a: "\\UFFFFFFFF"', "not valid YAML"),
    "deep": ("a: " + "[" * 5000, f"line 1: lists and maps lie within each other more than {DEEPEST}"),
    "deep blocks": ("- " * 5000, f"more than {DEEPEST}"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_one_sentence_with_its_line(tmp_path, case):
    content, words = REFUSED[case]
    path = tmp_path / "x.yaml"
    path.write_bytes(content.encode("utf-8"))
    with pytest.raises(UsageError) as caught:
        read_yaml(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path} is not valid YAML: ")
    assert "\n" not in str(caught.value)


def test_aliases_that_multiply_cost_nothing(tmp_path):
    names = "abcdefghijklmnop"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in itertools.pairwise(names)]
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(lines))
    began = time.monotonic()
    with pytest.raises(UsageError, match="line 2: the alias"):
        read_yaml(path)
    assert time.monotonic() - began < 5


def test_values_are_what_they_look_like(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(
        b"\xef\xbb\xbfday: 2001-13-45\ntime: 12:30:45\nsixty: 1:1:1\nten: 010\nhex: 0x1f\neight: 0o17\nreal: 1e3\n"
        b"half: -.5\nswitch: yes\nnothing: ~\nempty:\ntext: !!str 5\nquoted: '7'\n2020: x\nno: y\nanchor: &a z\n"
    )
    document = read_yaml(path)
    assert document.content == {
        "day": "2001-13-45", "time": "12:30:45", "sixty": "1:1:1", "ten": 10, "hex": 31, "eight": 15, "real": 1000.0,
        "half": -0.5, "switch": True, "nothing": None, "empty": None, "text": "5", "quoted": "7", "2020": "x",
        "no": "y", "anchor": "z",
    }  # fmt: skip
    assert document.where(("ten",)) == f"line 4 of {path}"
    assert document.where(("quoted", "anything", 3)) == f"line 13 of {path}"
    assert document.where(("missing",)) == document.where() == str(path)


def test_files_that_are_none_or_too_large(tmp_path):
    latin, large, empty = tmp_path / "latin.yaml", tmp_path / "large.yaml", tmp_path / "empty.yaml"
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    with large.open("wb") as file:
        file.truncate(2**33)
    empty.write_text("# nothing\n")
    for path, words in ((latin, "line 2 is not UTF-8"), (large, "larger than the 128 kB"), (tmp_path, "a folder")):
        with pytest.raises(UsageError, match=words):
            read_yaml(path)
    assert read_yaml(empty).content == {}


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "1" * 5000, b"\xff", "{", ""])
def test_json_that_is_none_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"\S"):
        parse_json(text)

"""Classes given with the samples, as each kind of data holds them."""

from __future__ import annotations

import numpy as np
import pytest

from robaudit.data.reader import Wanted
from robaudit.data.registry import open_source
from robaudit.data.table import read_table
from robaudit.errors import UsageError

TABLE = "age,aim,income,label\n20,b,1000,a\n40,,3000,b\n60,NaN,2000,a\n"


def targets(path, ids, **wanted):
    return open_source(path, Wanted(**wanted)).targets(ids)


def archived(tmp_path, target, count=3):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.zeros((count, 2)), **({} if target is None else {"target": target}))
    return targets(path, [str(i) for i in range(count)])


def test_an_archive_holds_numbers_or_names(tmp_path):
    assert archived(tmp_path, None) is None
    assert archived(tmp_path, np.array([2, -1, 0])) == ("2", "", "0")
    assert archived(tmp_path, np.array([2.0, -1.0, 0.0])) == ("2", "", "0")
    assert archived(tmp_path, np.array(["cat", "", "dog"])) == ("cat", "", "dog")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (np.array([1, 2]), "3 samples and 2 targets"),
        (np.array(1), "3 samples and 1 target"),
        (np.zeros((3, 2), int), "one number or name a sample"),
        (np.array([None, 1, 2]), "cannot be read"),
    ],
)
def test_an_array_of_something_else_is_refused(tmp_path, target, words):
    with pytest.raises(UsageError, match=words):
        archived(tmp_path, target)


def test_a_third_column_of_the_labels(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/c.png", "d.png"):
        (tmp_path / name).touch()
    rows = "file,label,target\n./b.png,1,cat\na.png,0\nsub/c.png,1,\n"
    (tmp_path / "labels.csv").write_text(rows)
    ids = ["a.png", "b.png", "sub/c.png", "d.png"]
    assert targets(tmp_path, ids) == ("", "cat", "", "")
    (tmp_path / "own.csv").write_text("file,label,target\na.png,0,1\n")
    assert targets(tmp_path, ids, labels=tmp_path / "own.csv") == ("1", "", "", "")
    (tmp_path / "labels.csv").write_text("file,label,weight\na.png,0,1\n")
    assert targets(tmp_path, ids) is None
    (tmp_path / "labels.csv").write_text("file,label,target\na.png,0,1\na.png,0,2\n")
    with pytest.raises(UsageError, match="two targets, '1' and '2'"):
        targets(tmp_path, ids)
    (tmp_path / "labels.csv").unlink()
    assert targets(tmp_path, ids) is None


def test_a_column_of_a_table_is_no_feature(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    table = read_table(path, target_column="aim")
    assert table.names == ("age", "income")
    assert table.labels == ("a", "b", "a")
    assert table.values.tolist() == [[20, 1000], [40, 3000], [60, 2000]]
    assert targets(path, ["1", "2", "3"], target_column="aim") == ("b", "", "")
    with pytest.raises(UsageError, match="no column 'am'; did you mean 'aim'"):
        read_table(path, target_column="am")
    with pytest.raises(UsageError, match="cannot hold both"):
        read_table(path, "label", target_column="label")
    path.write_text("age,aim,label\n20,b\n")
    with pytest.raises(UsageError, match=r"line 2 of .* has 2 cells, and the header 3"):
        read_table(path, target_column="aim")

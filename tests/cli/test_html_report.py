"""The HTML report as a user gets it: from a scan, again from the run directory, and from a result alone."""

import base64
import shutil

from html_kit import Page
from quick_start import ran
from run_kit import environment, make_data, make_onnx, make_profile, scan


def report(*arguments):
    return ran(["report", *arguments], env=environment())


def test_scan_and_report_find_the_pictures(tmp_path):
    files = make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), make_profile(tmp_path / "p.yaml", eps=0.3)
    done = scan(*files, tmp_path / "run", "-o", str(tmp_path / "first.html"))
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "first.html").read_text("utf-8")
    pictures = Page(first).pictures()
    assert len(pictures) == 3 * 14, "of 16 samples two are answered wrongly without an attack"
    assert pictures[0][0].size == (6, 6)
    kept = (tmp_path / "run" / "evidence" / "0000-original.png").read_bytes()
    assert first.count(base64.b64encode(kept).decode()) >= 1, "the page shows what is kept"
    again = report(tmp_path / "run", "-o", tmp_path / "second.html")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert (tmp_path / "second.html").read_text("utf-8") == first
    shutil.copy(tmp_path / "run" / "result.json", tmp_path / "bare.json")
    assert report(tmp_path / "bare.json", "-o", tmp_path / "bare.html").returncode == 0
    bare = Page((tmp_path / "bare.html").read_text("utf-8"))
    assert bare.pictures() == []
    assert "14 adversarial examples were kept, and none is shown" in bare.text
    assert str(tmp_path.parent) not in bare.text.split("Reproduce")[0], "no folder of this machine but in the command"

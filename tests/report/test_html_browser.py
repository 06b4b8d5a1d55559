"""The HTML page in a headless Chromium: layout at desktop and phone width, light and dark, console, and printing."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from html_kit import write_run
from report_cases import FAILS, UNION, cases, make_comparison, make_curve
from results import make_attack

from robaudit.audit.result.document import AuditFailure, Feature, Result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.html import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NO CHROMIUM: layout, contrast, console and printing of the HTML report are NOT tested (apt-get install "
    "chromium)",
)
MEASURE = """
const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const numbers = color => (color.match(/[\\d.]+/g) || []).map(Number);
const background = element => {
  for (let e = element; e; e = e.parentElement) {
    const found = numbers(e.ownerDocument.defaultView.getComputedStyle(e).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const ratio = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const name = e => `${e.tagName} ${(e.textContent || "").trim().slice(0, 40)}`;
function measure(frame) {
  const doc = frame.contentDocument, view = frame.contentWindow, width = doc.documentElement.clientWidth;
  const all = [...doc.body.querySelectorAll("*")], style = e => view.getComputedStyle(e);
  const shown = all.filter(e => e.getClientRects().length && !e.closest(".skip"));
  const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const color = e => numbers(e.namespaceURI.endsWith("svg") ? style(e).fill : style(e).color);
  const cut = e => {
    const text = e.getBoundingClientRect(), drawing = e.ownerSVGElement.getBoundingClientRect();
    return text.left < drawing.left - 2 || text.right > drawing.right + 2;
  };
  return {
    width, scroll: doc.documentElement.scrollWidth,
    outside: shown.filter(e => !e.closest(".wide") && e.getBoundingClientRect().right > width + 1).map(name),
    broken: [...doc.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt),
    images: doc.images.length,
    charts: [...doc.querySelectorAll("svg")].map(e => Math.round(e.getBoundingClientRect().width)),
    cut: [...doc.querySelectorAll("svg text")].filter(cut).map(name),
    headings: [...doc.querySelectorAll("h1, h2, h3")].map(e => e.textContent.trim()),
    faint: shown.filter(e => own(e) && ratio(color(e), background(e)) < 4.5).map(name),
    page: luminance(numbers(style(doc.body).backgroundColor)),
    mute: shown.filter(e => ["auto", "scroll"].includes(style(e).overflowX) && e.scrollWidth > e.clientWidth
      && e.tabIndex < 0).map(name),
    loaded: view.performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
  };
}
addEventListener("load", () => setTimeout(() => {
  document.getElementById("out").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(measure));
}, 500));
"""


def browse(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    options += ("--hide-scrollbars", "--virtual-time-budget=4000", f"--user-data-dir={folder / 'profile'}")
    command = [CHROMIUM, *options, "--disable-background-networking", "--enable-logging=stderr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def measured(folder: Path, page: str, *, dark: bool) -> dict[int, dict]:
    """What a browser makes of a page, by width in CSS pixels."""
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        for width in (360, 1280)
    )
    outer = folder / "outer.html"
    outer.write_text(f"<!DOCTYPE html>{frames}<pre id=out></pre><script>{MEASURE}</script>", "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    dom = browse(folder, scheme, "--dump-dom", outer.as_uri()).stdout
    (found,) = re.findall(r'<pre id="out">(.*?)</pre>', dom, re.DOTALL)
    return {entry["width"]: entry for entry in json.loads(html.unescape(found))}


def console(folder: Path, page: str) -> list[str]:
    path = folder / "page.html"
    path.write_text(page, "utf-8")
    logged = browse(folder, "--dump-dom", path.as_uri()).stderr
    return [line for line in logged.splitlines() if "CONSOLE" in line]


def pictured(folder: Path) -> tuple[Result, Path]:
    """A result with every section: pictures, a union, a curve, a baseline, gates, errors, and long names."""
    original = np.random.default_rng(0).random((6, 3, 32, 32))
    names = ["a very long name of a class that nobody would give, " * 3, "x" * 200, *(f"kind {i}" for i in range(8))]
    draft = write_run(
        folder / "run",
        original,
        (original + 0.03).clip(0, 1),
        data={"classes": names, "source": "some/" + "long" * 60 + ".npz"},
        target={"file": "models/" + "m" * 150 + ".onnx", "assumed": ("the range is [0, 1]",)},
        attacks=(
            make_attack("apgd-ce", parameters={"steps": 20}),
            make_attack("q" * 70, "scores", norm="l2", eps=0.5, queries=9),
        ),
        curves=(make_curve(),),
        threats=cases()["union"].threats,
        threat_model=UNION,
        comparison=make_comparison(),
        errors=(AuditFailure(where="data", message="e" * 300),),
        run={"command": "robaudit scan " + "--surrogate s.onnx " * 40},
    )
    return conclude(draft, FAILS), folder / "run"


def tabular(folder: Path) -> tuple[Result, Path]:
    features = tuple(Feature(name=f"feature {i} " + "y" * 60, low=0, high=10) for i in range(12))
    spec = {"layout": None, "channels": None, "domain": None, "features": features}
    original = np.full((3, 12), 0.25)
    return write_run(folder / "run", original, original + 0.1, input=spec), folder / "run"


KINDS = {"pictures": pictured, "table": tabular}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_layout_contrast_and_pictures(tmp_path, kind, dark):
    result, run = KINDS[kind](tmp_path)
    found = measured(tmp_path, render(result, run), dark=dark)
    assert set(found) == {360, 1280}
    for width, seen in found.items():
        assert seen["scroll"] <= width, "no overflow of the page"
        for fault in ("outside", "broken", "cut", "faint", "mute", "loaded"):
            assert seen[fault] == [], (width, fault)
        assert seen["images"] == (18 if kind == "pictures" else 0)
        assert len(seen["charts"]) == (3 if kind == "pictures" else 2)
        assert all(size >= 300 for size in seen["charts"])
        assert {"Threat model", "Attacks", "Adversarial examples", "Classes", "Provenance"} <= set(seen["headings"])
        assert seen["page"] < 0.05 if dark else seen["page"] > 0.95


def test_nothing_is_logged_and_nothing_is_loaded(tmp_path):
    page = render(*pictured(tmp_path))
    assert console(tmp_path, page) == []
    watched = console(tmp_path, page.replace("</main>", '<img src="https://example.invalid/x.png"></main>'))
    assert any("Content Security Policy" in line for line in watched), "a load would have been seen, and refused"
    refused = console(tmp_path, page.replace("</main>", "<script>console.error('ran')</script></main>"))
    assert any("Content Security Policy" in line for line in refused), "nor does a script run"
    assert not any('"ran"' in line for line in refused)


def test_it_prints(tmp_path):
    (tmp_path / "page.html").write_text(render(*pictured(tmp_path)), "utf-8")
    browse(tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", (tmp_path / "page.html").as_uri())
    data = (tmp_path / "page.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 3

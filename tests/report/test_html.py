"""The HTML page: what it says, that nothing gets in as markup, and that it is fit for every reader."""

import itertools
import re

import numpy as np
import pytest
from html_kit import Page, write_run
from hypothesis import HealthCheck, Phase, given, settings
from report_cases import HOSTILE, cases, hostile_results, make_curve
from results import make_attack, make_result

from robaudit.audit.result.document import Check, Evidence, Feature, Sample
from robaudit.audit.result.sections.sequential import Sequential
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.html import render
from robaudit.report.html.classes import class_rows
from robaudit.report.render import write_report
from robaudit.report.words import plain
from robaudit.stats.rates import rate

CASES = cases()
ALLOWED = {
    "html": {"lang"}, "head": set(), "title": {"id"}, "body": set(), "style": set(),
    "meta": {"charset", "http-equiv", "content", "name"}, "link": {"rel", "href"},
    "a": {"class", "href"}, "header": set(), "footer": set(), "main": set(), "nav": {"aria-label"},
    "section": {"id", "aria-labelledby"}, "div": {"class", "role", "tabindex", "aria-label"},
    "h1": set(), "h2": {"id"}, "h3": set(), "p": {"class", "role"}, "ul": {"class"}, "ol": {"class"}, "li": set(),
    "span": {"class", "aria-hidden"}, "strong": set(), "br": set(), "code": set(), "pre": {"tabindex"},
    "dl": {"class"}, "dt": set(), "dd": {"class"}, "details": set(), "summary": set(),
    "table": set(), "thead": set(), "tbody": set(), "tr": {"class"}, "th": {"scope", "class"}, "td": {"class"},
    "figure": set(), "figcaption": set(), "img": {"src", "width", "height", "alt"},
    "svg": {"viewbox", "role", "aria-labelledby", "class"}, "desc": {"id"}, "defs": set(), "g": {"style", "clip-path"},
    "path": {"d", "id", "style", "clip-path"}, "use": {"href", "x", "y", "style"}, "clippath": {"id"},
    "rect": {"x", "y", "width", "height"}, "text": {"style", "x", "y", "transform"}, "tspan": {"style", "x", "y"},
}  # fmt: skip


def sound(page):
    """What holds for every page."""
    parsed = Page(page)
    assert parsed.wrong == []
    for tag, attributes in parsed.elements:
        assert set(attributes) <= ALLOWED[tag], (tag, attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,", "data:,"))
        if "href" in attributes and tag == "a":
            assert f'id="{attributes["href"][1:]}"' in page
    levels = [level for level, _ in parsed.headings]
    assert levels[:2] == [1, 2]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), "none is left out"
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in re.findall(r'aria-labelledby="([^"]*)"', page):
        assert set(name.split()) <= set(ids)
    assert parsed.tags["main"] == parsed.tags["nav"] == parsed.tags["header"] == parsed.tags["footer"] == 1
    assert parsed.all("html") == [{"lang": "en"}]
    assert all("scope" in attributes for attributes in parsed.all("th"))
    assert all(attributes["alt"] for attributes in parsed.all("img"))
    assert not re.search(r"#0102\d\d|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", page)
    assert "default-src 'none'" in page
    return parsed


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_result_makes_a_sound_page(name):
    result = CASES[name]
    parsed = sound(render(result))
    assert f"Verdict: {result.verdict.status.upper()}" in parsed.text
    assert f"Exit code {result.verdict.exit_code}" in parsed.text
    if "secret" not in result.verdict.headline:
        assert plain(result.verdict.headline) in parsed.text
    for item in (*result.limitations, *result.verdict.next_steps, *(check.message for check in result.checks)):
        assert plain(item) in parsed.text
    for digest in (result.target.sha256, result.data.sha256, result.profile.sha256):
        assert digest in parsed.text
    assert plain(result.run.command) in parsed.text
    assert "secret" not in parsed.text, "no folder of the machine"


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(hostile_results())
def test_nothing_hostile_becomes_markup(result):
    sound(render(result))


def evil(text):
    attack = make_attack(text, status="failed", reason=text, parameters={text: text})
    return make_result(
        attacks=(make_attack(text + "1", name=text), attack),
        checks=(Check(id=text, status="warn", message=text),),
        target={"file": text, "assumed": (text,), "head": text, "format": text, "details": {"producer": text}},
        data={"source": text, "kind": text, "notes": (text,), "classes": [text] * 10, "class_order": text},
        run={"command": text, "notes": (text,), "id": text},
        limitations=(text,),
        evidence=Evidence(path=text, sha256=text, count=4),
        samples=[
            Sample(id=text, index=i, label=i % 2, clean_prediction=i % 2, broken_by=text, adversarial_prediction=3)
            for i in range(4)
        ],
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_changes_no_element(text):
    harmless = Page(render(conclude(evil("x" * len(plain(text))), [])))
    parsed = sound(render(conclude(evil(text), [])))
    same = (harmless.tags - parsed.tags) + (parsed.tags - harmless.tags)
    assert set(same) <= {"path", "g", "defs", "use", "text"}, "only the drawing may differ, by the width of a label"
    if "secret" not in text:
        assert plain(text)[:20] in parsed.text


def test_a_table_says_what_the_terminal_says():
    parsed = sound(render(CASES["fails"]))
    for words in (
        "Robust accuracy is at most 41.0% (41 of 100, 95% interval 31.3% to 51.3%) under L∞ ≤ 8/255.",
        "≤ 41.0%",
        "robust_accuracy ≥ 0.9",
        "The attacker may change every input value by up to 8/255 of its range",
        "mean (0.5, 0.5, 0.5) (flag --mean)",
        "100 of 500 samples",
        "40/93",
        "12/53",
        "[31.3, 51.3]",
        "31.0k",
    ):
        assert words in parsed.text, words
    assert {title for _, title in parsed.headings} >= {"Threat model", "Attacks", "Gates", "Provenance", "Reproduce"}
    assert "Robustness curve" not in parsed.text
    assert "baseline" not in parsed.text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stability", "STABILITY MODE"),
        ("assumed", "ASSUMED INPUT: the range is [0, 1]"),
        ("withheld", "WITHHELD: the audit cannot vouch for it"),
        ("interrupted", "INCOMPLETE: so far at most 41.0%"),
    ],
)
def test_what_must_not_be_missed_stands_before_every_figure(name, words):
    page = render(CASES[name])
    parsed = sound(page)
    assert words in parsed.text.split("Clean accuracy")[0].split("Checks of the audit They")[0]
    assert page.index(words[:20]) < page.index('class="cards"')
    assert page.index('role="note"') < page.index('class="cards"')


def test_a_withheld_figure_is_drawn_nowhere():
    page = render(CASES["withheld"])
    assert "<svg" not in page
    verdict = page[page.index('<section id="verdict"') : page.index('<section id="threat"')]
    assert "41.0%" not in verdict
    assert "not to be quoted" in page[page.index('<section id="classes"') :]


def test_stability_claims_no_accuracy():
    text = sound(render(CASES["stability"])).text.lower()
    told = text.replace("to measure robust accuracy instead", "").replace("nothing about accuracy", "")
    told = told.replace("no accuracy is claimed", "")
    assert "robust accuracy" not in told
    assert "clean accuracy" not in told


def test_curve_union_goal_and_baseline_have_their_sections():
    curve = sound(render(CASES["curve"]))
    assert (3, "Accuracy at every eps in L∞: an upper bound at each") in curve.headings
    assert "Half of the 93 samples answered correctly fall at 0.02 or nearer" in curve.text
    union = sound(render(CASES["union"]))
    assert "L2 ≤ 0.5" in union.text
    assert "any of them" in union.text
    assert "60/279 pairs" in sound(render(CASES["targeted"])).text
    worse = sound(render(CASES["worse than the baseline"]))
    assert "-19.0 [-28.0, -10.0]" in worse.text
    assert "cat/0.png: stands, now broken" in worse.text
    assert "and 110 more; the JSON report has them all" in worse.text


def test_the_price_of_secrecy_has_a_chart_and_every_figure_in_a_table():
    page = render(CASES["secrecy"])
    parsed = sound(page)
    assert (2, "The price of secrecy") in parsed.headings
    assert (
        3,
        "The price of secrecy within L∞ ≤ 8/255: accuracy against queries, an upper bound at each",
    ) in parsed.headings
    chart = page[page.index('aria-labelledby="chart-secrecy-0-title') :]
    chart = chart[: chart.index("</svg>")]
    for token in ("accent", "ink", "mark", "line"):
        assert f"var(--{token})" in chart
    assert not re.search(r"#[0-9a-f]{6}", chart)  # no colour of its own, so that it follows the page's
    for words in ("labels", "scores", "white box", "queries for each sample", "1,000"):
        assert words in chart
    for words in ("more than 1,000", "at least", "those of an access in a cascade of their own"):
        assert words in parsed.text


def test_ignored_gates_say_until_when_and_why():
    assert "IGNORED until 2030-01-01 (until the retraining" in Page(render(CASES["ignored"])).text
    assert "was ignored until 2030-01-01" in Page(render(CASES["no longer ignored"])).text


def test_two_charts_share_no_name_and_tell_their_content():
    draft = make_result(curves=(make_curve(), make_curve().model_copy(update={"norm": "l2"})))
    page = render(conclude(draft, []))
    sound(page)
    assert page.count("<svg") == 3
    assert "after apgd-ce: 53.0% [" in page
    assert "var(--accent)" in page


def test_the_page_is_a_function_of_the_result():
    assert render(CASES["curve"]) == render(CASES["curve"])


def test_classes_are_counted_as_the_worst_case_counts():
    states = [(3, 3, "pgd", 5), (3, 3, None, None), (3, 1, None, None), (1, 1, "pgd", 5), (1, None, None, None)]
    samples = [
        Sample(id=str(i), index=i, label=a, clean_prediction=b, broken_by=c, adversarial_prediction=d)
        for i, (a, b, c, d) in enumerate(states)
    ]
    samples.append(Sample(id="unread", index=9, label=None, clean_prediction=None, counted=False))
    samples.append(Sample(id="left out", index=10, label=1, clean_prediction=1, left_out="why", counted=False))
    result = conclude(make_result(k=1, n=5, samples=samples), [])
    first, second = class_rows(result)
    assert (first.name, first.drawn, first.broken, first.standing.k, first.answers) == (
        "class 1",
        2,
        1,
        0,
        "class 5 (1)",
    )
    assert (second.drawn, second.clean.k, second.broken, second.standing.k) == (3, 2, 1, 1)


GREY = np.rint(np.linspace(0, 255, 2 * 64)).reshape(2, 1, 8, 8) / 255
COLOUR = np.rint(np.linspace(0, 255, 2 * 3 * 64)).reshape(2, 3, 8, 8) / 255


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("original", [GREY, COLOUR], ids=["grey", "colour"])
def test_pictures_show_original_change_and_adversarial(tmp_path, original, layout):
    adversarial = (original + 0.1 * np.where(np.arange(8) % 2, 1, -1)).clip(0, 1)
    spec = {"layout": layout, "channels": "bgr", "domain": (-3.0, 5.0)}
    result = write_run(tmp_path, original, adversarial, input=spec)
    parsed = sound(render(result, tmp_path))
    pictures = parsed.pictures()
    assert len(pictures) == 6
    (first, alt), (change, factor), (second, answer) = pictures[:3]
    expected = np.rint(original[0] * 255).transpose(1, 2, 0).squeeze()
    assert np.array_equal(np.asarray(first), expected), "u-space is RGB, whatever the file takes"
    assert alt == "Original of img/0.png: kind 0 (87.5%)."
    assert factor == "Perturbation, times 5 around grey."
    assert answer == "Adversarial example, answered as kind 1 (62.5%)."
    moved = np.asarray(change).astype(float) / 255 - 0.5
    real = (adversarial[0] - original[0]).transpose(1, 2, 0).squeeze()
    assert np.abs(moved - 5 * real).max() < 1 / 255
    assert (np.abs(np.asarray(second) / 255 - expected / 255) <= np.abs(real) + 1e-3).all(), "rounded to the original"
    assert "× 5" in parsed.text
    assert "L∞ distance 0.1" in parsed.text


def test_large_pictures_are_thinned_and_many_are_cut(tmp_path):
    noise = np.random.default_rng(0).random((20, 3, 400, 700), dtype=np.float32)
    parsed = sound(render(write_run(tmp_path, noise, noise[::-1]), tmp_path))
    pictures = parsed.pictures()
    assert pictures[0][0].size == (234, 134)
    assert "one pixel in 3 along each side" in parsed.text
    assert 6 <= len(pictures) <= 48
    assert f"The first {len(pictures) // 3} of 20 that were kept" in parsed.text


def test_other_inputs_tell_the_values_that_changed(tmp_path):
    original = np.tile([0.25, 0.5, 0.75], (1, 1))
    adversarial = original + np.array([0.25, 0.0, -0.05])
    features = (
        Feature(name="age", low=20, high=60, integer=True),
        Feature(name="<b>", low=0, high=1),
        Feature(name="income", low=0, high=1000),
    )
    spec = {"layout": None, "channels": None, "domain": None, "features": features}
    parsed = sound(render(write_run(tmp_path, original, adversarial, input=spec, confidence=False), tmp_path))
    assert "age 30 40 +25.0%" in parsed.text
    assert "income 750 700 -5.0%" in parsed.text
    assert "kind 0 → kind 1" in parsed.text
    assert parsed.tags["img"] == 0


def test_values_without_names_are_told_by_place_in_the_domain(tmp_path):
    original = np.full((1, 2, 16), 0.5)
    adversarial = original.copy()
    adversarial[0, 1, 2] = 0.75
    spec = {"layout": None, "channels": None, "domain": (-1.0, 1.0)}
    result = write_run(tmp_path, original, adversarial, input=spec)
    assert "value [1, 2] 0 0.5 +25.0%" in sound(render(result, tmp_path)).text
    many = np.clip(original + 0.1, 0, 1)
    assert "and 24 more" in sound(render(write_run(tmp_path, original, many, input=spec), tmp_path)).text


def test_missing_or_changed_evidence_is_said_in_a_sentence(tmp_path):
    result = write_run(tmp_path, GREY, GREY[::-1])
    bare = sound(render(result))
    assert "2 adversarial examples were kept, and none is shown: the archive evidence.npz is not beside" in bare.text
    write_run(tmp_path, GREY, GREY)
    changed = sound(render(result, tmp_path))
    assert "another SHA-256 than the result names: it was changed" in changed.text
    assert changed.tags["img"] == 0


def test_a_file_is_written_with_the_pictures_of_its_run(tmp_path):
    result = write_run(tmp_path / "run", GREY, GREY[::-1])
    write_report(result, tmp_path / "r.html", tmp_path / "run")
    assert len(Page((tmp_path / "r.html").read_text("utf-8")).pictures()) == 6
    write_report(result, tmp_path / "bare.HTML")
    assert Page((tmp_path / "bare.HTML").read_text("utf-8")).pictures() == []


def test_a_sequential_audit_says_why_it_ended_and_at_what_confidence():
    stop = Sequential(
        most=500, samples=100, planned=(100, 500), stopped="decided", reason="decided after 100 of 500", share=0.5
    )
    wide = rate(41, 100, 0.975)
    result = CASES["measured"].model_copy(update={"sequential": stop})
    worst = result.worst_case.model_copy(update={"robust_accuracy": wide, "upper_bound_observed": wide})
    text = sound(render(result.model_copy(update={"worst_case": worst}))).text
    assert "Sequential audit, decided after 100 of 500." in text
    assert "Lines are exact 97.5 % intervals of sampling" in text

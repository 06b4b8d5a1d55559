import io
import re

import pytest
from report_cases import cases
from results import make_attack, make_result

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.result.document import AuditFailure, Check, Sample
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.terminal import print_report, render_text
from robaudit.report.words import count, duration, plain, size

EVIL = "x[red]a[/red][link=http://e.vil]\x1b[31m\x1b]0;t\x07\r\n\u202e\u200b\x9b1m[/]:smile:"
GATES = [GateSpec(metric="robust_accuracy", min=0.4), GateSpec(metric="coverage", min=1)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def result():
    return conclude(make_result(), GATES)


def section(text, title):
    return text.split(f"\n{title}", 1)[1].split("\n\n", 1)[0]


def test_the_report_says_it_all(result):
    text = render_text(result)
    for words in (
        "robaudit 0.1.0: audit of model.onnx",
        "onnx, 1.2 MB, sha256",
        "mean (0.5, 0.5, 0.5) (flag --mean)",
        "data (image folder): 100 of 500 samples",
        "L∞ ≤ 8/255, the default: nobody chose it",
        "accuracy 93.0% (93 of 100, 95% interval 86.1% to 97.1%)",
        "Robust accuracy is at most 41.0% (41 of 100, 95% interval 31.3% to 51.3%)",
        "Verdict: UNDECIDED (robust_accuracy ≥ 0.4), exit code 4",
        "--samples 17200",
        "Only L∞ was tested.",
        "52 adversarial examples in evidence.npz",
        "network: nothing was sent",
        "\n  robaudit scan model.onnx --data data\n",
    ):
        assert words in text, words
    assert "STABILITY" not in text
    assert "ASSUMED" not in text


def test_the_attack_table(result):
    lines = render_text(result).splitlines()
    row = next(line for line in lines if line.startswith(" square"))
    assert row.split() == [
        "square",
        "12/53",
        "41.0%",
        "31.0k",
        "12.3k",
        "0.031",
        "12",
        "s",
    ]
    assert next(line for line in lines if line.startswith(" scores")).split() == ["scores", "[31.3,", "51.3]", "0"]


def test_stability_and_assumptions_stand_at_the_top():
    draft = make_result(stability=True, target={"assumed": ("[0, 1] and NCHW",)})
    text = render_text(conclude(draft, []))
    top = text.split("\n\n")[0]
    assert "STABILITY MODE" in top
    assert "ASSUMED INPUT: [0, 1] and NCHW" in top
    assert "Stability is at most 41.0%" in text
    told = " ".join(text.lower().split()).replace("to measure robust accuracy instead", "")
    assert "robust accuracy" not in told
    assert "\nClean" not in text


def test_a_withheld_headline_is_not_shown():
    draft = make_result(checks=(Check(id="parity", status="fail", message="lost"),))
    text = render_text(conclude(draft, GATES))
    assert "WITHHELD" in section(text, "Worst case")
    assert "41.0%" not in section(text, "Worst case")
    assert "Verdict: WITHHELD, exit code 3" in text


def test_an_attack_that_did_not_run_says_why():
    attacks = (
        make_attack("apgd-ce", status="unavailable", reason="operator Foo"),
        make_attack("square", "scores", status="partial", reason="2 samples failed", candidates_refused=3),
        make_attack("hopskipjump", "labels", status="not run"),
    )
    text = render_text(conclude(make_result(attacks=attacks), GATES))
    assert "apgd-ce unavailable: operator Foo" in text
    assert "square partial: 2 samples failed" in text
    assert "judge refused 3 candidates" in text
    assert "INCOMPLETE: so far at most 41.0%" in text


def _everything_evil():
    attack = make_attack(EVIL, status="failed", reason=EVIL)
    return make_result(
        attacks=(make_attack("pgd"), attack),
        checks=(Check(id="parity", status="fail", message=EVIL),),
        target={"file": EVIL, "assumed": (EVIL,), "head": EVIL, "format": EVIL},
        data={"source": EVIL, "notes": (EVIL,), "class_order": EVIL},
        run={"command": EVIL, "notes": (EVIL,), "id": EVIL},
        limitations=(EVIL,),
        errors=(AuditFailure(where=EVIL, message=EVIL, sample=EVIL, attack=EVIL),),
        samples=(Sample(id=EVIL, index=0, label=1, clean_prediction=1),),
    )


def test_nothing_injects_markup_or_control_characters():
    text = render_text(conclude(_everything_evil(), GATES))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text)
    assert "[red]a[/red]" in text
    assert ":smile:" in text


def test_colour_changes_no_word(result):
    coloured = render_text(result, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).split() == render_text(result).split()


def test_a_pipe_gets_plain_text_of_80_columns(result, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    print_report(result, stream)
    assert "\x1b" not in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_any_width_holds(result, width):
    lines = render_text(result, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("41 of 100" in line for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_figure_of_an_attack_is_lost_for_want_of_room(width):
    attacks = (make_attack("curve/transfer-mi-fgsm"), *make_result().attacks)
    text = render_text(conclude(make_result(attacks=attacks), GATES), width=width)
    told = text.split("\nAttacks, each on what")[1].split("\nWorst case")[0]
    assert "…" not in told
    for attack in attacks:
        figures = [count(attack.forwards), count(attack.backwards), f"{attack.median_distance:.4g}"]
        rate = attack.cumulative_robust_accuracy
        figures += [f"{attack.broken}", f"{attack.attempted}", f"{100 * rate.estimate:.1f}%", f"{100 * rate.low:.1f},"]
        for figure in figures:
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", told), (attack.id, figure)
    if width < 80:
        assert "  curve/transfer-mi-fgsm white-box" in told


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_figure_of_a_union_is_lost_for_want_of_room(width):
    union = cases()["union"]
    told = render_text(union, width=width).split("\nThreat models, each by itself")[1].split("\nWorst case")[0]
    assert "…" not in told
    for outcome in union.threats:
        assert f"{100 * outcome.upper_bound_observed.estimate:.1f}%" in told
        assert re.search(rf"\b{outcome.broken}\b", told)


def test_the_command_is_never_broken():
    command = "robaudit scan model.onnx " + " ".join(f"--surrogate path/to/model{i}.onnx" for i in range(9))
    assert f"\n  {command}\n" in render_text(conclude(make_result(run={"command": command}), []))


def test_no_color_is_honoured(result, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    print_report(result, stream)
    assert not re.search(r"\x1b\[(3|4|9|10)\d", stream.getvalue())
    assert "Verdict" in stream.getvalue()


def test_a_terminal_has_colour(result, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    print_report(result, stream)
    assert "\x1b[" in stream.getvalue()


def test_an_ascii_stream_gets_ascii(result):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_report(result, stream)
    text = raw.getvalue().decode("ascii")
    assert "Linf <= 8/255" in text


def test_long_error_lists_are_cut():
    errors = tuple(AuditFailure(where="data", message=f"broken {i}") for i in range(50))
    text = render_text(conclude(make_result(errors=errors), []))
    assert "broken 19" in text
    assert "broken 20" not in text
    assert "and 30 more" in text


def test_words():
    assert [count(n) for n in (0, 9_999, 10_000, 31_000, 999_999, 4_500_000, 2_000_000_000)] == [
        "0", "9999", "10.0k", "31.0k", "1000.0k", "4.5M", "2.0G",
    ]  # fmt: skip
    assert [duration(s) for s in (0.04, 9.9, 9.96, 59.7, 185, 7800)] == [
        "0.0 s", "9.9 s", "10 s", "1 min 00 s", "3 min 05 s", "2 h 10 min",
    ]  # fmt: skip
    assert [size(n) for n in (12, 1_200, 4_000_000)] == ["12 bytes", "1.2 kB", "4.0 MB"]
    assert plain("a\n\tb\x1b[0m" + "x" * 600, 10) == "a b\ufffd[0mxx…"

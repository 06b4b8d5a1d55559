"""Which class a sample is to be made to answer: pure functions of its clean answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robaudit.audit.config.goals import class_index, parse_goal
from robaudit.audit.session.goal_choice import Chooser, chooser
from robaudit.errors import UsageError

SCORES = arrays(np.float32, st.integers(2, 12), elements=st.floats(-8, 8, width=16))
ANY = st.sampled_from(["random", "least-likely", "second-likely", "every", "every:3"])


def make(text: str, classes: int = 5, **changes: Any) -> Chooser:
    fields = {"seed": 0, "names": None, "given": None, "no_scores": None}
    found = chooser(parse_goal(text), classes=classes, **(fields | changes))
    assert found is not None
    return found


@given(SCORES, ANY, st.data())
def test_no_goal_is_ever_the_label_and_each_follows_from_the_scores(scores, text, data) -> None:
    classes = len(scores)
    label = data.draw(st.integers(0, classes - 1))
    found = make(text, classes)(data.draw(st.integers(0, 9)), label, scores, "digest")
    others = sorted((c for c in range(classes) if c != label), key=lambda c: -scores[c])
    assert found.left_out is None
    assert label not in found.classes
    assert len(set(found.classes)) == len(found.classes)
    reached = [scores[c] for c in found.classes]
    if text == "least-likely":
        assert reached == [min(scores[others])]
    elif text == "second-likely":
        assert reached == [max(scores[others])]
    elif text == "random":
        assert found.classes[0] in others
    else:
        assert reached == [scores[c] for c in others[: 3 if text == "every:3" else None]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("least-likely", (0,)), ("second-likely", (4,)), ("every", (4, 0)), ("every:1", (4,)), ("class:1", (1,))],
)
def test_a_class_that_the_model_rules_out_is_not_sought(text, expected) -> None:
    scores = np.array([-3.0, -np.inf, 5.0, -np.inf, 1.0])
    assert make(text)(0, 2, scores, "digest").classes == expected
    drawn = {make("random")(0, 2, scores, str(i)).classes[0] for i in range(40)}
    assert drawn == {0, 4}
    none = np.where(np.arange(5) == 2, 1.0, -np.inf)
    assert len(make(text)(0, 2, none, "digest").classes) >= 1


@given(st.integers(0, 2**32), st.lists(st.text("abc", min_size=1), unique=True, min_size=2), st.randoms())
def test_a_random_class_does_not_depend_on_place_or_order(seed, digests, random) -> None:
    choose = make("random", 7, seed=seed)
    scores = np.zeros(7)
    before = {d: choose(i, 3, scores, d) for i, d in enumerate(digests)}
    random.shuffle(digests)
    again = make("random", 7, seed=seed)
    assert {d: again(i, 3, scores, d) for i, d in enumerate(digests)} == before


def test_random_classes_are_spread_evenly_and_follow_the_seed() -> None:
    scores = np.zeros(5)
    found = [make("random")(0, 2, scores, str(i)).classes[0] for i in range(400)]
    counts = np.bincount(found, minlength=5)
    assert counts[2] == 0
    assert (counts[[0, 1, 3, 4]] > 60).all()
    assert found != [make("random", seed=1)(0, 2, scores, str(i)).classes[0] for i in range(400)]


def test_a_class_by_name_or_number_leaves_its_own_samples_out() -> None:
    names = ["cat", "dog", "3", "cow", "hen"]
    for text, index in (("class:dog", 1), ("class: dog", 1), ("class:4", 4), ("class:3", 2)):
        choose = make(text, names=names)
        assert choose(0, 0, np.zeros(5), "").classes == (index,)
        own = choose(0, index, np.zeros(5), "")
        assert own.classes == ()
        assert own.left_out == "it is of the class asked for"


def test_classes_given_with_the_samples() -> None:
    choose = make("given", names=["a", "b", "c", "d", "e"], given=["c", "", "4", "1.0", "b"])
    found = [choose(i, 1, np.zeros(5), "") for i in range(5)]
    assert [f.classes for f in found] == [(2,), (), (4,), (), ()]
    assert [f.left_out for f in found] == [
        None,
        "no class is given for it",
        None,
        "it is of the class asked for",
        "it is of the class asked for",
    ]


def test_an_untargeted_goal_chooses_nothing() -> None:
    goal = parse_goal("untargeted")
    assert not goal.targeted
    assert chooser(goal, seed=0, classes=3, names=None, given=None, no_scores=None) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("targeted", "must say which class to reach: random, "),
        ("leastlikely", "did you mean 'least-likely'"),
        ("evry:3", "did you mean 'every'"),
        ("class:", "needs the name or the number"),
        ("every:0", "above 0, not '0'"),
        ("every:x", "above 0, not 'x'"),
        ("random:3", "no goal is called 'random:3'"),
        ("", "no goal is called ''"),
    ],
)
def test_texts_that_name_no_goal(text, words) -> None:
    with pytest.raises(UsageError) as caught:
        parse_goal(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("class:dg", {"names": ["cat", "dog"], "classes": 2}, "the goal: no class is called 'dg'; did you mean 'dog'?"),
        ("class:zz", {"names": [f"n{i}" for i in range(50)], "classes": 50}, "(there are 50 names)"),
        ("class:5", {}, "there is no class 5; the model has 5"),
        ("class:cat", {}, "names of the classes are not known"),
        ("class:cat", {"names": ["cat", "cat"], "classes": 2}, "several classes are called 'cat'"),
        ("given", {}, "--target-column"),
        ("given", {"given": ["0", "7"]}, "a given target: there is no class 7"),
        ("random", {"classes": 1}, "the model knows one class"),
        ("every", {"classes": 1000}, "999 times; say how many of the likeliest classes with every:N"),
        ("least-likely", {"no_scores": "the file returns labels only"}, "the file returns labels only; use random"),
        ("second-likely", {"no_scores": "the file returns labels only"}, "ranks classes by scores"),
        ("every:2", {"no_scores": "the file returns labels only"}, "every:2 ranks classes by scores"),
    ],
)
def test_goals_that_do_not_fit_the_model(text, changes, words) -> None:
    with pytest.raises(UsageError) as caught:
        make(text, **changes)
    assert words in str(caught.value)


def test_labels_alone_are_enough_where_nothing_is_ranked() -> None:
    for text in ("random", "every", "every:9", "class:1"):
        assert make(text, no_scores="the file returns labels only")(0, 0, np.zeros(5), "").classes
    assert make("least-likely", 2, no_scores="the file returns labels only")(0, 1, np.zeros(2), "").classes == (0,)
    assert make("every:20", 1000)(0, 0, np.arange(1000.0), "").classes[:2] == (999, 998)


def test_a_name_comes_before_a_number() -> None:
    assert class_index("1", ["1", "0"], 2, "x") == 0
    assert parse_goal("class:1").said(["a", "b"]) == "the class 1 (b)"
    assert parse_goal("class:b").said(["a", "b"]) == "the class b"

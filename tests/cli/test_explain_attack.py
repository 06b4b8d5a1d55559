"""`robaudit explain ATTACK` names the parts that a user needs, for every attack; `explain loss` every loss."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

import pytest

from robaudit.attacks.registry import attack_classes, transform_classes
from robaudit.cli.explain_attack import attack_page, loss_page, parameter_texts, transform_page
from robaudit.threat.losses import LOSSES

SOURCE = re.compile(r"Source: (ours;|.{,120}?\b(19|20)\d\d\b)")
PLACE = re.compile(r"\b(eq\.|equations?|algorithms?|section|DAA-BLOB)")

PLACELESS = {
    "bases",
    "cgba",
    "curls-whey",
    "fd-pca",
    "gfcs",
    "orthogonal-pgd",
    "p-rgf",
    "pointwise",
    "transfer-mef",
    "transfer-ni-fgsm",
    "transfer-vmi-fgsm",
    "transfer-vni-fgsm",
}
"""Only their authors' code was at hand, not the full text: no place in it is named rather than a wrong one."""


@pytest.mark.parametrize("name", attack_classes())
def test_a_page_has_every_part(name: str) -> None:
    cls = attack_classes()[name]
    page = attack_page(cls)
    words = " ".join(page.split())
    assert SOURCE.search(words)
    assert bool(PLACE.search(words)) is (name not in PLACELESS)
    cost = words.partition("Cost: ")[2]
    assert re.search(r"forward|quer", cost)
    assert "Args:" not in page
    assert "``robaudit" not in page
    assert all(str(norm) in page.splitlines()[1] for norm in cls.norms)
    assert all(str(goal) in page.splitlines()[1] for goal in cls.goals)
    texts = parameter_texts(cls)
    assert list(texts) == list(inspect.signature(cls).parameters)
    for parameter, text in texts.items():
        assert text, f"{parameter} is not described"
        assert re.search(rf"^    {parameter} = \S", page, re.MULTILINE)


@pytest.mark.parametrize("name", transform_classes())
def test_a_transform_has_its_page(name: str) -> None:
    cls = transform_classes()[name]
    page = transform_page(cls)
    assert SOURCE.search(" ".join(page.split()))
    for parameter, text in parameter_texts(cls).items():
        assert text, f"{parameter} is not described"
        assert re.search(rf"^    {parameter} = \S", page, re.MULTILINE)
    assert ("a forward more at each point" in page) is cls.moves


def test_a_composed_name_is_explained_by_its_parts(robaudit) -> None:
    told = robaudit("explain", "mi+di")
    assert told.code == 0
    parts = attack_page(attack_classes()["transfer-mi-fgsm"]), transform_page(transform_classes()["di"])
    assert told.out == "\n\n".join(parts) + "\n"
    assert "for short mi" in told.out
    assert robaudit("explain", "di").out == parts[1] + "\n"
    for name, words in {"mi+do": "did you mean 'di'?", "square+di": "takes no gradient"}.items():
        refused = robaudit("explain", name)
        assert refused.code == 2
        assert words in refused.err


def test_defaults_and_choices_are_written_as_a_profile_takes_them() -> None:
    page = attack_page(attack_classes()["apgd-ce"])
    assert "    loss = ce (of ce, " in page
    assert "    wide_start = false\n" in page
    assert "    confidence = [0]\n" in attack_page(attack_classes()["cw-l2"])
    assert "ladder = [{loss: soft-margin, steps: " in attack_page(attack_classes()["ensemble"])
    assert "steps = null" in attack_page(attack_classes()["bim"])


def test_an_attack_without_a_docstring_still_has_a_page() -> None:
    square = attack_classes()["square"]

    @dataclass
    class Bare:
        extra: int = 3

    for name in ("id", "access", "norms", "goals", "stop"):
        setattr(Bare, name, getattr(square, name))
    Bare.__doc__ = None
    page = attack_page(Bare)
    assert "    extra = 3" in page


def test_every_loss_is_told_with_its_source() -> None:
    page = loss_page()
    for name in LOSSES:
        assert f"\n{name}: " in page
    assert len(re.findall(r"\b20\d\d\b", page)) >= 5

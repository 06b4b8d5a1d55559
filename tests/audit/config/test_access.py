"""What the attacker has of the model: which attacks that leaves, and how a profile suits itself to a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from robaudit.audit.config.profile import Profile
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks
from robaudit.audit.plan.surrogates import plan_surrogates
from robaudit.audit.result.document import Attacker
from robaudit.errors import UsageError

WHITE = TargetTraits(10, (3, 8, 8))
BLIND = TargetTraits(10, (3, 8, 8), no_gradient="a tree has none")
LABELS = TargetTraits(10, (3, 8, 8), no_gradient="a tree has none", no_scores="the file returns labels")


def planned(profile: Profile, traits: TargetTraits) -> list[tuple[str, str]]:
    return [(p.key, p.status) for p in plan_attacks(profile, traits) if p.status != "skipped"]


def limited(profile: Profile, access: str) -> Profile:
    return profile.model_copy(update={"threat": profile.threat.model_copy(update={"access": access})})


@pytest.mark.parametrize(("traits", "profile"), [(WHITE, "quick"), (BLIND, "blackbox"), (LABELS, "labels")])
def test_auto_attacks_as_the_profile_that_suits_the_file(traits: TargetTraits, profile: str) -> None:
    found = planned(load_profile("auto"), traits)
    assert found == planned(load_profile(profile), traits)
    assert found
    assert {status for _, status in found} == {"ready"}


@pytest.mark.parametrize(
    ("allowed", "traits", "most"),
    [
        ("white-box", WHITE, "white-box"),
        ("scores", WHITE, "scores"),
        ("labels", WHITE, "labels"),
        ("white-box", BLIND, "scores"),
        ("labels", BLIND, "labels"),
        ("white-box", LABELS, "labels"),
        ("scores", LABELS, "labels"),
    ],
)
def test_the_attacker_has_no_more_than_is_allowed_and_the_file_gives(
    allowed: Attacker, traits: TargetTraits, most: str
) -> None:
    assert traits.most(allowed) == most
    auto = limited(load_profile("auto"), allowed)
    suited = {"white-box": "quick", "scores": "blackbox", "labels": "labels"}[most]
    assert planned(auto, traits) == planned(limited(load_profile(suited), most), traits)


def test_attacks_beyond_the_access_are_skipped_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("threat: {access: labels}\nattacks: [pgd, square, rays, transfer-mi-fgsm]\n")
    plan = {p.key: (p.status, p.reason) for p in plan_attacks(load_profile(str(path)), WHITE)}
    assert plan["pgd"] == ("skipped", "it needs the file, and the threat model's attacker has labels alone")
    assert plan["square"] == ("skipped", "it needs scores, and the threat model's attacker has labels alone")
    assert plan["rays"] == ("ready", None)
    assert (
        plan["transfer-mi-fgsm"][1] == "no surrogate was given (--surrogate FILE) or is made (--make-surrogate RECIPE)"
    )


def test_a_file_without_scores_is_no_gap_where_the_profile_suits_itself(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("attacks: [{id: pgd}, {id: square, when: white-box}, {id: square}, {id: rays, when: scores}]\n")
    traits = TargetTraits(10, (4,), no_scores="the file returns labels")
    assert [(p.key, p.status) for p in plan_attacks(load_profile(str(path)), traits)] == [
        ("pgd", "ready"),
        ("square", "skipped"),
        ("square#2", "unavailable"),
    ]


def test_the_access_of_a_profile_can_be_said_again_and_is_kept_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()

    def access(**flags: str) -> tuple[str, str | None]:
        resolved = resolve_settings(flags, {}, tmp_path / "m.onnx")
        return resolved.profile.threat.access, resolved.sources.get("access")

    assert access() == ("white-box", None)
    assert access(profile="labels") == ("labels", "profile labels")
    assert access(profile="labels", access="scores") == ("scores", "flag --access")
    with pytest.raises(UsageError, match="access"):
        access(access="grey-box")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attacks_of: {scores: blackbx}\n", r"line 1 of .*p.yaml: attacks_of: unknown profile 'blackbx'; did you mean"),
        ("attacks_of: {scores: p.yaml}\n", r"in a circle \(p -> p\)"),
        ("attacks_of: {gradients: quick}\n", "attacks_of"),
        ("attacks_of: {scores: blackbox}\nattacks: [pgd]\n", "give one of the two"),
        ("attacks: [{id: pgd, when: never}]\n", "when"),
    ],
)
def test_wrong_choices_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_profile(str(path))


def test_a_surrogate_that_labels_would_do_for_says_how(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("surrogates: [gray, distilled, {id: gray, answers: labels}]\nattacks: [pgd]\n")
    traits = dataclasses.replace(LABELS, shape=(1, 8, 8))
    gray, distilled, by_labels = (one.problem for one in plan_surrogates(load_profile(str(path)), traits))
    assert gray is not None
    assert gray.endswith(" (answers: labels makes it of labels)")
    assert distilled == traits.no_scores
    assert by_labels is None

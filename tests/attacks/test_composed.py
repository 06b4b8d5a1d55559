"""Attacks with transforms, by name: what is made of a name, what is refused, and what a plan says of it."""

from __future__ import annotations

from typing import Any

import pytest

from robaudit.attacks.cost import Cost
from robaudit.attacks.names import canonical, parts
from robaudit.attacks.registry import make_attack, make_composed
from robaudit.attacks.requests import TRUE, How
from robaudit.attacks.transforms.input_diversity import InputDiversity
from robaudit.audit.config.attack_specs import CurveSpec
from robaudit.audit.config.metrics import parse_metric
from robaudit.audit.config.profile import AttackSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks
from robaudit.audit.plan.costs import most_of_sample
from robaudit.audit.plan.fronts import plan_fronts, validate_curve
from robaudit.errors import UsageError
from robaudit.extensions import ParameterError
from robaudit.target.running.smooth import Smooth


def test_names_are_read_by_their_parts() -> None:
    assert parts("mi+di+noise") == ("transfer-mi-fgsm", "di", "noise")
    assert canonical("linf/mi+di") == "linf/transfer-mi-fgsm+di"
    assert canonical("mi-fgsm") == "mi-fgsm"
    assert parse_metric("attack.mi+di.success_rate").subject == "transfer-mi-fgsm+di"
    assert (
        parse_metric("attack.linf/mi+di.success_rate").canonical
        == parse_metric("attacks.linf/transfer-mi-fgsm+di.success_rate").canonical
    )
    assert parse_metric("class.mi.stability").subject == "mi"
    assert AttackSpec.model_validate({"id": "mi+di", "steps": 3}).id == "transfer-mi-fgsm+di"


def test_an_attack_is_made_with_its_transforms_and_their_parameters() -> None:
    attack, how = make_composed("mi+di", {"steps": 3, "di": {"probability": 0.7}}, copies=2)
    assert attack == make_attack("transfer-mi-fgsm", {"steps": 3})
    assert how == How((InputDiversity(probability=0.7),), 2)
    assert make_composed("pgd", {}) == (make_attack("pgd", {}), TRUE)


def test_how_smooth_a_backward_is() -> None:
    assert make_composed("pgd", {})[1].smooth is None
    assert make_composed("pgd+smooth", {})[1] == How(smooth=Smooth())
    assert make_composed("pgd+smooth", {"smooth": {"width": 0.1}})[1].smooth == Smooth(0.1, 0.2)
    found = make_composed("pgd+smooth", {"smooth": {"pool": 1}})[1]
    assert found.smooth == Smooth(0.2, 1.0)
    assert TRUE.then(found).smooth == found.then(TRUE).smooth == found.smooth


@pytest.mark.parametrize(
    ("name", "parameters", "message", "keys"),
    [
        ("square+di", {}, "'square' takes no gradient", None),
        ("hopskipjump+di", {}, "'hopskipjump' takes no gradient", None),
        ("mi+do", {}, "unknown transform 'do' in 'mi+do'; did you mean 'di'?", None),
        ("mo+di", {}, "unknown attack 'mo'; did you mean 'mi'?", None),
        ("mi+", {}, "unknown transform ''", None),
        ("mi+di+di", {}, "'mi+di+di' goes through the transform 'di' twice", None),
        ("mi+di", {"di": 0.7}, "takes a map of parameters (probability, smallest, fill)", ("di",)),
        ("mi+di", {"di": {"probabilty": 1}}, "did you mean 'probability'?", ("di", "probabilty")),
        ("mi+di", {"di": {"smallest": 0}}, "greater than 0", ("di", "smallest")),
        ("mi+di", {"di": {"fill": True}}, "true is no number", ("di", "fill")),
        ("mi+di", {"probability": 1}, "attack 'transfer-mi-fgsm' has no parameter 'probability'", ("probability",)),
        ("square+smooth", {}, "'square' takes no gradient of the model", None),
        ("pgd+smooth", {"smooth": {"widht": 1}}, "takes a width and a pool", ("smooth",)),
        ("pgd+smooth", {"smooth": {}}, "takes a width and a pool", ("smooth",)),
        ("pgd+smooth", {"smooth": {"width": 0}}, "above 0 and at most 10", ("smooth",)),
        ("pgd+smooth", {"smooth": {"pool": 1.1}}, "a share between 0 and 1", ("smooth",)),
        ("pgd+smooth", {"smooth": {"pool": True}}, "a share between 0 and 1", ("smooth",)),
        ("pgd", {"di": {}}, "'pgd' does not go through the transform 'di'; name it pgd+di", ("di",)),
    ],
)
def test_what_cannot_be_is_refused(
    name: str, parameters: dict[str, Any], message: str, keys: tuple[str, ...] | None
) -> None:
    with pytest.raises(UsageError) as refused:
        make_composed(name, parameters)
    assert message in str(refused.value)
    assert getattr(refused.value, "keys", None) == keys
    assert isinstance(refused.value, ParameterError) == (keys is not None)


def test_a_plan_has_them_by_name_with_parameters_reasons_and_costs() -> None:
    listed = [
        {"id": "mi+di", "steps": 4, "eot": 3},
        {"id": "mi+di", "by_norm": {"linf": {"di": {"fill": 0.0}}}},
        {"id": "pgd+di", "steps": 4, "eot": 3},
    ]
    specs = tuple(map(AttackSpec.model_validate, listed))
    profile = load_profile("quick").model_copy(update={"attacks": specs})
    [front] = plan_fronts(profile, TargetTraits(10, (3, 8, 8), files=("other.onnx",), surrogates=("other.onnx",)))
    first, second, third = front.plan
    assert [p.key for p in front.plan] == ["transfer-mi-fgsm+di", "transfer-mi-fgsm+di#2", "pgd+di"]
    diverse = {"probability": 0.5, "smallest": 0.9, "fill": None}
    plain = {"steps": 4, "decay": 1.0, "step_size": None, "loss": "ce"}
    assert first.parameters == plain | {"di": diverse, "eot": 3}
    assert second.parameters["di"] == diverse | {"fill": 0.0}
    assert most_of_sample(front, first, 10, (3, 8, 8)) == Cost(12, 12, 1)
    assert most_of_sample(front, third, 10, (3, 8, 8)) == Cost(20, 15)  # the points themselves are seen as well
    flat = plan_attacks(profile, TargetTraits(10, (12,), files=("other.onnx",), surrogates=("other.onnx",)))
    assert {(p.status, p.reason) for p in flat} == {("skipped", "di resizes images, and samples of shape 12 are none")}


def test_a_curve_may_name_them() -> None:
    profile = load_profile("quick")
    curve = {"attacks": [{"id": "deepfool+di"}], "search": {"id": "pgd+di"}}
    profile = profile.model_copy(update={"curve": CurveSpec.model_validate(curve)})
    validate_curve(profile)
    [front] = plan_fronts(profile, TargetTraits(10, (3, 8, 8)))
    assert [p.key for p in front.minimal] == ["curve/deepfool+di"]
    assert front.search is not None
    assert front.search.key == "curve/pgd+di"
    swapped = CurveSpec.model_validate({"attacks": [{"id": "pgd+di"}]})
    with pytest.raises(UsageError, match=r"pgd\+di has a fixed radius"):
        validate_curve(profile.model_copy(update={"curve": swapped}))

"""Searches that are fitted first: components of the data, and a decoder of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from models import FakeFile, Linear, attack_all, boundary_model, closed_form, network, samples_for
from test_fitted import fit

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import FittedAttack, FittedSearch
from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.attacks.score.autoencoder import Autoencoder
from robaudit.attacks.score.autozoom_ae import AutoZOOMAE
from robaudit.attacks.score.fd_pca import COMPONENTS
from robaudit.audit.config.profile import AttackSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks
from robaudit.engine.units import Sample
from robaudit.errors import UsageError
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

SEARCHES = ("fd-pca", "autozoom-ae")
SMALL: dict[str, dict[str, Any]] = {
    "fd-pca": {"components": 20, "queries": 600},
    "autozoom-ae": {"epochs": 3, "queries": 900, "switch": 100, "rate": 0.01, "vectors": 4},
}
L2 = ThreatModel(Norm.L2, 0.6)


def search(name: str, **parameters: Any) -> FittedSearch:
    attack = make_attack(name, SMALL[name] | parameters)
    assert isinstance(attack, FittedSearch)
    assert not isinstance(attack, FittedAttack)
    return attack


def on_a_plane(target: FakeFile, count: int) -> list[Sample]:
    """Samples that differ along three features alone."""
    found = []
    for sample in samples_for(target, count):
        u = torch.full_like(torch.from_numpy(sample.u), 0.5).flatten()
        u[[2, 7, 11]] = torch.from_numpy(sample.u).flatten()[[2, 7, 11]]
        scores = target.scores(u.reshape(1, *target.shape))[0]
        u = u.reshape(target.shape).numpy()
        found.append(dataclasses.replace(sample, u=u, label=int(scores.argmax()), clean=scores.numpy()))
    return found


def test_components_span_what_the_data_vary_in() -> None:
    target = network((1, 4, 4), 3)
    found = fit(target, search("fd-pca"), on_a_plane(target, 40), L2)
    assert found is not None
    assert found.cost == Cost()
    components = found.artefact[COMPONENTS]
    assert components.shape == (3, 1, 4, 4)
    flat = components.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(3, dtype=flat.dtype))
    kept = torch.zeros(16, dtype=torch.bool)
    kept[[2, 7, 11]] = True
    assert float(flat[:, ~kept].abs().max()) < 1e-9
    few = fit(target, search("fd-pca", components=2), samples_for(target, 40), L2)
    assert few is not None
    assert len(few.artefact[COMPONENTS]) == 2
    one = fit(target, search("fd-pca"), samples_for(target, 5), L2)
    assert one is not None
    assert len(one.artefact[COMPONENTS]) == 4  # of five samples


def test_samples_that_are_all_the_same_have_no_components() -> None:
    target = network((1, 4, 4), 3)
    sample = samples_for(target, 1)[0]
    same = [dataclasses.replace(sample, index=i) for i in range(4)]
    with pytest.raises(UsageError, match="all the same"):
        fit(target, search("fd-pca"), same, L2)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_along_all_components_the_best_step_of_a_linear_model_is_found(norm: Norm) -> None:
    target = boundary_model((1, 4, 4), seed=2)
    samples = samples_for(target, 60)
    attack = search("fd-pca", queries=33 * 12)
    for sample in samples[:6]:
        threat = ThreatModel(norm, 1.01 * closed_form(target, sample, norm))
        found = fit(target, attack, samples[6:], threat)
        assert found is not None
        [result] = attack_all(target, attack, threat, [sample], artefact=found.artefact).values()
        assert result.success


def test_where_the_model_looks_along_few_components_they_save_queries() -> None:
    """Features elsewhere decide nothing: three differences tell as much as 32."""
    weight = torch.zeros(2, 64, dtype=torch.float64)
    weight[0, [2, 7, 11]], weight[1, [2, 7, 11]] = 1.0, -1.0
    target = FakeFile(Linear(weight, torch.tensor([-1.5, 1.5], dtype=torch.float64)), 2, (1, 8, 8))
    samples = on_a_plane(target, 60)
    attack = search("fd-pca", components=3)
    found = fit(target, attack, samples[20:], L2)
    assert found is not None
    along = attack_all(target, attack, L2, samples[:20], artefact=found.artefact)
    plain = attack_all(target, make_attack("fd-grouping", {"features": 2, "queries": 600}), L2, samples[:20])
    assert all(r.success for r in along.values())
    assert sum(r.queries for r in along.values()) < 0.3 * sum(r.queries for r in plain.values())


def test_training_lowers_what_the_autoencoder_loses_and_resumes() -> None:
    target = network((2, 9, 10), 3)
    samples = smooth(target, 96)
    attack = search("autozoom-ae", epochs=40)
    assert isinstance(attack, AutoZOOMAE)
    rounds = []
    whole = fit(target, attack, samples, L2, sink=rounds.append)
    assert whole is not None
    assert whole.cost == Cost()
    images = torch.stack([torch.from_numpy(s.u) for s in samples])
    losses = [float(Autoencoder(target.shape, 32).loss(one.artefact, images)) for one in rounds[:-1]]
    assert losses[-1] < 0.6 * losses[0]
    assert losses[-1] < 0.6 * float(images.var())
    resumed = fit(target, attack, samples, L2, before=rounds[3])
    assert resumed is not None
    assert set(resumed.artefact) == {"gain", "up1", "up2", "image", "up1.bias", "up2.bias", "image.bias"}
    assert all(torch.equal(value, resumed.artefact[name]) for name, value in whole.artefact.items())


def smooth(target: FakeFile, count: int) -> list[Sample]:
    """Samples of few frequencies, which a latent image can hold."""
    found = []
    for sample in samples_for(target, count, spread=0.6):
        u = torch.nn.functional.avg_pool2d(torch.from_numpy(sample.u), 3)
        u = torch.nn.functional.interpolate(u[None], size=target.shape[1:], mode="bilinear")[0]
        scores = target.scores(u[None])[0]
        found.append(dataclasses.replace(sample, u=u.numpy(), label=int(scores.argmax()), clean=scores.numpy()))
    return found


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 40), (3, 5, 4)])
def test_a_decoder_makes_nothing_of_nothing_and_perturbations_of_the_image_s_size(shape: tuple[int, ...]) -> None:
    net = Autoencoder(shape, 8)
    generator = torch.Generator().manual_seed(0)
    weights = net.begun(lambda _, size: torch.randn(size, generator=generator, dtype=torch.float64))
    latent = torch.randn(2, *net.latent, generator=generator, dtype=torch.float64)
    assert net.encoded(weights, torch.rand(2, *shape, dtype=torch.float64)).shape[1:] == net.latent
    assert max(net.latent[1:]) <= 8
    found = net.perturbation(weights, torch.cat([latent, torch.zeros_like(latent[:1])]))
    assert found.shape == (3, *shape)
    assert float(found[2].abs().max()) == 0
    assert float(found[:2].abs().min(0).values.max()) > 0


@pytest.mark.parametrize("goal", [Goal.UNTARGETED, Goal.TARGETED])
@pytest.mark.parametrize("name", SEARCHES)
def test_they_break_and_keep_to_the_budget_at_any_batch(name: str, goal: Goal) -> None:
    target = network((1, 8, 8), 3)
    samples = samples_for(target, 46)
    attack, threat = search(name), ThreatModel(Norm.L2, 2.5, goal)
    found = fit(target, attack, samples[6:], threat)
    assert found is not None
    aimed = [dataclasses.replace(s, goal=(s.label + 1) % 3 if goal is Goal.TARGETED else -1) for s in samples[:6]]
    results = [
        attack_all(target, attack, threat, aimed, artefact=found.artefact, slots=slots, micro_batch=batch)
        for slots, batch in ((6, 64), (2, 7))
    ]
    assert sum(r.success for r in results[0].values()) >= 4
    assert all(r.queries <= attack.query_budget for r in results[0].values())
    for i, result in results[0].items():
        assert (result.success, result.queries) == (results[1][i].success, results[1][i].queries)


def test_too_few_samples_and_other_shapes_are_named() -> None:
    profile = load_profile("quick")

    def plan(name: str, shape: tuple[int, ...], others: int) -> tuple[str, str | None]:
        spec = AttackSpec.model_validate({"id": name, "norms": ["l2"]})
        threat = profile.threat.model_copy(update={"norm": "l2", "eps": "0.5"})
        traits = TargetTraits(3, shape, others=lambda most: range(min(most, others)))
        [found] = plan_attacks(profile.model_copy(update={"threat": threat, "attacks": (spec,)}), traits)
        return found.status, found.reason

    status, reason = plan("fd-pca", (1, 8, 8), 31)
    assert status == "unavailable"
    assert "fits on at least 32 samples apart from the audited ones, and the data hold 31" in str(reason)
    assert plan("autozoom-ae", (1, 8, 8), 63)[0] == "unavailable"
    assert plan("autozoom-ae", (12,), 100) == ("skipped", "its autoencoder is of images, C x H x W")
    assert [plan(name, (1, 8, 8), 64) for name in SEARCHES] == [("ready", None)] * 2
    assert all(attack_classes()[name].family == "per sample" for name in SEARCHES)

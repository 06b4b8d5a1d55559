"""Two ways up a surrogate's loss, and noise squeezed by labels."""

from __future__ import annotations

from models import FakeFile, Linear, attack_all, boundary_model, closed_form, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm


def test_with_the_target_for_a_surrogate_the_nearest_point_is_found() -> None:
    target = boundary_model((1, 5, 5))
    samples = [s for s in samples_for(target, 40) if 0.02 < closed_form(target, s, Norm.L2) < 0.2][:6]
    assert len(samples) >= 4
    threat = ThreatModel(Norm.L2, 0.05, minimal=True)
    attack = make_attack("curls-whey", {"queries": 600, "copies": 1})
    found = attack_all(target, attack, threat, samples, surrogates=target)
    for sample in samples:
        ratio = found[sample.index].distance / closed_form(target, sample, Norm.L2)
        assert 1 - 1e-9 <= ratio <= 1.05


def test_squeezing_brings_nearer_what_an_unrelated_surrogate_found() -> None:
    target, surrogate = network((1, 6, 6), 4), network((1, 6, 6), 4, seed=3)
    samples, threat = samples_for(target, 10), ThreatModel(Norm.L2, 0.2, minimal=True)
    near, far = (
        attack_all(target, make_attack("curls-whey", {"queries": queries}), threat, samples, surrogates=surrogate)
        for queries in (1000, 40)
    )
    both = [i for i in far if far[i].distance is not None and near[i].distance is not None]
    assert len(both) >= 3
    assert all(near[i].distance <= far[i].distance for i in both)
    assert sum(near[i].distance for i in both) < 0.9 * sum(far[i].distance for i in both)


def test_a_success_in_the_ball_ends_it_and_a_larger_radius_may_be_squeezed_into_it() -> None:
    target = boundary_model((1, 5, 5))
    samples = [s for s in samples_for(target, 40) if closed_form(target, s, Norm.L2) < 0.2][:6]
    wrong = FakeFile(Linear(-target.module.weight.detach(), -target.module.bias.detach()), 2, target.shape)
    for surrogate, most in ((target, 12), (wrong, 400)):
        found = attack_all(
            target,
            make_attack("curls-whey", {"queries": 400}),
            ThreatModel(Norm.L2, 0.4),
            samples,
            surrogates=surrogate,
        )
        if surrogate is target:
            assert all(result.success and result.queries <= most for result in found.values())
        else:  # downhill is the way there, until the surrogate's loss rises again
            assert all(result.queries <= most for result in found.values())
            assert any(result.success for result in found.values())

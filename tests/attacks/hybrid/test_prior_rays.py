"""RayS that begins along a surrogate's gradient."""

from __future__ import annotations

from models import FakeFile, Linear, attack_all, closed_form, linear, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

ATTACK = make_attack("prior-rays", {"queries": 300})


def test_with_the_target_for_a_surrogate_one_query_is_enough() -> None:
    for shape, classes in (((12,), 2), ((1, 5, 3), 2)):  # of more, the nearest rival may be another than the likeliest
        target = linear(shape, classes)
        for sample in samples_for(target, 6):
            eps = 1.3 * closed_form(target, sample, Norm.LINF)
            if eps > 0.4:
                continue
            [found] = attack_all(target, ATTACK, ThreatModel(Norm.LINF, eps), [sample], surrogates=target).values()
            assert (found.success, found.queries) == (True, 1)


def test_a_surrogate_that_points_the_wrong_way_costs_queries_alone() -> None:
    target = linear((12,), 3)
    wrong = FakeFile(Linear(-target.module.weight.detach(), -target.module.bias.detach()), 3, (12,))
    samples, threat = samples_for(target, 8), ThreatModel(Norm.LINF, 0.3)
    right = attack_all(target, ATTACK, threat, samples, surrogates=target)
    found = attack_all(target, ATTACK, threat, samples, surrogates=wrong)
    plain = attack_all(target, make_attack("rays", {"queries": 300}), threat, samples)
    fell = {i for i in plain if plain[i].success}
    assert len(fell) >= 4
    assert fell <= {i for i in right if right[i].success}
    assert len(fell & {i for i in found if found[i].success}) >= len(fell) - 1


def test_outcomes_do_not_depend_on_what_else_is_in_the_batch() -> None:
    target, surrogate = network((1, 6, 6), 4), network((1, 6, 6), 4, seed=1)
    samples, threat = samples_for(target, 9), ThreatModel(Norm.LINF, 0.08, queries=50)
    runs = [
        attack_all(target, ATTACK, threat, part, surrogates=surrogate, slots=slots, micro_batch=rows)
        for part, slots, rows in ((samples, 1, 1), (samples[::-1], 4, 3), (samples, 16, 64))
    ]
    for other in runs[1:]:
        for index, result in runs[0].items():
            assert (result.success, result.queries) == (other[index].success, other[index].queries)
    assert max(result.queries for result in runs[0].values()) <= 50

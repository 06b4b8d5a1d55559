import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from robaudit.audit.config.profile import ThreatSpec, check_metric, parse_eps, profile_schema
from robaudit.audit.config.profile_files import list_profiles, load_profile, profile_path
from robaudit.audit.plan.attack_names import validate_attacks
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks
from robaudit.audit.plan.checks import validate_checks
from robaudit.checks.registry import all_checks, usual_checks
from robaudit.errors import UsageError


@pytest.mark.parametrize("name", ["quick", "ci", "standard", "thorough"])
def test_built_in_profiles_load_and_gate_the_audit_alone(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description
    assert profile.threat.radius == pytest.approx(8 / 255)
    assert sorted(profile.checks) == sorted(all_checks() if name in ("standard", "thorough") else usual_checks())
    assert [gate.metric for gate in profile.gates] == ["validity", "coverage"]
    assert {"ensemble", "square"} <= {attack.id for attack in profile.attacks}
    assert name in list_profiles()


@pytest.mark.parametrize("name", ["quick", "ci", "standard", "thorough"])
def test_built_in_profiles_fit_the_schema(name):
    schema = profile_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    path, built_in = profile_path(name)
    assert built_in
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)


def _write(path, text):
    path.write_text(text)
    return str(path)


def test_extends_merges_maps_and_replaces_attacks(tmp_path):
    _write(tmp_path / "base.yaml", "extends: quick\nthreat: {queries: 50}\ndata: {samples: 7}\n")
    own = _write(
        tmp_path / "own.yaml",
        "extends: base.yaml\nthreat: {eps: 2/255}\nattacks: [pgd]\nchecks: {parity: {threshold: 0.1}}\n"
        "gates: [{metric: coverage, min: 0.5}, {metric: robust_accuracy, min: 0.4}]\n",
    )
    profile = load_profile(own)
    assert profile.name == "own"
    assert (profile.threat.eps, profile.threat.queries, profile.threat.norm) == ("2/255", 50, "linf")
    assert profile.data.samples == 7
    assert [attack.id for attack in profile.attacks] == ["pgd"]
    assert profile.checks["parity"] == {"threshold": 0.1}
    assert list(profile.checks) == usual_checks()
    assert [(gate.metric, gate.min) for gate in profile.gates] == [
        ("validity", None),
        ("coverage", 0.5),
        ("robust_accuracy", 0.4),
    ]


def test_the_digest_is_of_the_content(tmp_path):
    one = load_profile(_write(tmp_path / "a.yaml", "name: x\nthreat: {norm: l2, eps: 0.5}\n"))
    two = load_profile(_write(tmp_path / "b.yaml", "threat:\n  eps: 0.5\n  norm: l2\nname: x\n"))
    assert one.digest() == two.digest()
    assert one.digest() != load_profile("quick").digest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attacs: []", "unknown key 'attacs'; did you mean 'attacks'"),
        ("threat: {nrm: l2}", "unknown key 'threat.nrm'; did you mean 'norm'"),
        ("threat: {norm: l3}", "threat.norm: .*did you mean 'l2'"),
        ("threat: {eps: 9}", "at most 1 in L∞"),
        ("threat: {eps: -1}", "above 0"),
        ("threat: {norm: l0, eps: 1.5}", "whole number"),
        ("gates: [{metric: robust_acuracy, min: 0.3}]", "did you mean 'robust_accuracy'"),
        ("gates: [{metric: coverage}]", "needs a min or a max"),
        ("gates: [{metric: validity, min: 1}]", "takes no min"),
        ("gates: [{metric: robust_accuracy, min: 40}]", "share between 0 and 1"),
        ("gates: [{metric: coverage, min: 1, levl: warn}]", "did you mean 'level'"),
        ("checks: [cleen]", "did you mean 'clean'"),
        ("checks: [3]", "a name, or a map"),
        ("attacks: 3", "attacks: "),
        ("attacks: [{steps: 3}]", "attacks.0.id: Field required"),
        ("attacks: [{id: fgsn}]", "attacks.0: unknown attack 'fgsn'; did you mean 'fgsm'"),
        ("attacks: [{id: pgd, by_norm: {l3: {steps: 3}}}]", "attacks.0.by_norm"),
        ("attacks: [{id: pgd, by_norm: {l2: {step: 3}}}]", "no parameter 'step'; did you mean 'steps'"),
        (
            "attacks: [{id: pgd, step: 3}]",
            r"line 1 of .*own.yaml: attacks.0.step: attack 'pgd' has no parameter 'step'; did you mean 'steps'",
        ),
        ("data: {samples: 0}", "data.samples"),
        ("- a", "must hold a map"),
        ("data: 1\ndata: 2", "the key 'data' is given twice"),
        ("a: [", "not valid YAML"),
        ("extends: quik", "unknown profile 'quik'; did you mean 'quick'"),
        ("extends: no.yaml", "does not exist"),
        ("name: a\nextends: own.yaml", r"line 2 of .*own.yaml: extends: .* in a circle"),
        ("name: a\nextends: no.yaml", r"line 2 of .*own.yaml: extends: the profile file .* does not exist"),
        ("extends: quick\nthreat:\n  norm: l2", r"line 3 of .*own.yaml: threat.norm: .* threat.eps must be given"),
        ("attacks:\n- pgd\n- {id: fgsm,\n   a: 1}", r"line 4 of .*own.yaml: attacks.1.a: attack 'fgsm' has no"),
        (
            "attacks:\n- id: pgd\n  steps: yes",
            r"line 3 of .*own.yaml: attacks.0.steps: attack 'pgd', parameter 'steps': true is no",
        ),
        ("attacks:\n- pgd\n- pgdd", r"line 3 of .*own.yaml: attacks.1: unknown attack 'pgdd'"),
        (
            "attacks:\n- id: pgd\n  steps: 3\n  by_norm:\n    l2:\n      steps: 0",
            r"line 6 of .*own.yaml: attacks.0.by_norm.l2.steps: attack 'pgd', parameter 'steps'",
        ),
        ("data:\n  samples: yes", r"line 2 of .*own.yaml: data.samples: true is no number"),
        ("attacks:\n- {id: pgd, eot: on}", r"line 2 of .*own.yaml: attacks.0.eot: true is no number"),
        ("gates:\n- metric: robust_accuracy\n  min: true", r"line 3 of .*own.yaml: gates.0.min: true is no number"),
        ("checks: usal", "a map, a list of names, usual, all or every, not 'usal'"),
        (
            "checks:\n- parity\n- {id: clean, least: 1}",
            r"line 3 of .*: checks.clean.least: check 'clean' has no setting",
        ),
        ("checks:\n  parity:\n  clean: {least: 1}", r"line 3 of .*: checks.clean.least: check 'clean' has no setting"),
        (
            "checks:\n  zero-gradient:\n    samples: 9\n    treshold: 0.1",
            r"line 4 of .*own.yaml: checks.zero-gradient.treshold: .*did you mean 'threshold'",
        ),
        (
            "checks:\n  zero-gradient:\n    threshold: 1.5",
            r"line 3 of .*own.yaml: checks.zero-gradient.threshold: .*less than or equal to 1",
        ),
        ("checks:\n- id: unbounded\n  steps: 0", r"line 3 of .*: checks.unbounded.steps: .*greater than or equal to 1"),
        ("checks:\n  parity: {points: yes}", r"line 2 of .*: checks.parity.points: .* true is no number"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_sentence(tmp_path, text, words):
    def validated(path):
        profile = load_profile(path)
        validate_attacks(profile)
        validate_checks(profile)

    path = _write(tmp_path / "own.yaml", text)
    with pytest.raises(UsageError, match=words) as caught:
        validated(path)
    assert "\n" not in str(caught.value)


def test_an_attack_may_be_kept_for_some_norms(tmp_path):
    text = "extends: quick\nattacks: [{id: pgd, norms: [l2, l1]}, pgd]\n"
    profile = load_profile(_write(tmp_path / "own.yaml", text))
    assert profile.model_dump(mode="json")["attacks"] == [{"id": "pgd", "norms": ["l2", "l1"]}, {"id": "pgd"}]
    for norm, status in (("linf", "skipped"), ("l2", "ready")):
        threat = ThreatSpec(norm=norm, eps="0.5")
        plan = plan_attacks(profile.model_copy(update={"threat": threat}), TargetTraits(10, (4,)))
        assert [planned.status for planned in plan] == [status, "ready"]
        assert plan[0].reason == (
            None if norm == "l2" else "the profile runs it in l1 and l2 alone, the threat model is linf"
        )


def test_parameters_may_differ_by_norm(tmp_path):
    text = "extends: quick\nattacks: [pgd, {id: pgd, steps: 7, loss: margin, by_norm: {l2: {steps: 9}}}]\n"
    profile = load_profile(_write(tmp_path / "own.yaml", text))
    plain, own = profile.attacks
    assert plain.parameters("l2") == {}
    assert own.parameters("linf") == {"steps": 7, "loss": "margin"}
    assert own.parameters("l2") == {"steps": 9, "loss": "margin"}
    shown = profile.model_dump(mode="json")["attacks"]
    assert shown == [{"id": "pgd"}, {"id": "pgd", "steps": 7, "loss": "margin", "by_norm": {"l2": {"steps": 9}}}]
    planned = [
        plan_attacks(
            profile.model_copy(update={"threat": ThreatSpec(norm=norm, eps="0.5")}),
            TargetTraits(10, (4,)),
        )[1].attack.steps
        for norm in ("linf", "l2")
    ]
    assert planned == [7, 9]


def test_the_line_of_a_parameter_is_that_of_the_file_that_gives_it(tmp_path):
    _write(tmp_path / "base.yaml", "attacks:\n- {id: pgd, stepz: 3}\nchecks: [parity]\n")
    path = _write(tmp_path / "own.yaml", "\n\nextends: base.yaml\nchecks: {clean: {}}\n")
    with pytest.raises(UsageError, match=r"^line 2 of .*base.yaml: attacks.0.stepz: "):
        validate_attacks(load_profile(path))
    _write(tmp_path / "own.yaml", "\n\nextends: base.yaml\nattacks: [{id: pgd, stepz: 3}]\n")
    with pytest.raises(UsageError, match=r"^line 4 of .*own.yaml: attacks.0.stepz: "):
        validate_attacks(load_profile(path))


def test_a_long_chain_is_refused(tmp_path):
    for i in range(300):
        _write(tmp_path / f"{i}.yaml", f"extends: {i + 1}.yaml")
    with pytest.raises(UsageError, match=r"line 1 of .*19.yaml: extends: more than 20 profiles extend each other"):
        load_profile(str(tmp_path / "0.yaml"))


def test_a_long_circle_is_found(tmp_path):
    for name, base in ("ab", "bc", "ca"):
        _write(tmp_path / f"{name}.yaml", f"extends: {base}.yaml")
    with pytest.raises(UsageError, match="a -> b -> c -> a"):
        load_profile(str(tmp_path / "a.yaml"))


def test_an_unknown_profile_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'standard'"):
        load_profile("standart")


@given(st.integers(1, 255), st.integers(256, 1000))
def test_fractions_are_read_exactly(top, bottom):
    assert parse_eps(f"{top}/{bottom}") == pytest.approx(top / bottom, rel=1e-15)
    assert parse_eps(f" {top} / {bottom} ") == parse_eps(f"{top}/{bottom}")


@pytest.mark.parametrize("text", ["", "x", "1/0", "0", 0, -0.1, "nan", float("inf"), "8/x", "1e999", True, "1.5", 8])
def test_wrong_radii_are_refused(text):
    with pytest.raises(UsageError, match="eps"):
        parse_eps(text)


def test_a_radius_above_one_is_fine_in_other_norms():
    assert parse_eps(3, "l2") == 3
    assert parse_eps("12", "l0") == 12


@pytest.mark.parametrize("metric", ["clean_accuracy", "checks.parity", "attacks.mine.rate_alone"])
def test_known_metrics(metric):
    check_metric(metric)


@pytest.mark.parametrize(
    "metric", ["acc", "checks.", "check.Two words", "attacks.pgd", "attacks.pgd.x", "checks", "attacks..rate_alone"]
)
def test_unknown_metrics_are_refused(metric):
    with pytest.raises(UsageError):
        check_metric(metric)


def test_the_norms_that_an_attack_serves_are_listed_as_a_sentence_does(tmp_path):
    from robaudit.audit.plan.attacks import TargetTraits, plan_attacks

    (tmp_path / "p.yaml").write_text("extends: quick\nname: p\nthreat: {norm: l0, eps: 2}\nattacks: [pgd, cw-l2]\n")
    reasons = [p.reason for p in plan_attacks(load_profile(str(tmp_path / "p.yaml")), TargetTraits(3, (4,)))]
    assert reasons == [
        "it searches in l1, l2 and linf, the threat model is l0",
        "it searches in l2, the threat model is l0",
    ]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("eps", ["1e-9", "1e-6", "9.9e-6", "1/1000000", 1e-7])
def test_an_eps_that_the_tolerance_swallows_is_refused(norm: str, eps: str) -> None:
    with pytest.raises(UsageError, match=r"too small to be judged: .* tolerance of 1e-06 .* at least 1e-05"):
        parse_eps(eps, norm)
    assert parse_eps("1e-5", norm) == 1e-5


def test_l0_counts_whole_features() -> None:
    assert parse_eps(1, "l0") == 1
    for eps in ("1e-9", "0.5", "1.5"):
        with pytest.raises(UsageError, match="whole number"):
            parse_eps(eps, "l0")

import pytest

from robaudit.audit.config.resolve import DEFAULT_EPS, resolve_settings
from robaudit.errors import UsageError

FILE = """
data: photos
labels: labels.csv
profile: ci
norm: l2
eps: 0.25
batch-size: 8
input: {mean: [0.1, 0.2, 0.3], std: 0.5, layout: nchw}
classes: names.txt
gates: [{metric: clean_accuracy, min: 0.5}]
surrogates: [a.onnx]
min-robust: 0.3
output: [r.json]
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "sub").mkdir()
    return tmp_path / "sub" / "model.onnx"


@pytest.fixture
def config(tmp_path, model):
    (tmp_path / "robaudit.yaml").write_text(FILE)
    return tmp_path


def test_without_anything_the_profile_and_defaults_stand(model):
    resolved = resolve_settings({}, {}, model)
    assert (resolved.profile.name, resolved.settings.eps, resolved.settings.samples) == (
        "auto",
        "8/255",
        100,
    )
    assert resolved.eps_default
    assert resolved.sources["eps"] == "profile auto"
    assert resolved.sources["seed"] == "default"
    assert resolved.config_file is None


def test_the_nearest_file_is_read_and_its_paths_start_there(config, model):
    resolved = resolve_settings({}, {}, model)
    settings = resolved.settings
    assert settings.data == str(config / "photos")
    assert settings.labels == str(config / "labels.csv")
    assert settings.classes == str(config / "names.txt")
    assert settings.surrogates == (str(config / "a.onnx"),)
    assert settings.output == (str(config / "r.json"),)
    assert (settings.batch_size, settings.mean, settings.std) == (8, (0.1, 0.2, 0.3), (0.5,))
    assert (resolved.profile.name, resolved.profile.threat.norm, resolved.profile.threat.eps) == (
        "ci",
        "l2",
        "0.25",
    )
    assert [(gate.metric, gate.min) for gate in resolved.profile.gates] == [
        ("validity", None),
        ("coverage", 1),
        ("clean_accuracy", 0.5),
        ("robust_accuracy", 0.3),
    ]
    assert not resolved.eps_default
    (model.parent / "robaudit.yaml").write_text("labels: model\nprofile: own.yaml\n")
    (model.parent / "own.yaml").write_text("extends: quick\ndata: {samples: 5}\n")
    nearer = resolve_settings({}, {}, model)
    assert nearer.settings.labels == "model"
    assert nearer.settings.data is None
    assert nearer.settings.samples == 5
    assert nearer.profile_source == str(model.parent / "own.yaml")


def test_flags_win_over_environment_over_file_over_profile(config, model):
    environment = {"ROBAUDIT_SEED": "4", "ROBAUDIT_BATCH_SIZE": "16", "ROBAUDIT_MEAN": "0,0,0", "HOME": "/"}
    flags = {"batch_size": 32, "mean": None, "std": (1, 1, 1), "surrogates": []}
    resolved = resolve_settings(flags, environment, model)
    settings, sources = resolved.settings, resolved.sources
    assert (settings.batch_size, sources["batch_size"]) == (32, "flag --batch-size")
    assert (settings.seed, sources["seed"]) == (4, "environment ROBAUDIT_SEED")
    assert (settings.mean, sources["input.mean"]) == ((0, 0, 0), "environment ROBAUDIT_MEAN")
    assert (settings.std, sources["input.std"]) == ((1, 1, 1), "flag --std")
    assert (settings.layout, sources["input.layout"]) == ("nchw", str(config / "robaudit.yaml"))
    assert (settings.samples, sources["samples"]) == (300, "profile ci")
    assert settings.surrogates == (str(config / "a.onnx"),)


def test_a_norm_without_a_radius_does_not_keep_the_radius_of_another(config, model):
    resolved = resolve_settings({"norm": "linf"}, {}, model)
    assert (resolved.settings.eps, resolved.sources["eps"]) == (DEFAULT_EPS["linf"], "default")
    assert resolved.eps_default
    same = resolve_settings({"norm": "l2"}, {}, model)
    assert same.settings.eps == "0.25"
    given = resolve_settings({"norm": "linf", "eps": "2/255"}, {}, model)
    assert given.settings.eps == "2/255"
    assert given.profile.threat.radius == pytest.approx(2 / 255)


def test_min_robust_replaces_the_bound_alone(tmp_path, model):
    (tmp_path / "robaudit.yaml").write_text("gates: [{metric: robust_accuracy, min: 0.1, confidence: 0.99}]")
    gate = resolve_settings({"min_robust": 0.4}, {}, model).profile.gates[-1]
    assert (gate.metric, gate.min, gate.confidence) == ("robust_accuracy", 0.4, 0.99)


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({"eps": "0"}, {}, "command line: eps must be above 0"),
        ({"eps": "nan"}, {}, "not finite"),
        ({"norm": "linf", "eps": "2"}, {}, "flag --eps: .*at most 1"),
        ({"norm": "l7"}, {}, "norm"),
        ({"nrm": 1}, {}, "did you mean 'norm'"),
        ({}, {"ROBAUDIT_SED": "1"}, "did you mean 'ROBAUDIT_SEED'"),
        ({}, {"ROBAUDIT_SAMPLES": "x"}, "environment: samples"),
        ({"device": "gpu"}, {}, "auto, cpu, cuda or cuda:N"),
        ({"batch_size": "x"}, {}, "command line: batch_size: .*auto or a whole number"),
        ({"batch_size": 0}, {}, "auto or a whole number"),
        ({"mean": "a,b"}, {}, "input.mean"),
        ({"profile": "qick"}, {}, "did you mean 'quick'"),
        ({"samples": 0}, {}, "samples"),
        ({"min_robust": 40}, {}, "min_robust"),
        ({"min_robust": float("nan")}, {}, "min_robust"),
        ({"on_inconclusive": "ignore"}, {}, "on_inconclusive"),
        ({"seed": -1}, {}, "seed"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(model, flags, environment, words):
    with pytest.raises(UsageError, match=words) as caught:
        resolve_settings(flags, environment, model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dta: x", r"robaudit.yaml: unknown key 'dta'; did you mean 'data'"),
        ("input: {maen: 1}", "unknown key 'input.maen'; did you mean 'mean'"),
        ("batch-sise: 3", "did you mean 'batch-size'"),
        ("samples: many", "samples"),
        ("gates: [{metric: robust, min: 0.1}]", "no result has the metric 'robust'"),
        ("data: [", "not valid YAML"),
        ("input: 3", "input"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, model, text, words):
    (tmp_path / "robaudit.yaml").write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        resolve_settings({}, {}, model)
    assert "\n" not in str(caught.value)


def test_variables_of_our_own_and_empty_ones_are_left_alone(model):
    environment = {"ROBAUDIT_TEST_X": "1", "ROBAUDIT_INTERNAL_Y": "1", "ROBAUDIT_EPS": ""}
    assert resolve_settings({}, environment, model).eps_default


def test_domain_and_classes_can_be_lists(tmp_path, model):
    (tmp_path / "robaudit.yaml").write_text("classes: [cat, dog]\ninput: {domain: [0, 255]}")
    settings = resolve_settings({}, {}, model).settings
    assert settings.classes == ("cat", "dog")
    assert settings.domain == (0, 255)


@pytest.mark.parametrize("key", ["samples", "seed", "min-robust", "clean-accuracy"])
def test_a_switch_is_no_number(tmp_path, key):
    (tmp_path / "robaudit.yaml").write_text(f"eps: 0.1\n{key}: yes\n", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"line 2 of .*robaudit.yaml: {key}: true is no number"):
        resolve_settings({}, {}, tmp_path / "m.onnx")


def test_an_unknown_profile_is_told_with_its_line(tmp_path):
    (tmp_path / "robaudit.yaml").write_text("eps: 0.1\nprofile: quik\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"line 2 of .*robaudit.yaml: profile: unknown profile 'quik'; did you mean"):
        resolve_settings({}, {}, tmp_path / "m.onnx")

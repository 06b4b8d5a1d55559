import json
import os

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError
from results import make_attack, make_result, make_samples, make_stored

from robaudit.audit.result.document import Result, Sample, result_schema
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import AuditError, UsageError
from robaudit.stats.rates import rate

KEYS = [
    *("schema_version", "tool", "run", "verdict", "target", "data", "threat_model", "profile", "environment"),
    *("clean", "worst_case", "attacks", "checks", "gates", "evidence", "limitations", "errors", "samples", "digest"),
]


@pytest.fixture
def result():
    return stored(make_samples(41, 100))


def stored(samples):
    return conclude(make_stored(make_result(samples=samples)), [])


def test_top_level_keys_are_the_promised_ones(result):
    assert list(json.loads(result.to_json())) == KEYS


def test_a_rate_has_its_counts_and_interval(result):
    assert set(json.loads(result.to_json())["worst_case"]["robust_accuracy"]) == {
        "k", "n", "estimate", "low", "high", "confidence", "effective",
    }  # fmt: skip


def test_what_is_written_fits_the_schema_and_reads_back_the_same(result, tmp_path):
    schema = result_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    save_result(result, tmp_path / "r.json")
    jsonschema.validate(json.loads((tmp_path / "r.json").read_text()), schema)
    assert load_result(tmp_path / "r.json") == result
    assert os.listdir(tmp_path) == ["r.json"]


def test_every_field_is_described():
    schema = result_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model.get("properties", {}).items():
            assert "description" in field or "$ref" in field, name


def test_no_nan_reaches_the_file():
    attack = make_attack(
        "pgd",
        median_distance=float("nan"),
        parameters={"a": [float("inf"), np.float32(0.5)], "b": np.int64(3)},
    )
    assert attack.median_distance is None
    assert attack.parameters == {"a": [None, 0.5], "b": 3}


def test_a_file_name_that_is_not_utf8_is_escaped(tmp_path):
    sample = Sample(id=os.fsdecode(b"a\xff.png"), index=0, label=1, clean_prediction=1)
    save_result(stored([sample]), tmp_path / "r.json")
    assert load_result(tmp_path / "r.json").samples[0].id == "a\\udcff.png"


def test_records_are_frozen_and_take_no_other_fields(result):
    with pytest.raises(ValidationError):
        result.run.seed = 2
    with pytest.raises(ValidationError):
        Result.model_validate(json.loads(result.to_json()) | {"extra": 1})


def _damaged(text, how):
    content = json.loads(text)
    if how == "version":
        content["schema_version"] = "0.9"
    elif how == "keyless":
        content = {"a": 1}
    elif how == "list":
        content = []
    elif how == "missing":
        del content["worst_case"]
    elif how == "edited":
        content["worst_case"]["upper_bound_observed"]["k"] = 1000
    elif how == "rate":
        content["worst_case"]["upper_bound_observed"]["k"] = 99
    elif how == "bare":
        del content["digest"]
    elif how == "type":
        content["attacks"][0]["queries"] = "many"
    return json.dumps(content)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("version", "schema version 0.9, and this robaudit reads 1.4 to 1.10; scan again"),
        ("keyless", "no schema_version"),
        ("list", "no schema_version"),
        ("missing", "worst_case: Field required"),
        ("edited", "1000 of 100"),
        ("type", "attacks.0.queries"),
        ("rate", "was changed after robaudit wrote it"),
        ("bare", "was changed after robaudit wrote it"),
    ],
)
def test_a_wrong_result_is_refused_in_one_sentence(result, tmp_path, how, words):
    path = tmp_path / "r.json"
    path.write_text(_damaged(result.to_json(), how))
    with pytest.raises(UsageError, match=words) as caught:
        load_result(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"schema_version": NaN}', b"\xff\xfe\xff", b"[" * 100_000, b'{"a": "'],
    ids=range(6),
)
def test_text_that_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_result(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_result_is_refused(result, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(result.to_json()[:3000])
    with pytest.raises(UsageError, match="truncated"):
        load_result(path)


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_result(tmp_path / "none.json")
    with pytest.raises(AuditError, match="cannot be written"):
        save_result(make_result(), tmp_path / "no" / "r.json")


def test_a_failed_write_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AuditError, match="No space left"):
        save_result(result, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_an_unknown_rate_is_null():
    assert make_result(k=0, n=0).worst_case.upper_bound_observed == rate(0, 0)


def test_a_result_may_be_formatted_anew(result, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(json.loads(result.to_json()), sort_keys=True).replace("60.0", "60"))
    assert load_result(path) == result

"""Each setting is declared once; what is made from the declarations does what they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from run_kit import make_data, make_onnx
from typer.main import get_command

from robaudit.audit.config.building import build_request
from robaudit.audit.config.declaring import GATES, Apart, Setting, hyphens, setting
from robaudit.audit.config.keys import IN_RECORDS, record_of, validated
from robaudit.audit.config.keywords import SettingKeywords
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.config.settings import SETTINGS, Settings
from robaudit.audit.run.identity import identity_of
from robaudit.cli.app import app
from robaudit.errors import UsageError

OTHER: dict[str, Any] = {
    "data": "{}/data.npz",
    "labels": "{}/text",
    "label_column": "kind",
    "target_column": "kind",
    "profile": "standard",
    "norm": "l2",
    "eps": "0.01",
    "mask": "{}/text",
    "goal": "random",
    "access": "labels",
    "curve": True,
    "secrecy": True,
    "make_surrogates": ["distilled:queries=500"],
    "resize_surrogates": True,
    "matrix": True,
    "samples": 7,
    "surrogates": ["{}/model.onnx"],
    "stand_in": "{}/model.onnx",
    "defense": "bits",
    "detector": "squeezing",
    "false_alarms": 0.1,
    "top_scores": 3,
    "score_decimals": 2,
    "score_noise": 0.01,
    "reject_below": 0.5,
    "duplicates": "free",
    "query_rate": "60/min",
    "min_robust": 0.5,
    "gates": ["clean_accuracy>=0.5"],
    "certify": ["interval"],
    "until_decided": True,
    "time_budget": "10m",
    "on_inconclusive": "warn",
    "fail_on": "never",
    "baseline": "{}/text",
    "sign": "{}/text",
    "verify": "{}/text",
    "non_inferiority_margin": 0.02,
    "output": ["{}/a.json", "{}/b.md"],
    "mean": "0.5,0.5",
    "std": "0.5",
    "scale": 255.0,
    "domain": "0,2",
    "feature_ranges": "{}/text",
    "layout": "nhwc",
    "channels": "bgr",
    "resize": "32x32",
    "crop": 0.9,
    "interpolation": "bilinear",
    "clean_accuracy": 0.9,
    "classes": "{}/text",
    "output_name": "logits",
    "decision": "smallest",
    "fixed": ["a=1", "b=zeros"],
    "input_name": "x",
    "device": "cpu",
    "batch_size": 8,
    "compile": True,
    "search_precision": "bfloat16",
    "seed": 1,
    "run_dir": "{}/run",
    "fresh": True,
    "dry_run": True,
    "trust_model": True,
    "fresh_state": True,
    "sandbox": False,
    "load_timeout": 5.0,
    "call_timeout": 5.0,
    "memory_limit": 4.0,
    "max_queries": 100,
    "max_cost": 5.0,
    "custom_ops": ["{}/text"],
}
"""A value of each setting that is not its default."""
KEYS = [name for name, each in SETTINGS.items() if not each.alone]
FILES = ["mask", *(n for n, each in SETTINGS.items() if any(part.read in ("file", "model") for part in each.parts))]
FILES = [name for name in FILES if name not in ("defense", "detector")]  # of which a file is a part


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("settings")
    for name in ("m.onnx", "model.onnx"):
        make_onnx(found / name)
    make_data(found / "m.data.npz")
    make_data(found / "data.npz", 12)
    (found / "text").write_text("a\nb\nc\nd\n")
    return found


def other(name: str, folder: Path) -> Any:
    value = OTHER[name]
    if isinstance(value, list):
        return [text.replace("{}", str(folder)) for text in value]
    return value.replace("{}", str(folder)) if isinstance(value, str) else value


def run_id(folder: Path, **given: Any) -> str:
    return identity_of(build_request(folder / "m.onnx", resolve_settings(given, {}, folder / "m.onnx"))).run_id


def test_every_setting_has_another_value_here() -> None:
    assert set(OTHER) == set(SETTINGS) == set(vars(Settings()))


def test_each_setting_is_a_typed_keyword_of_a_call() -> None:
    assert set(SettingKeywords.__annotations__) | {"data"} == SETTINGS.keys() - {"dry_run"}


def test_a_setting_without_an_identity_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="identity"):
        setting(None, str, help="Nothing.")  # type: ignore[call-arg]
    assert all(each.identity.why for each in SETTINGS.values() if isinstance(each.identity, Apart))


@pytest.mark.parametrize("name", SETTINGS)
def test_another_value_is_another_run_where_the_declaration_says_so(folder, name) -> None:
    changed = {name: other(name, folder)}
    identity = SETTINGS[name].identity
    assert (run_id(folder, **changed) != run_id(folder)) == (identity != GATES and not isinstance(identity, Apart))
    if identity == GATES:
        assert run_id(folder, until_decided=True, **changed) != run_id(folder, until_decided=True)


@pytest.mark.parametrize("name", FILES)
def test_a_file_counts_by_its_content(folder, tmp_path, name) -> None:
    several = isinstance(other(name, folder), list)
    named = Path(other(name, folder)[0] if several else other(name, folder))
    same = Path(shutil.copy(named, tmp_path / named.name))

    def given(path: Path) -> dict[str, Any]:
        return {name: [path] if several else path}

    before = run_id(folder, **given(same))
    assert before == run_id(folder, **given(named))
    if named.suffix == ".onnx":
        make_onnx(same, scale=2.0)
    else:
        same.write_bytes(same.read_bytes() + b" ")
    assert before != run_id(folder, **given(same))


def test_a_file_of_a_defense_counts_by_its_content_too(folder, tmp_path) -> None:
    same = Path(shutil.copy(folder / "model.onnx", tmp_path / "p.onnx"))
    before = run_id(folder, defense=["bits:4", f"purifier:{same}"])
    assert before == run_id(folder, defense=f"bits:4+purifier:{folder / 'model.onnx'}")
    assert before != run_id(folder, defense=f"purifier:{same}+bits:4")
    make_onnx(same, scale=2.0)
    assert before != run_id(folder, defense=["bits:4", f"purifier:{same}"])
    with pytest.raises(UsageError, match="there is no file"):
        run_id(folder, defense=f"purifier:{tmp_path / 'none.onnx'}")


def test_a_file_of_a_detector_counts_by_its_content_too(folder, tmp_path) -> None:
    same = Path(shutil.copy(folder / "model.onnx", tmp_path / "p.onnx"))
    before = run_id(folder, detector=f"file:{same}")
    assert before == run_id(folder, detector=f"file:{folder / 'model.onnx'}")
    assert before != run_id(folder, detector=f"file:{same},takes=unit")
    make_onnx(same, scale=2.0)
    assert before != run_id(folder, detector=f"file:{same}")
    with pytest.raises(UsageError, match="there is no file"):
        run_id(folder, detector=f"file:{tmp_path / 'none.onnx'}")


def text_of(value: Any, each: Setting) -> str:
    """A value as it stands in a variable."""
    if isinstance(value, list):
        return (os.pathsep if each.paths else ";").join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_flag_a_key_and_a_variable_say_the_same(folder, name) -> None:
    each, value, model = SETTINGS[name], other(name, folder), folder / "m.onnx"
    command = get_command(app).commands["scan"]  # type: ignore[attr-defined]
    words = [word for item in (value if isinstance(value, list) else [value]) for word in (each.option, str(item))]
    if each.flag is bool:
        words = [each.flags[0].split("/")[1 - value] if "/" in each.flags[0] else each.option]
    parsed = command.make_context("scan", [str(model), *words]).params
    flags = {key: parsed[key] for key in SETTINGS if parsed[key] is not False or "/" in SETTINGS[key].flags[0]}
    by_flag = resolve_settings(flags, {}, model)
    assert vars(by_flag.settings)[name] != vars(Settings())[name]
    assert vars(by_flag.settings)[name] == vars(resolve_settings({name: value}, {}, model).settings)[name]
    if each.alone:
        assert name not in by_flag.sources
        return
    assert by_flag.sources[each.origin_key] == f"flag {each.option}"
    config = folder / "robaudit.yaml"
    try:
        written = {hyphens(name): value}
        config.write_text(yaml.safe_dump({each.inside: written} if each.inside else written))
        by_key = resolve_settings({}, {}, model)
        assert by_key.settings == by_flag.settings or name == "profile"
        assert by_key.sources[each.origin_key] == str(config)
    finally:
        config.unlink()
    if each.environment is not None:
        by_variable = resolve_settings({}, {each.environment: text_of(value, each)}, model)
        assert by_variable.settings == by_flag.settings
        assert by_variable.sources[each.origin_key] == f"environment {each.environment}"


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in KEYS])
def test_what_a_flag_alone_may_say_is_refused_elsewhere(tmp_path, name) -> None:
    with pytest.raises(UsageError, match="unknown environment variable"):
        resolve_settings({}, {f"ROBAUDIT_{name.upper()}": "1"}, tmp_path / "m.onnx")
    (tmp_path / "robaudit.yaml").write_text(f"{hyphens(name)}: 1\n")
    with pytest.raises(UsageError, match=f"unknown key '{hyphens(name)}'"):
        resolve_settings({}, {}, tmp_path / "m.onnx")


@pytest.mark.parametrize("name", [name for name in SETTINGS if SETTINGS[name].default not in (None, ())])
def test_a_default_is_a_value(name) -> None:
    assert validated({name: SETTINGS[name].default}, "here", alone=True) == {name: SETTINGS[name].default}


def test_origins_stand_in_the_order_of_the_declarations() -> None:
    """Whatever the order in which names are hashed."""
    code = (
        "from robaudit.audit.config.resolve import resolve_settings as resolve\n"
        "flags = dict(std='1', seed=2, mean='0', eps='0.1', layout='nchw', data='d', labels='l', domain='0,1')\n"
        "print(*resolve(flags, {}, 'm.onnx').sources)"
    )
    orders = set()
    for seed in "012":
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        orders.add(done.stdout.decode())
    (order,) = orders
    told = {"std", "mean", "layout", "domain", *(name for name in IN_RECORDS if not SETTINGS[name].inside)}
    assert order.split() == [SETTINGS[name].origin_key for name in KEYS if name in told]


def test_the_record_keeps_its_order_and_newer_settings_follow_where_they_were_given() -> None:
    record = record_of(Settings())
    assert [key for name, value in record.items() for key in (value if name == "input" else [name])] == IN_RECORDS
    newer = [name for name in KEYS if name not in IN_RECORDS]
    assert list(record_of(Settings(**{name: OTHER[name] for name in newer}))) == [*record, *newer]
    sources = resolve_settings({name: OTHER[name] for name in newer}, {}, "m.onnx").sources
    assert set(newer) <= set(sources)

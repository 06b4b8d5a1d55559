"""Settings of inputs and outputs: flags, variables and files say the same things in their own ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from run_kit import make_data, make_onnx, make_profile, make_request

from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.run.identity import identity_of
from robaudit.errors import UsageError
from robaudit.target.reading.interface import Interface


def resolved(tmp_path: Path, yaml: str = "", environment: dict[str, str] | None = None, **flags: object):
    (tmp_path / "robaudit.yaml").write_text(yaml)
    return resolve_settings(flags, environment or {}, tmp_path / "m.onnx")


def test_a_file_says_what_inputs_hold(tmp_path):
    yaml = "input: {fixed: {sr: 16000, state: zeros, mask: [1, 0, 1], flag: true, h: h.npy}}\noutput-name: probs\n"
    found = resolved(tmp_path, yaml + "input-name: audio\n")
    assert found.settings.fixed == {
        "sr": "16000",
        "state": "zeros",
        "mask": "1,0,1",
        "flag": "true",
        "h": str(tmp_path / "h.npy"),
    }
    assert (found.settings.output_name, found.settings.input_name) == ("probs", "audio")


def test_flags_go_before_variables_and_those_before_the_file(tmp_path):
    yaml = "output-name: a\ninput: {fixed: {x: 1}}\n"
    variables = {"ROBAUDIT_OUTPUT_NAME": "b", "ROBAUDIT_FIXED": "x=2;y=1,2"}
    assert resolved(tmp_path, yaml).settings.output_name == "a"
    told = resolved(tmp_path, yaml, variables)
    assert (told.settings.output_name, told.settings.fixed) == ("b", {"x": "2", "y": "1,2"})
    told = resolved(tmp_path, yaml, variables, output_name="c", fixed=["x=a=b"])
    assert (told.settings.output_name, told.settings.fixed) == ("c", {"x": "a=b"})
    assert told.sources["input.fixed"] == "flag --input"


@pytest.mark.parametrize(
    ("fixed", "words"),
    [(["x"], "NAME=VALUE"), (["=1"], "NAME=VALUE"), (["x=1", "x=2"], "fixed twice")],
)
def test_what_is_no_pair_is_refused(tmp_path, fixed, words):
    with pytest.raises(UsageError, match=words):
        resolved(tmp_path, fixed=fixed)


def test_a_value_of_the_wrong_type_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a fixed input is a number"):
        resolved(tmp_path, "input: {fixed: {x: {a: 1}}}\n")


def test_another_value_is_another_audit(tmp_path):
    model, data, profile = (
        make_onnx(tmp_path / "m.onnx"),
        make_data(tmp_path / "d.npz"),
        make_profile(tmp_path / "p.yaml"),
    )

    def run_id(**interface: object) -> str:
        return identity_of(make_request(model, data, profile, interface=Interface(**interface))).run_id

    np.save(tmp_path / "v.npy", np.zeros(2))
    first = run_id(fixed={"s": str(tmp_path / "v.npy")})
    np.save(tmp_path / "v.npy", np.ones(2))
    ids = [run_id(), run_id(output="y"), run_id(input="x"), run_id(fixed={"s": "1"}), run_id(fixed={"s": "2"}), first]
    ids.append(run_id(fixed={"s": str(tmp_path / "v.npy")}))
    assert len(set(ids)) == len(ids)
    assert run_id(fixed={"s": "1"}) == ids[3]


def test_decision_and_state_from_flags_and_file(tmp_path):
    told = resolved(tmp_path, "decision: above:0.30\nfresh-state: true\n")
    assert (told.settings.decision, told.settings.fresh_state) == ("above:0.3", True)
    told = resolved(tmp_path, "decision: largest\n", {"ROBAUDIT_FRESH_STATE": "true"}, decision="smallest")
    assert (told.settings.decision, told.settings.fresh_state) == ("smallest", True)
    with pytest.raises(UsageError, match="largest, smallest, above:NUMBER or below:NUMBER"):
        resolved(tmp_path, "decision: biggest\n")

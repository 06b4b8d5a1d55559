"""A short run of the fuzzer: damaged files end in a sentence, and reach nothing outside of their folder."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import onnx
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
if not (BENCHMARKS / "fuzz.py").is_file():
    pytest.skip("NOT TESTED: the fuzzer is not here", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from fuzz import Outside, fuzz  # noqa: E402
from fuzz_mutations import mutate_archive, mutate_bytes, mutate_onnx  # noqa: E402
from fuzz_scripts import mutate_script  # noqa: E402
from fuzz_seeds import ONNX_SEEDS, torchscript_seeds  # noqa: E402

from robaudit.audit.process import sandbox  # noqa: E402
from robaudit.target.load import open_target  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: it takes inotify"),
]
FILES = 200


@pytest.mark.slow
def test_damaged_files(tmp_path):
    report = fuzz(tmp_path, range(FILES), seed=1, sandbox=sandbox.landlock_version() > 0)
    counts = report["counts"]
    assert sum(sum(found.values()) for found in counts.values()) == FILES
    assert all(found.get("refused", 0) > 0 for found in counts.values() if found)  # not all kinds are made by default
    assert sum(found.get("ok", 0) for found in counts.values()) > 0
    assert [f for f in report["findings"] if f["touched"] or f["status"] == "unexpected"] == []


@pytest.mark.slow
def test_archives_damaged_by_structure(tmp_path):
    """Without the sandbox, so that a write would be seen."""
    report = fuzz(tmp_path, range(60), seed=3, sandbox=False, kinds=("torchscript structure",))
    counts = report["counts"]["torchscript structure"]
    assert counts["refused"] > 30
    assert counts["ok"] > 3
    assert [f for f in report["findings"] if f["touched"] or f["status"] in ("unexpected", "crash")] == []


@pytest.mark.parametrize("name", sorted(torchscript_seeds()))
def test_undamaged_archives_are_loaded(tmp_path, name):
    (tmp_path / "m.pt").write_bytes(torchscript_seeds()[name])
    assert open_target(tmp_path / "m.pt", device="cpu", sample_shape=(3, 8, 8)).num_classes == 4


@pytest.mark.parametrize("name", ONNX_SEEDS)
def test_undamaged_seeds_are_loaded(tmp_path, name):
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    (tmp_path / "m.onnx").write_bytes(ONNX_SEEDS[name]().SerializeToString())
    assert open_target(tmp_path / "m.onnx", device="cpu", sample_shape=(3, 8, 8)).num_classes == 4


def test_mutations_are_the_same_for_the_same_seed():
    content = ONNX_SEEDS["branch"]().SerializeToString()
    archive = torchscript_seeds()["scripted"]
    for mutate in (
        lambda rng: mutate_bytes(content, rng),
        lambda rng: mutate_onnx(content, rng, "/outside"),
        lambda rng: mutate_archive(archive, rng, "/outside"),
        lambda rng: mutate_script(archive, rng, "/outside"),
    ):
        made = [mutate(random.Random(seed)) for seed in range(20)]
        again = [mutate(random.Random(seed)) for seed in range(20)]
        assert [len(m) for m in made] == [len(m) for m in again]
        assert len(set(made)) > 15
    onnx.ModelProto.FromString(mutate_onnx(content, random.Random(0), "/outside"))


def test_the_folder_outside_tells_who_opens_it(tmp_path):
    outside = Outside(tmp_path / "outside")
    assert not outside.opened()
    os.stat(tmp_path / "outside" / "secret.bin")
    assert not outside.opened()
    (tmp_path / "outside" / "secret.bin").read_bytes()
    assert outside.opened()
    assert not outside.opened()
    (tmp_path / "outside" / "written").write_bytes(b"")
    assert outside.opened()

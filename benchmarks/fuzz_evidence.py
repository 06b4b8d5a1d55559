"""Edits results and evidence as a stranger would, and has them replayed, reported, compared and gated.

    python benchmarks/fuzz_evidence.py [--edits 2000] [--seed 0] [--only N]

Three small audits (one norm; two norms with a curve; a goal) are edited by their structure: the arrays of the archive
(types, shapes, values that are no number, rows exchanged, doubled or cut off, pickles, bombs, names that come twice,
links), the fields of the result (wrong types, extreme values, other samples' values), and the texts themselves. After
every edit the digests are written anew, as whoever edits would. It is a finding when an error is no sentence, when an
edit takes longer than ``--slow`` seconds, or when an example counts that the file, asked here by other code, is not
fooled by, or that lies outside of the ball or the box.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.outcome.build import Sessions, build_result
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import content_digest
from robaudit.audit.session.session import Session
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.compare import with_comparison
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import RobauditError
from robaudit.report.registry import formats
from robaudit.report.replay import replay_lines

SHAPE, CLASSES, SLACK = (1, 6, 6), 4, 1e-5
RENDERED = 0.3
"""Share of the edits of which all reports are rendered too."""
AUDITS = {
    "one norm": ("{norm: linf, eps: 0.1}", False),
    "two norms and a curve": ("{norm: linf, eps: 0.1, also: [{norm: l2, eps: 0.4}]}", True),
    "a goal": ("{norm: linf, eps: 0.15, goal: 'every:2'}", False),
}
NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**31, 2**53, 2**63, -(2**63), 10**400, 0.0, -0.0, 0.5, -0.1, 1e-300, 1e308, 0.1)
OTHERS = (
    None,
    True,
    False,
    "",
    "x",
    "é\u202e",
    "../x",
    "/etc/passwd",
    "NaN",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "0" * 5000,
)


def make_files(folder: Path) -> tuple[Path, Path]:
    """A float32 network and samples that it answers, the first wrongly."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(36, 12)).astype(np.float32), rng.normal(size=(12, CLASSES)).astype(np.float32)
    arrays = {"w": first, "b": -first.sum(0) / 2, "v": second}
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    model, data = folder / "m.onnx", folder / "d.npz"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    x = (0.5 + 0.2 * rng.normal(size=(10, *SHAPE))).clip(0.05, 0.95).astype(np.float32)
    y = (np.tanh(x.reshape(10, -1) @ first + arrays["b"]) @ second).argmax(1)
    y[0] = (y[0] + 1) % CLASSES
    np.savez(data, x=x, y=y)
    return model, data


def audit(folder: Path, threat: str, curve: bool) -> None:
    """A finished run."""
    model, data = make_files(folder)
    (folder / "p.yaml").write_text(
        f"name: tiny\nthreat: {threat}\nattacks: [{{id: fgsm}}, {{id: apgd-ce, steps: 5}}]\n"
        f"checks: [clean, evidence]\ncurve: {str(curve).lower()}\n"
        "gates: [{metric: robust_accuracy, min: 0.1}]\n"
    )
    values = {"mean": (0.0,), "std": (1.0,), "layout": "nchw", "domain": (0.0, 1.0)}
    profile = load_profile(str(folder / "p.yaml"))
    request = AuditRequest(model=model, data=data, profile=profile, input_values=values, batch_size=8)
    run = folder / "run"
    run.mkdir()
    journal = Journal(run, key=b"fuzz")
    Session(request, run, journal, lambda _: None, lambda: False).run()
    result = build_result(request, journal, Sessions(run_id="fuzz", started=datetime.now(UTC), seconds=0.0))
    save_result(conclude(result, profile.gates), run / "result.json")
    assert result.evidence.count > 3, result.evidence


Edit = Callable[[Path, random.Random], None]


def arrays_of(run: Path) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(run / "evidence.npz") as archive:
        return dict(archive)


def write_arrays(run: Path, arrays: dict[str, Any], *, twice: str | None = None, method: int = 0) -> None:
    """An archive of arrays, and of texts of an array's bytes as they are."""
    with zipfile.ZipFile(run / "evidence.npz", "w", method) as archive:
        for name, value in arrays.items():
            content = io.BytesIO()
            if isinstance(value, bytes):
                content.write(value)
            else:
                np.lib.format.write_array(content, np.asarray(value), allow_pickle=True)
            for _ in range(2 if name == twice else 1):
                archive.writestr(f"{name}.npy", content.getvalue())


def header(shape: tuple[int, ...], dtype: str, data: bytes = b"", *, fortran: bool = False) -> bytes:
    """The bytes of an array that says this of itself."""
    content = io.BytesIO()
    told = {"descr": dtype, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_2_0(content, told)
    return content.getvalue() + data


def edit_values(run: Path, rng: random.Random) -> None:
    """Another value in some places of an array."""
    arrays = arrays_of(run)
    name = rng.choice(list(arrays))
    array = arrays[name].copy()
    flat = array.reshape(-1)
    for _ in range(rng.choice((1, 1, 3, 30))):
        place = rng.randrange(flat.size)
        if array.dtype.kind == "f":
            flat[place] = rng.choice((np.nan, np.inf, -np.inf, -0.01, 1.01, 0.0, 1.0, 1e30, rng.random()))
        elif array.dtype.kind == "U":
            flat[place] = rng.choice(("", "fgsm", "apgd-ce", "x", "\u202e"))
        else:
            flat[place] = rng.choice((0, 1, 2, 3, 4, -1, 9, 10, 2**62, -(2**62)))
    write_arrays(run, arrays | {name: array})


def edit_points(run: Path, rng: random.Random) -> None:
    """Adversarial examples that fool and lie elsewhere, or lie well and do not fool."""
    arrays = arrays_of(run)
    prefix = rng.choice([name[: -len("original")] for name in arrays if name.endswith("original")])
    start, point = arrays[f"{prefix}original"].copy(), arrays[f"{prefix}adversarial"].copy()
    row = rng.randrange(len(start))
    kind = rng.randrange(7)
    if kind == 0:
        point[row] = start[row] + (point[row] - start[row]) * rng.choice((0, 0.5, 0.99, 1.1, 2, 5, -1))
    elif kind == 1:
        point[row] = start[row]
    elif kind == 2:
        point[row] = rng.choice((0.0, 1.0, np.nan, -1.0))
    elif kind == 3:
        start[row], point[row] = point[row].copy(), start[row].copy()
    elif kind == 4:
        start[row] = point[row]
    elif kind == 5:
        shift = rng.choice((-1, 1, 0.5, 1e-3))
        start[row], point[row] = start[row] + shift, point[row] + shift
    else:
        other = rng.randrange(len(start))
        start[row], point[row] = start[other], point[other]
    write_arrays(run, arrays | {f"{prefix}original": start, f"{prefix}adversarial": point})


def edit_type(run: Path, rng: random.Random) -> None:
    """An array of another type."""
    arrays = arrays_of(run)
    name = rng.choice(list(arrays))
    kind = rng.choice(
        ("f2", "f4", "f8", "f16", ">f4", "i1", "i8", "u8", "?", "c8", "c16", "S8", "U4", "U2000", "O", "M8[s]", "m8[s]")
    )
    try:
        value = arrays[name].astype(kind)
    except (ValueError, TypeError):
        value = np.zeros(arrays[name].shape, "V12" if rng.random() < 0.5 else [("a", "f4"), ("b", "i8")])
    write_arrays(run, arrays | {name: value})


def edit_shape(run: Path, rng: random.Random) -> None:
    """An array of another shape."""
    arrays = arrays_of(run)
    name = rng.choice(list(arrays))
    value = arrays[name]
    changed = rng.choice(
        (
            lambda: value[:0],
            lambda: value[:-1],
            lambda: value[:1],
            lambda: np.concatenate([value, value]),
            lambda: value.reshape(-1),
            lambda: value[None],
            lambda: value[..., None],
            lambda: np.asfortranarray(value.T).T if value.ndim > 1 else value[0],
            lambda: np.array(0.5),
            lambda: np.zeros((len(value), 0)),
            lambda: np.zeros((0, 5)),
            lambda: value[::-1],
        )
    )()
    write_arrays(run, arrays | {name: changed})


def edit_header(run: Path, rng: random.Random) -> None:
    """An array that says of itself what is not so."""
    arrays: dict[str, Any] = arrays_of(run)
    name = rng.choice(list(arrays))
    value = arrays[name]
    data = value.tobytes()
    n = len(value)
    shape = rng.choice(
        ((n, 2**40), (2**62,), (n, 2**31, 2**31, 2**31), (-1, 3), (n, -5), (n,) + (1,) * 60, (2**20, 2**20))
    )
    arrays[name] = rng.choice(
        (
            lambda: header(shape, value.dtype.str, data),
            lambda: header((n,), "|V1000000000", data),
            lambda: header(value.shape, value.dtype.str, data[: rng.randrange(len(data))]),
            lambda: header(value.shape, value.dtype.str, data, fortran=True),
            lambda: header(value.shape, "<U100000000", data),
            lambda: b"\x93NUMPY" + bytes(rng.randrange(256) for _ in range(40)),
            lambda: b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
            lambda: b"\x93NUMPY\x02\x00" + (200).to_bytes(4, "little") + b"{'descr': '<f4', 'shape': (1,)}".ljust(200),
            lambda: b"",
            lambda: header(value.shape, "|O", pickle.dumps(np.zeros(3))),
        )
    )()
    write_arrays(run, arrays)


def edit_archive(run: Path, rng: random.Random) -> None:
    """The archive itself: names, compression, bytes."""
    arrays: dict[str, Any] = arrays_of(run)
    name = rng.choice(list(arrays))
    path = run / "evidence.npz"
    kind = rng.randrange(9)
    if kind == 0:
        del arrays[name]
        write_arrays(run, arrays)
    elif kind == 1:
        write_arrays(run, arrays, twice=name)
    elif kind == 2:
        write_arrays(run, arrays, method=rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED)))
    elif kind == 3:  # a bomb: as many rows as the result tells of, each of megabytes
        arrays[name] = header((len(arrays[name]), 2**21), "<f4", bytes(4 * 2**21 * len(arrays[name])))
        write_arrays(run, arrays, method=zipfile.ZIP_DEFLATED)
    elif kind <= 6:
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)
    elif kind == 7:
        path.rename(run / "elsewhere")
        rng.choice((lambda: path.symlink_to(run / "none"), lambda: os.mkfifo(path), path.mkdir, lambda: None))()
    else:
        path.write_bytes(rng.choice((b"", b"PK\x05\x06" + bytes(18), b"PK", pickle.dumps([1]))))


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values of a document."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places_of(inner, (*path, key))
    return found


def edit_result(run: Path, rng: random.Random, most: int = 1) -> None:
    """Other values in fields of the result."""
    content = json.loads((run / "result.json").read_text())
    for _ in range(rng.randrange(most) + 1):
        path = rng.choice(places_of(content))
        at = content
        for key in path[:-1]:
            at = at[key]
        now = at[path[-1]]
        kind = rng.random()
        if kind < 0.1 and isinstance(at, dict):
            del at[path[-1]]
        elif kind < 0.2 and isinstance(at, list):
            at.insert(rng.randrange(len(at) + 1), json.loads(json.dumps(now)))
        elif kind < 0.35:
            other = content
            for key in rng.choice(places_of(content)):
                other = other[key]
            at[path[-1]] = json.loads(json.dumps(other)) if len(json.dumps(other)) < 5000 else None
        elif isinstance(now, int | float) and not isinstance(now, bool) and kind < 0.9:
            at[path[-1]] = rng.choice((*NUMBERS, now + 1, now * 2, -now, now / 2))
        else:
            at[path[-1]] = rng.choice((*NUMBERS, *OTHERS))
    content.pop("digest", None)
    (run / "result.json").write_text(json.dumps({**content, "digest": content_digest(content)}))


def edit_text(run: Path, rng: random.Random) -> None:
    """Bytes of the result."""
    data = bytearray((run / "result.json").read_bytes())
    for _ in range(rng.choice((1, 1, 4))):
        place = rng.randrange(len(data))
        new = rng.choice(
            (b"{", b"[" * 5000, b"NaN", b"1e999", b"\xff", b'"', b"-", b"\\ud800", b"", bytes([rng.randrange(256)]))
        )
        data[place : place + rng.choice((0, 1, 1, 8))] = new
    (run / "result.json").write_bytes(data)


EDITS: dict[str, tuple[Edit, int]] = {
    "values": (edit_values, 3),
    "points": (edit_points, 4),
    "types": (edit_type, 2),
    "shapes": (edit_shape, 2),
    "headers": (edit_header, 2),
    "archive": (edit_archive, 2),
    "result": (edit_result, 5),
    "result, several": (lambda run, rng: edit_result(run, rng, 4), 2),
    "text": (edit_text, 1),
}


def named_anew(run: Path) -> None:
    """The result names the archive that is there."""
    path, archive = run / "result.json", run / "evidence.npz"
    try:
        content = json.loads(path.read_text())
        kept = content["evidence"]
        if archive.is_file():
            kept["sha256"] = hashlib.sha256(archive.read_bytes()).hexdigest()
        content.pop("digest", None)
        path.write_text(json.dumps({**content, "digest": content_digest(content)}))
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError):
        return


def believed(run: Path, session: onnxruntime.InferenceSession, found: Any) -> Counter[str]:
    """Whether the examples that counted are what they are said to be, asked and measured by other code."""
    counts = Counter[str]()
    if not found.examples:
        return counts
    result = json.loads((run / "result.json").read_text())
    radii = {attack["id"]: attack["eps"] for attack in result["attacks"]}
    with np.load(run / result["evidence"]["path"]) as archive:
        arrays = dict(archive)
    rows: dict[bool, int] = {False: 0, True: 0}
    for example in found.examples:
        row = rows[example.nearest]
        rows[example.nearest] += 1
        prefix = "nearest_" if example.nearest else ""
        start, point = (arrays[f"{prefix}{side}"][row] for side in ("original", "adversarial"))
        if example.status != "fools":
            counts[example.status] += 1
            continue
        counts["fools"] += 1
        inputs = np.stack([start, point]).astype(np.float32)
        scores = np.stack([session.run(None, {"x": one[None]})[0][0] for one in inputs])
        right, answer = scores.argmax(1)
        label = int(arrays[f"{prefix}label"][row])
        target = arrays.get(f"{prefix}target")
        fooled = answer == target[row] if target is not None else answer != label
        gap = (point.astype(np.float64) - start.astype(np.float64)).ravel()
        size = float(np.linalg.norm(gap, ord={"linf": np.inf, "l2": 2}[example.norm]))
        inside = all(side.min() >= -SLACK and side.max() <= 1 + SLACK for side in (start, point))
        near = example.nearest or size <= radii[str(arrays[f"{prefix}attack"][row])] + SLACK
        if not (right == label and fooled and inside and near):
            counts["FORGED"] += 1
    return counts


def tried(run: Path, base: Path, session: onnxruntime.InferenceSession, reports: bool) -> tuple[str, Counter[str]]:
    """What became of an edit: of its replay; nothing comes out that is no sentence."""
    status, counts = "", Counter[str]()
    try:
        found = replay(ReplayRequest(run, model=run.parent / "m.onnx"))
        list(replay_lines(found, every=True, width=80))
        counts = believed(run, session, found)
        status = "holds" if found.holds else "does not hold"
    except RobauditError:
        status = "refused"
    try:
        result = load_result(run / "result.json")
    except RobauditError:
        return status, counts
    for format in formats().values() if reports else ():
        try:
            format.render(result, run if format.evidence else None)
        except RobauditError:
            counts["a report refused"] += 1
    for other in (base, run / "result.json"):
        try:
            with_comparison(result, load_result(other))
        except RobauditError:
            counts["a comparison refused"] += 1
    conclude(result, load_profile("quick").gates)
    return status, counts


def main() -> int:
    """All edits; 0 where nothing was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edits", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, default=None, help="number of one edit")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which no edit is made")
    parser.add_argument("--slow", type=float, default=10.0)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="robaudit-fuzz-"))
    sessions = {}
    for name, (threat, curve) in AUDITS.items():
        (root / name).mkdir()
        audit(root / name, threat, curve)
        sessions[name] = onnxruntime.InferenceSession(str(root / name / "m.onnx"))
    table: dict[str, Counter[str]] = {name: Counter() for name in EDITS}
    surprises, longest, begun = 0, 0.0, time.monotonic()
    weights = [weight for _, weight in EDITS.values()]
    for number in [options.only] if options.only is not None else range(options.edits):
        if time.monotonic() - begun > options.limit:
            break
        rng = random.Random(f"{options.seed} {number}")
        name, kind = rng.choice(list(AUDITS)), rng.choices(list(EDITS), weights)[0]
        folder = root / "edited"
        shutil.copytree(root / name, folder)
        EDITS[kind][0](folder / "run", rng)
        if kind not in ("text",):
            named_anew(folder / "run")
        start = time.monotonic()
        try:
            status, counts = tried(
                folder / "run", root / name / "run/result.json", sessions[name], rng.random() < RENDERED
            )
        except Exception as error:
            status, counts = "SURPRISE", Counter()
            print(f"{number} ({name}, {kind}): {type(error).__name__}: {error}")
            print("   ", *traceback.format_tb(error.__traceback__)[-2:])
            surprises += 1
        took = time.monotonic() - start
        longest = max(longest, took)
        if counts["FORGED"] or took > options.slow:
            print(f"{number} ({name}, {kind}): {counts}, {took:.1f} s")
            surprises += 1
        table[kind]["edits"] += 1
        table[kind][status] += 1
        table[kind].update(counts)
        shutil.rmtree(folder)
    columns = ("edits", "refused", "does not hold", "holds", "fools", "FORGED", "SURPRISE")
    print(f"| edited | {' | '.join(columns)} |\n|-|{'-|' * len(columns)}")
    for kind, counts in table.items():
        print(f"| {kind} | {' | '.join(str(counts[column]) for column in columns)} |")
    print(f"{time.monotonic() - begun:.0f} s, the longest edit {longest:.2f} s")
    shutil.rmtree(root)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())

"""Settings of how an audit runs: device, seed, run directory, and the limits of the process that loads the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robaudit.audit.config.declaring import AS_IN_SCAN, LIMIT, ONE_CALL, Apart, Part, Read, Written, setting

if TYPE_CHECKING:
    from robaudit.audit.config.value_types import (
        BatchSize,
        Device,
        Gigabytes,
        Money,
        Paths,
        PathText,
        Positive,
        Seconds,
        Seed,
    )

__all__ = ["RunSettings"]

BOTH = {"inspect": AS_IN_SCAN, "init": AS_IN_SCAN}
LOADING = BOTH | {"replay": AS_IN_SCAN}
SPENDS = "it decides what may be sent and spent"
CONFINED = "As in scan; nothing can be written at all."


@dataclass(frozen=True)
class RunSettings:
    """How the audit runs."""

    device: Device = setting(
        "auto",
        str,
        help="auto, cpu, cuda or cuda:N.",
        also={"inspect": AS_IN_SCAN, "replay": "cpu or cuda. Default: cpu."},
        identity=Apart("successes are judged on the file, wherever they were searched"),
    )
    batch_size: BatchSize = setting(
        "auto",
        str,
        help="A number, or auto: measured.",
        meaning="Most inputs evaluated at once: a number, or auto, which measures.",
        identity=Apart("it is about speed and memory"),
    )
    compile: bool = setting(
        False,
        bool,
        help="Compile the twin (torch.compile): minutes at first; for GPUs.",
        meaning="Compile the twin with torch.compile: minutes at first; of use on a GPU, if at all.",
        identity=Apart("it is about speed"),
    )
    search_precision: Literal["float32", "bfloat16", "tf32"] = setting(
        "float32",
        str,
        help="Of white-box searches: float32, bfloat16 or tf32 (GPU).",
        meaning="Arithmetic of white-box searches: float32, bfloat16 or tf32; every success is judged on the file at "
        "its own precision.",
        identity=Part("search precision", unless="float32"),
    )
    seed: Seed = setting(
        0,
        int,
        help="Seed of all random numbers.",
        identity=Part("seed"),
    )
    run_dir: PathText | None = setting(
        None,
        Path,
        help="Folder of journal, evidence and result.",
        meaning="Folder of the run's journal, evidence and result.",
        path=Written(),
        identity=Apart("it is where the run lies, not what it is"),
    )
    fresh: bool = setting(
        False,
        bool,
        help="Discard what the run directory holds.",
        alone=ONE_CALL,
        identity=Apart("it is about what an earlier call left"),
    )
    dry_run: bool = setting(
        False,
        bool,
        help="Say what would be done, and stop.",
        alone=ONE_CALL,
        identity=Apart("nothing runs"),
    )
    trust_model: bool = setting(
        False,
        bool,
        help="Load a TorchScript archive whose code is not known to be harmless, or a torch.export archive (.pt2).",
        also=LOADING,
        alone=LIMIT,
        identity=Apart("it decides whether the model is loaded, not what it answers"),
    )
    fresh_state: bool = setting(
        False,
        bool,
        help="Undo before each call what earlier calls have left behind in the model, so that every answer is the "
        "first after loading (TorchScript, torch.export).",
        meaning="Undo before each call what earlier calls have left behind in the model (TorchScript, torch.export).",
        also=BOTH,
        identity=Part("reading", lambda asked: asked.interface.fresh_state, within=1),
    )
    sandbox: bool | None = setting(
        None,
        bool,
        flags=("--sandbox/--no-sandbox",),
        help="Run the model without network and without write access outside of the run directory (Linux). Default: "
        "where the system can do it, unless --trust-model; --sandbox: refuse where it cannot.",
        also={"inspect": CONFINED, "replay": CONFINED},
        alone=LIMIT,
        identity=Apart("it decides what the model may do, not what it answers"),
    )
    load_timeout: Seconds = setting(
        300.0,
        float,
        help="Seconds for loading the file and its first run; 0: no limit.",
        least=0,
        also=BOTH,
        alone=LIMIT,
        identity=Apart("a model that is not loaded in time is refused"),
    )
    call_timeout: Seconds = setting(
        60.0,
        float,
        help="Seconds for one call of the model, more where it is known to be slow: an input that takes longer is "
        "not asked again, and told. 0: no limit.",
        least=0,
        also=LOADING,
        alone=LIMIT,
        identity=Apart("what took too long stands in the journal, and the rest is the same"),
    )
    memory_limit: Gigabytes | None = setting(
        None,
        float,
        help="GB of memory that the audit may take. Default: what is free.",
        least=0.1,
        also={"inspect": AS_IN_SCAN, "replay": AS_IN_SCAN},
        alone=LIMIT,
        identity=Apart("an audit without memory fails, and goes on with more"),
    )
    max_queries: Positive | None = setting(
        None,
        int,
        help="Most inputs that an endpoint may be sent, over all sessions of the audit; what is finished is kept.",
        least=1,
        also=BOTH,
        alone=SPENDS,
        identity=Apart("an audit that it ended goes on with a higher limit"),
    )
    max_cost: Money | None = setting(
        None,
        float,
        help="Most that an endpoint may bill, such as 5.00, by the price in its file; asked for where it has one.",
        least=0,
        also=BOTH,
        alone=SPENDS,
        identity=Apart("an audit that it ended goes on with a higher limit"),
    )
    custom_ops: Paths = setting(
        (),
        list[Path],
        help="Library of custom operators for ONNX Runtime, whose code is run; repeatable.",
        also=LOADING,
        alone=LIMIT,
        path=Read("a file that the audit loads"),
        identity=Part("custom operators", lambda asked: asked.custom_ops, read="file"),
    )

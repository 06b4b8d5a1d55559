"""An ONNX file: the ONNX Runtime session that judges, and the torch twin that is differentiated."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.errors import ChangedFileError, UnsupportedOperatorError, UsageError, reason
from robaudit.target.files.onnx.attacked import attacked_input
from robaudit.target.files.onnx.bound import ask_bound, binds, each_alone
from robaudit.target.files.onnx.declared import declared_input, dtype_of, shape_of
from robaudit.target.files.onnx.editing import joined, raw_scores
from robaudit.target.files.onnx.learner import onnx_learner
from robaudit.target.files.onnx.operators import drawing_operators
from robaudit.target.files.onnx.runtime import RuntimeMemoryError, Session, ask, file_values
from robaudit.target.files.onnx.sessions import start_on
from robaudit.target.files.onnx.source import OnnxSource, read_onnx
from robaudit.target.inputs.discover import FileInput
from robaudit.target.inputs.several import FixedInput, choose_input
from robaudit.target.onnx import OnnxModule, import_onnx
from robaudit.target.outputs.bounds import Interval, bounds, onnx_steps
from robaudit.target.outputs.decisions import label_tail
from robaudit.target.outputs.declared import Choice, FileOutput
from robaudit.target.outputs.last_layer import features_before
from robaudit.target.outputs.peel import JOINED, Tail
from robaudit.target.outputs.rows import read_rows
from robaudit.target.outputs.tails import tail_of
from robaudit.target.outputs.training import onnx_training
from robaudit.target.outputs.wiring import Wiring, lookup_size
from robaudit.target.running.backward import watched
from robaudit.target.running.smooth import Smooth
from robaudit.target.running.trainable import Learner
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["OnnxFile"]


class OnnxFile:
    """Runs an ONNX file: ``choose_input``, ``choose_output`` and ``import_twin`` come before ``run``.

    Args:
        source: the file, read and checked.
        device: that attacks run on; the judge uses CUDA only if that is the device and the provider works.
        custom_ops: libraries of custom operators, which run in ONNX Runtime alone.
    """

    format = "onnx"
    watch: Watch = UNWATCHED

    def __init__(self, source: OnnxSource, device: torch.device, custom_ops: tuple[Path, ...] = ()) -> None:
        self.path = source.path
        self.sha256, self.size, self.external = source.sha256, source.size, source.external
        try:
            self.wiring = Wiring(source.model)
        except Exception as error:  # the library raises its own types
            raise UsageError(f"{self.path} has local functions that cannot be written out: {reason(error)}") from error
        self.model = self.wiring.model
        self.device = device
        self.session = start_on(source, device, custom_ops)
        self.binding = binds(self.session, device)
        self.inputs = [declared_input(i, self.model) for i in self.session.inputs]
        given = self.session.outputs
        self.outputs = [FileOutput(o.name, shape_of(o, self.model), dtype_of(o.type)) for o in given]
        self.metadata: dict[str, str] = {p.key: p.value for p in self.model.metadata_props}
        self.fixed: list[FixedInput] = []
        self.twin: OnnxModule | None = None
        self.cutting: tuple[str, ...] = ()
        self.drawing = drawing_operators(self.model)
        self.training = onnx_training(self.wiring)
        self.no_gradient: str | None = None
        self._tail: Tail | None = None
        self._choice: Choice | None = None
        self._values: tuple[Any, ...] | None = None
        self._custom_ops = custom_ops
        self._plain: Session | None = None
        self._smoothed: dict[Smooth, OnnxModule | None] = {}
        self._afresh = False

    def choose_input(self, fixed: Mapping[str, str], wanted: str | None, rank: int | None = None) -> FileInput:
        """Settle which input is attacked and what the others hold.

        Args:
            fixed: values of the others by name, as text.
            wanted: name of the attacked one, where the user gives it.
            rank: of a batch, for an input that does not declare its own.

        Raises:
            UsageError: others are without a value, or the attacked one holds no numbers that can be perturbed.
        """
        declared, self.fixed = choose_input(self.path, self.inputs, fixed, wanted)
        self.input = attacked_input(declared, self.model, rank, f"the input {declared.name!r} of {self.path}")
        self._dtype = np.dtype("float32" if declared.dtype == "bfloat16" else declared.dtype)
        return self.input

    @functools.cached_property
    def vocabulary(self) -> int | None:
        """How many tokens or bytes there are, where the attacked input holds such; None where it holds amounts."""
        return lookup_size(self.wiring, self.input.name) if self.input.dtype in ("int32", "int64") else None

    @property
    def takes_tokens_alone(self) -> bool:
        """Whether every input holds whole numbers, and one of them is looked up in a table."""
        if any(i.dtype not in ("int32", "int64") for i in self.inputs):
            return False
        return any(lookup_size(self.wiring, i.name) is not None for i in self.inputs)

    @property
    def takes_tokens(self) -> bool:
        """Whether the attacked input holds whole numbers that are looked up in a table: tokens or bytes."""
        return self.vocabulary is not None

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        operators = Counter(node.op_type for node in self.model.graph.node)
        return {
            "opset": ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in self.model.opset_import),
            "producer": f"{self.model.producer_name} {self.model.producer_version}".strip(),
            "operators": dict(operators.most_common()),
            "judge": f"ONNX Runtime {onnxruntime.__version__}, {self.session.provider}",
            "outputs": [f"{o.name} {o.size}" for o in self.outputs],
        }

    @property
    def bounds(self) -> Interval | None:
        """Lowest and highest number that the chosen output can hold, by the operators at its end."""
        return None if self._choice is None else bounds(onnx_steps(self.wiring, self._choice.output.name))

    def answers(self, x: Tensor, width: int) -> list[dict[str, Any]]:
        """Every output to each of the inputs [N, *file_shape], asked alone (``width`` times, in files of that batch).

        Raises:
            RobauditError: the runtime refuses one.
        """
        found = []
        for row in self._as_file(x):
            results = self._session_run(None, np.repeat(row[None], width, axis=0))
            found.append({o.name: result for o, result in zip(self.outputs, results, strict=True)})
        return found

    def choose_output(self, choice: Choice, values: tuple[Any, ...] | None) -> None:
        """Settle what ``run`` reads; ``values``: what the file calls its classes, in the order of the scores."""
        self._choice, self._values = choice, values

    def find_tail(self, choice: Choice) -> tuple[Tail | None, tuple[Any, ...] | None]:
        """(where the twin ends, what the file calls its classes); None for a label whose decision is not found."""
        return tail_of(self.wiring, choice)

    def decides(self, name: str) -> bool:
        """Whether an output is the place of the largest of some numbers, or another decision."""
        return label_tail(self.wiring, name) is not None

    def import_twin(self, tail: Tail) -> None:
        """Build the twin; a graph that cannot be translated leaves black box alone."""
        self.twin, earlier = None, self.no_gradient
        self.no_gradient = None
        self._tail = tail
        try:
            self.twin = self._readied(self._imported(tail))
        except UnsupportedOperatorError as error:
            self.no_gradient = error.operator
        except Exception as error:  # an odd graph may break the importer anywhere; the file still answers
            self.no_gradient = reason(error)
        self.no_gradient = earlier or self.no_gradient

    def _readied(self, twin: OnnxModule) -> OnnxModule:
        """A translated graph on the device, with numbers wide enough for gradients."""
        if any(b.dtype in (torch.float16, torch.bfloat16) for b in twin.buffers()):
            twin = twin.float_twin()
        twin = twin.to(self.device)
        if self.fixed and (self.input.shape[0] or 1) > 1:
            twin.batching = "loop"  # the other inputs hold values for exactly the file's batch
        return twin

    def features(self, *, smooth: bool = False) -> Callable[[Tensor], Tensor] | None:
        """See :class:`ModelFile`."""
        name = None if self._tail is None or self._tail.raw else features_before(self.wiring, self._tail.tensor)
        if name is None:
            return None
        if name == self.input.name:
            return lambda x: x
        twin = self._readied(import_onnx(self.model, name))
        twin = (twin.smoothed() or twin) if smooth else twin
        return lambda x: self._answered_by(twin, x)

    def _imported(self, tail: Tail, *, rewritten: bool = True) -> OnnxModule:
        columns = self._choice.columns if self._choice is not None and tail.tensor == JOINED else ()
        with raw_scores(self.wiring, tail), joined(self.model, columns):
            return import_onnx(self.model, tail.tensor, rewritten=rewritten)

    def as_written(self) -> OnnxModule | None:
        """The graph in float64, operator by operator as the file has it, up to where the twin ends.

        Raises:
            UnsupportedOperatorError: an operator has no translation.
        """
        return None if self._tail is None else self._imported(self._tail, rewritten=False).double()

    def learner(self, sample: Tensor) -> Learner:
        """The graph as a function of its weights, up to where the twin ends; see :func:`onnx_learner`."""
        columns = self._choice.columns if self._choice is not None else ()
        tail = None if self.takes_tokens else self._tail
        return onnx_learner(self.wiring, tail, columns, sample, self.other_inputs())

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """The chosen output at file precision, without gradient.

        Args:
            x: [N, *file_shape] in the file's units.
            width: rows of one call, each of which holds one input repeated; None: all inputs in one call.

        Returns:
            [N, K] scores, half precision widened to float32, with the class that a label output beside them says as
            one more column; [N, 1] int64 class indices where the file returns labels; -1 is no known class.

        Raises:
            RobauditError: the runtime refuses the input, or does not return one row an input.
            OutOfMemoryError: the runtime says that its memory ran out.
        """
        bound = self.binding and self._dtype.kind == "f"
        values = x.detach().to(getattr(torch, self._dtype.name)) if bound else self._as_file(x)
        result = self._call(values, len(values)) if width is None else each_alone(self._call, values, width)
        if result.dtype == np.float16:
            result = result.astype(np.float32)
        return torch.from_numpy(result).to(self.device)

    def _as_file(self, x: Tensor) -> NDArray[Any]:
        """As the file's type; whole numbers are rounded and kept in their type's range."""
        return file_values(x.detach().cpu().numpy(), self._dtype)

    def fresh(self) -> OnnxFile:
        """The same file, loaded into a session of its own."""
        other = copy.copy(self)
        other.session = start_on(self._again(), self.device, self._custom_ops)
        return other

    def _again(self) -> OnnxSource:
        """The file read again: its bytes are not kept, for they would take its weights' memory once more."""
        source = read_onnx(self.path)
        if (source.sha256, source.external) != (self.sha256, self.external):
            raise ChangedFileError(
                f"{self.path}, or a file that it keeps weights in, was changed since it was loaded; run the command "
                "again"
            )
        return source

    def start_afresh(self) -> None:
        """Answer every call with a session of its own, in which the generators of random operators begin again."""
        self._afresh = True

    def plain(self, x: Tensor, *, width: int | None = None) -> Tensor | None:
        """As ``run``, by a second session without any optimisation; None where there can be none.

        The difference is the noise of the runtime itself.
        """
        if self._afresh:
            return None
        judge, binding = self.session, self.binding
        try:
            if self._plain is None:
                self._plain = start_on(self._again(), torch.device("cpu"), self._custom_ops, optimised=False)
            self.session, self.binding = self._plain, False
            return self.run(x, width=width)
        except ChangedFileError:
            raise
        except Exception:  # it only measures; whatever ails it, the judge is another session
            return None
        finally:
            self.session, self.binding = judge, binding

    def _session_run(self, outputs: list[str] | None, values: NDArray[Any] | Tensor) -> list[Any]:
        try:
            session = self.fresh().session if self._afresh else self.session
            with self.watch.call(len(values), (self.path, "file")):
                if isinstance(values, Tensor):
                    return ask_bound(
                        session, outputs or [o.name for o in self.outputs], self.input.name, values, self.fixed
                    )
                return ask(session, outputs, self.input.name, values, self.fixed)
        except RuntimeMemoryError as error:
            raise torch.OutOfMemoryError(str(error)) from error

    def _call(self, values: NDArray[Any] | Tensor, rows: int) -> NDArray[Any]:
        assert self._choice is not None
        choice, names = self._choice, self._choice.names
        results = dict(zip(names, self._session_run(names, values), strict=True))
        label = None if choice.label is None else choice.label.name
        return read_rows(results, choice.columns or names[:1], rows, choice.role, self._values, label)

    def differentiable(self, x: Tensor) -> Tensor:
        """The twin's tensor for a batch in the file's layout and units; where the file rounds, so does the twin.

        The gradient goes through the rounding as if it were not there.
        """
        assert self.twin is not None
        return self._answered_by(self.twin, x)

    def _smooth(self, smooth: Smooth) -> OnnxModule | None:
        if smooth not in self._smoothed:
            self._smoothed[smooth] = None if self.twin is None else self.twin.smoothed(smooth)
        return self._smoothed[smooth]

    @property
    def unsmooth(self) -> str | None:
        """Why there is no twin with a smooth backward, as a clause; None: there is one."""
        if self.twin is None:
            return self.no_gradient or "there is no twin"
        return "no operator of the graph has a smooth backward" if self._smooth(Smooth()) is None else None

    def smoothly(self, x: Tensor, smooth: Smooth) -> Tensor:
        """As :meth:`differentiable`, with a smooth backward."""
        twin = self._smooth(smooth)
        assert twin is not None
        return self._answered_by(twin, x)

    def _answered_by(self, twin: OnnxModule, x: Tensor) -> Tensor:
        if self.takes_tokens:
            x = x.detach().round().to(torch.int32 if self._dtype == np.int32 else torch.int64)
        elif self._dtype.kind in "iu":
            x = x + (x.round() - x).detach()
        return watched(self.watch, (self.path, "twin"), x, functools.partial(self._twin_answer, twin))

    def _twin_answer(self, twin: OnnxModule, x: Tensor) -> Tensor:
        with self.watch.call(len(x), (self.path, "twin")):
            result = twin(x, **self.other_inputs())
        assert isinstance(result, Tensor)
        return result[:, None] if result.dim() == 1 else result

    def other_inputs(self) -> dict[str, Tensor]:
        """The inputs that keep their values, as the twin takes them, by name."""
        found = {}
        for fixed in self.fixed:
            value = torch.from_numpy(np.array(fixed.value))
            found[fixed.declared.name] = (value.float() if value.dtype == torch.float16 else value).to(self.device)
        return found

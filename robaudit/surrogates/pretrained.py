"""A model of the library timm, by name, with weights that are on this machine."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.attacks.parameters import attack_parameters
from robaudit.errors import AuditError, UsageError, on_one_line
from robaudit.surrogates.base import Surrogate, SurrogateRecipe
from robaudit.surrogates.growing import asked
from robaudit.surrogates.training import agreement
from robaudit.target.running.resized import resized
from robaudit.threat.model import Access

__all__ = ["Timm"]

FILES = ("model.safetensors", "pytorch_model.bin")
DIGEST = "digest"
AT_ONCE = 32
"""Held-out samples compared together."""


@attack_parameters
class Timm(SurrogateRecipe):
    """A model of the library timm, such as ``resnet18.a1_in1k``, for images, with the weights that timm keeps for it.

    Nothing is downloaded: the weights are those in timm's cache, or a file of yours. Images are scaled to the size that
    the model takes, grey ones are shown as colour, and mean and standard deviation are the model's own. Source:
    Wightman 2019, "PyTorch Image Models" (the library). Cost: one query of a label for each held-out sample, on which
    it is compared with the target.

    Args:
        name: of the model, as timm lists it, with its tag.
        weights: file with weights for it, such as your own after fine-tuning; null: those in timm's cache.
        size: side in pixels that images are scaled to; null: the model's own.
        held: most samples apart from the audited ones on which it is compared with the target.
    """

    id = "timm"
    access = Access.LABELS

    name: Annotated[str, Field(min_length=1)]
    weights: str | None = None
    size: Annotated[int, Field(ge=1)] | None = None
    held: Annotated[int, Field(ge=0, le=10_000)] = 60

    @property
    def fit_samples(self) -> int:
        return self.held

    @property
    def fit_needs(self) -> int:
        return 0

    @property
    def fit_rounds(self) -> int:
        return 1

    def most(self, samples: int) -> Cost:
        """A query for each held-out sample."""
        return Cost(queries=min(samples, self.held))

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        if len(shape) != 3 or shape[0] not in (1, 3):
            return f"models of timm take images of 1 or 3 channels, and a sample is {'x'.join(map(str, shape))}"
        try:
            config = self._config()
            self._file()
        except UsageError as error:
            return str(error)
        if self.weights is None and config.num_classes != classes:
            return (
                f"timm's {self.name} has {config.num_classes:,} classes and the model {classes:,}; they must be equal"
            )
        return None

    def fit_start(self, fit: FitSet) -> Artefact:
        return {}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """Ask for the target's labels of the held-out samples, and compare."""
        network = self._network(fit.classes).to(fit.zeros().device)
        agreed = known = 0
        for start in range(0, len(fit), AT_ONCE):
            fit.go_on()
            problem = fit.problem(range(start, min(start + AT_ONCE, len(fit))))
            labels = asked(fit, problem, problem.x, self.access)
            found = labels >= 0
            agreed += agreement(network, problem.x.float()[found], labels[found])
            known += int(found.sum())
        counts = {"agreed": agreed, "held_out": known, "trained_on": 0}
        told = {name: torch.tensor(count) for name, count in counts.items()}
        return told | {DIGEST: torch.frombuffer(bytearray(self._digest()), dtype=torch.uint8)}

    def model(self, artefact: Artefact, classes: int, shape: tuple[int, ...]) -> Surrogate:
        """The model, as it was when it was compared.

        Raises:
            AuditError: its weights have changed since.
        """
        if self._digest() != artefact[DIGEST].cpu().numpy().tobytes():
            raise AuditError(f"the weights of timm's {self.name} have changed since; start anew with --fresh")
        return _Shown(self._network(classes).to(artefact[DIGEST].device))

    def digest(self, artefact: Artefact) -> str:
        """SHA-256 of the file of its weights."""
        return artefact[DIGEST].cpu().numpy().tobytes().hex()

    def _config(self) -> Any:
        """What timm knows of the model.

        Raises:
            UsageError: timm is not there, or knows no such model.
        """
        timm = _timm()
        name = self.name.partition(".")[0]
        if not timm.is_model(name):
            raise UsageError(
                f"timm has no model {name!r}; `python -c 'import timm; print(timm.list_models())'` lists all"
            )
        config = timm.get_pretrained_cfg(self.name, allow_unregistered=False)
        if config is None:
            raise UsageError(
                f"timm has no weights {self.name!r}; timm.list_pretrained('{name}*') names those that it has"
            )
        return config

    def _file(self) -> Path:
        """The file of the weights.

        Raises:
            UsageError: there is none.
        """
        if self.weights is not None:
            if not Path(self.weights).is_file():
                raise UsageError(f"there is no file of weights {self.weights}")
            return Path(self.weights)
        config = self._config()
        found = _cached(config)
        if found is None:
            raise UsageError(
                f"the weights of timm's {self.name} are not on this machine, and robaudit downloads nothing; once "
                f"`python -c \"import timm; timm.create_model('{self.name}', pretrained=True)\"` has, they are"
            )
        return found

    def _digest(self) -> bytes:
        with self._file().open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    def _network(self, classes: int) -> nn.Module:
        """The model with its weights, which takes [N, C, H, W] in [0, 1], float32, to [N, K] logits.

        Raises:
            UsageError: the weights are not for it.
        """
        config = self._config()
        try:
            network = _timm().create_model(self.name, num_classes=classes, checkpoint_path=str(self._file()))
        except (RuntimeError, KeyError, ValueError, OSError) as error:
            if "size mismatch" in str(error):
                raise UsageError(
                    f"the weights {self._file()} are not those of {self.name} with {classes} classes"
                ) from error
            raise UsageError(f"the weights of timm's {self.name} cannot be read: {on_one_line(str(error))}") from error
        size = tuple(config.input_size[1:]) if self.size is None else (self.size, self.size)
        return _Prepared(network, size, config.mean, config.std).eval().requires_grad_(False)


class _Prepared(nn.Module):
    """A model behind what timm does to its images."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, inner: nn.Module, size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.inner, self.size = inner, size
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, u: Tensor) -> Tensor:
        image = resized(u, self.size).expand(-1, 3, -1, -1)
        logits: Tensor = self.inner((image - self.mean) / self.std)
        return logits


class _Shown:
    """A model as attacks ask it."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable, in the type of ``u``."""
        logits: Tensor = self._network(u.float())
        return logits.to(u.dtype)


def _timm() -> Any:
    """The library.

    Raises:
        UsageError: it is not there, or cannot be imported.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise UsageError(f"timm cannot be imported ({on_one_line(str(error))}); `pip install timm`") from error


def _cached(config: Any) -> Path | None:
    """Where timm keeps the weights that it once downloaded, from its hub or from an address."""
    if config.hf_hub_id:
        hub = importlib.import_module("huggingface_hub")
        names = (config.hf_hub_filename,) if config.hf_hub_filename else FILES
        for name in names:
            found = hub.try_to_load_from_cache(config.hf_hub_id, name)
            if isinstance(found, str | os.PathLike):
                return Path(found)
    if config.url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / str(config.url).rpartition("/")[2]
        if path.is_file():
            return path
    return None

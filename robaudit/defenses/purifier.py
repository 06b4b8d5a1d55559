"""A purifier that is given as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.base import Defense
from robaudit.defenses.suited import no_images
from robaudit.errors import UsageError
from robaudit.target.files.sniff import model_format
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:
    from torch import Tensor

    from robaudit.defenses.purifier_files import PurifierFile

__all__ = ["Purifier"]


@attack_parameters
class Purifier(Defense):
    """Shows the model what another network makes of the image: any ONNX or TorchScript file from images to images.

    Defense-GAN, APE-GAN, PixelDefend, MagNet's reformer and a high-level guided denoiser are such files. The file takes
    and gives [N, C, H, W] (or [N, H, W, C]) in [0, 1], in the order of red, green, blue, and must give the same each
    time. It is asked one image at a time, and what it gives is clipped to [0, 1]. The gradient goes through the file
    where it has one; where it has none, the identity stands for it on the way back. Sources: Meng, Chen 2017,
    "MagNet: a Two-Pronged Defense against Adversarial Examples"; Shen, Jin, Gao, Zhang 2017, "APE-GAN: Adversarial
    Perturbation Elimination with GAN"; Liao, Liang, Dong, Pang, Hu, Zhu 2018, "Defense against Adversarial Attacks
    Using High-Level Representation Guided Denoiser".

    Args:
        file: the purifier, with all its weights in it.
    """

    id = "purifier"
    files = ("file",)

    file: str

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images; whether of this size, its file tells."""
        return no_images(meaning)

    def ready(self, meaning: InputMeaning, *, trust: bool = False) -> Defense:
        """The same with its file loaded and tried."""
        path = Path(self.file)
        kind = model_format(path)
        if kind == "onnx":
            from robaudit.defenses.purifier_files import OnnxPurifier

            return Loaded(OnnxPurifier(path, meaning.shape))
        if kind == "torchscript":
            from robaudit.defenses._purifier_scripts import ScriptPurifier  # torch is what runs such a file

            return Loaded(ScriptPurifier(path, meaning.shape, trust=trust))
        raise UsageError(f"the purifier {path} is neither an ONNX nor a TorchScript file")

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """Nothing before :meth:`ready`."""
        raise UsageError(f"the purifier {self.file} was not loaded")


class Loaded(Defense):
    """A purifier whose file is loaded."""

    def __init__(self, file: PurifierFile) -> None:
        self._file = file

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """What the file makes of each image."""
        return self._file.purified(u)

    def backward_path(self, u: Tensor) -> Tensor:
        """The file's own function where it has a gradient, else the identity."""
        found = self._file.differentiable(u)
        return u if found is None else found

"""The timm architectures of the corpus, with random weights that make their answers depend on the input."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import torch
from torch import nn

NAMES = [
    "resnet18",
    "resnet26t",
    "resnetv2_50",
    "resnest14d",
    "res2net50_14w_8s",
    "seresnet18",
    "densenet121",
    "inception_v3",
    "dla34",
    "hrnet_w18_small",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "tf_efficientnetv2_b0",
    "ghostnetv2_100",
    "regnety_004",
    "mobileone_s0",
    "repvit_m0_9",
    "fastvit_t8",
    "convnext_atto",
    "convnextv2_atto",
    "convmixer_768_32",
    "nf_regnet_b1",
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "vit_relpos_small_patch16_224",
    "eva02_tiny_patch14_224",
    "swin_tiny_patch4_window7_224",
    "pvt_v2_b0",
    "xcit_nano_12_p16_224",
    "cait_xxs24_224",
    "levit_128s",
    "mixer_s32_224",
    "resmlp_12_224",
    "gmlp_s16_224",
    "sequencer2d_s",
    "poolformer_s12",
    "mambaout_femto",
    "coatnet_nano_rw_224",
    "maxvit_nano_rw_256",
    "mobilevit_xxs",
    "edgenext_xx_small",
    "efficientformer_l1",
    "tiny_vit_5m_224",
    "crossvit_tiny_240",
    "visformer_tiny",
    "botnet26t_256",
    "halonet26t",
]


def build(name: str) -> tuple[nn.Module, int]:
    """A frozen module in evaluation mode, the same every time, and the size of its images."""
    timm = _timm()
    torch.manual_seed(0)
    module: nn.Module = timm.create_model(name, pretrained=False)
    for key, parameter in module.named_parameters():
        # Zero initialisation and tiny layer scales would hide whole blocks from the test.
        scale = any(part in ("ls", "gamma") for part in key.split(".")[-2:])
        largest = float(parameter.detach().abs().max())
        if largest < 1e-4 or (scale and largest < 1e-2):
            parameter.data.normal_(0, 0.3 if scale else 0.1)
    size = int(module.default_cfg["input_size"][-1])
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    if norms:
        module.train()
        with torch.no_grad():
            module(torch.randn(8, 3, size, size))
    module.eval().requires_grad_(False)
    return module, size


def _timm() -> ModuleType:
    """timm, also beside a CPU build of torch: torchvision made for CUDA then lacks its own operators."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for _ in range(20):
        try:
            import timm

            return timm
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            library.define(f"{missing[1]}(Tensor x) -> Tensor")  # never called
            for name in [n for n in sys.modules if n.split(".")[0] in ("timm", "torchvision")]:
                del sys.modules[name]
    raise SystemExit("timm cannot be imported; see benchmarks/corpus/README.md")

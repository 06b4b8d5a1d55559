"""Which slashes in a text lead to a folder, and which are the name of a node."""

from __future__ import annotations

import pytest

from robaudit.report.paths import without_folders


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("of /home/me/nets/m.onnx", "of m.onnx"),
        ("Relu (/1/Relu, /Relu_2, /a/b/Relu_41) smooth", None),
        ("14 x Relu (/1/Relu … /block/Relu_13)", None),
        ("Clip (/cap/Clip), straight-through", None),
        ("Relu (/home/me/m.onnx)", "Relu (m.onnx)"),
        ("Relu (/1/Relu, /home/me/m.onnx)", "Relu (Relu, m.onnx)"),
        ("model (/home/model)", "model (model)"),
    ],
)
def test_nodes_keep_their_names_and_paths_lose_their_folders(text: str, shown: str | None) -> None:
    assert without_folders(text) == (text if shown is None else shown)

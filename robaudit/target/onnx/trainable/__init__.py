"""A graph made anew: its operators, with weights that training sets in place of those that the file holds."""

from __future__ import annotations

from robaudit.target.onnx.trainable.network import Network
from robaudit.target.onnx.trainable.preparing import untrained

__all__ = ["Network", "untrained"]

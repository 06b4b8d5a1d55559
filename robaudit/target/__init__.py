"""The file under audit: loading, what its inputs and outputs mean, running it, differentiating it."""

import os

# ONNX Runtime 1.31 reports its use to its maker, and keeps an identifier in the user's cache for that; read at import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

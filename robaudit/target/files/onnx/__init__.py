"""ONNX files: read once, checked, and run by ONNX Runtime."""

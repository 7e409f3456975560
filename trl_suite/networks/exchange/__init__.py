"""Policies as ONNX graphs, and back; no graph is ever executed here."""

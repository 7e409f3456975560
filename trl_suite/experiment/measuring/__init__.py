"""Measurements beside the training: probes of a source on its targets, and its retention at home."""

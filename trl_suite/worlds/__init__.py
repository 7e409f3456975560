"""Robots and tasks, their variants, and the proof that a variant is real; knows nothing of networks."""

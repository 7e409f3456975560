"""Policies that act in envs and learn nothing: evaluations, recordings, films."""

"""Runs and policies that exist: taken instead of trained, or made again and compared."""

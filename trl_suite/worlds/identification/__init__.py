"""Measured variants: parameters of a robot that are fitted to a log of its states and controls."""

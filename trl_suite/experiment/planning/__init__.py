"""The grid of runs that an experiment asks for, and which of them train together."""

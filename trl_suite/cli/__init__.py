"""The command line: `trl-suite VERB ...`, the same names as the Python calls."""

from trl_suite.cli.main import main

__all__ = ["main"]

"""Transfer reinforcement learning on robots: proved shifts, proved freezing, and a measured acceleration.

Importing registers the envs with Gymnasium (`gym.make("trl_suite/HalfCheetah-v0", variant="gravity-1.5")`) and does
nothing else; the calls below are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from trl_suite.worlds.registration import register

if TYPE_CHECKING:
    from trl_suite.evidence.results.experiment_results import load
    from trl_suite.evidence.statistics import estimates as statistics
    from trl_suite.evidence.statistics import measures
    from trl_suite.experiment.run_experiment import run
    from trl_suite.experiment.specification.experiment_keys import Experiment
    from trl_suite.mechanisms.methods import Method
    from trl_suite.networks.policy import Policy
    from trl_suite.training.from_scratch import train
    from trl_suite.training.policy_import import load_policy
    from trl_suite.training.sb3.methods.transplant import hold_frozen as hold
    from trl_suite.training.sb3.methods.transplant import transplant
    from trl_suite.worlds.deployment import deployment_of

_HOMES = {
    "Experiment": ("trl_suite.experiment.specification.experiment_keys", "Experiment"),
    "Policy": ("trl_suite.networks.policy", "Policy"),
    "Method": ("trl_suite.mechanisms.methods", "Method"),
    "deployment_of": ("trl_suite.worlds.deployment", "deployment_of"),
    "hold": ("trl_suite.training.sb3.methods.transplant", "hold_frozen"),
    "load": ("trl_suite.evidence.results.experiment_results", "load"),
    "load_policy": ("trl_suite.training.policy_import", "load_policy"),
    "measures": ("trl_suite.evidence.statistics.measures", None),
    "run": ("trl_suite.experiment.run_experiment", "run"),
    "statistics": ("trl_suite.evidence.statistics.estimates", None),
    "train": ("trl_suite.training.from_scratch", "train"),
    "transplant": ("trl_suite.training.sb3.methods.transplant", "transplant"),
}
__all__ = [
    "Experiment", "Method", "Policy", "deployment_of", "hold", "load", "load_policy", "measures", "register", "run",
    "statistics", "train", "transplant",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Return a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trl_suite' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    home = importlib.import_module(module)
    return getattr(home, attribute) if attribute else home


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)


register()

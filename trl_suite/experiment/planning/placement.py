"""Where cohorts are made, and how many at a time: on the cores, and one on each GPU."""

from dataclasses import dataclass
from typing import Literal

import torch

from trl_suite.errors import InputError
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.training import engines
from trl_suite.training.engines import Device

Where = Literal["here", "local", "ray", "slurm"]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Slots of the place where cohorts are made."""

    device: Device  # where cohorts learn; runs on Stable-Baselines3 are on the CPU anywhere
    workers: int  # on the cores
    gpus: int = 0  # one cohort on each
    local: bool = True  # whether that is this machine, whose devices can be looked at

    def slots(self, device: Device) -> int:
        """Return how many cohorts a device of this kind takes at a time."""
        return self.gpus if device == "cuda" else self.workers


def placement(on: Where, experiment: Experiment, workers: int) -> Placement:
    """Return the slots for an experiment, and where its cohorts learn.

    A cluster's machines are not this one: there the device follows from the GPUs that are asked for, and the worker
    looks at it.

    Raises:
        InputError: CUDA is wanted, and there is none here, or none is asked of the cluster.
    """
    if on in ("ray", "slurm"):
        gpus = experiment.execution.gpus
        if experiment.device == "cuda" and not gpus:
            raise InputError(
                f"device = 'cuda' with --on {on}: execution.gpus = 0 asks the cluster for none; set execution.gpus = 1"
            )
        device: Device = "cuda" if gpus and experiment.device != "cpu" else "cpu"
        return Placement(device=device, workers=workers, gpus=workers, local=False)
    device = engines.device(experiment.device) if experiment.engine != "sb3" else "cpu"
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    return Placement(device=device, workers=workers, gpus=min(gpus, 1) if on == "here" else gpus)

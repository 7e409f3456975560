"""Which engine makes a training, where, and one way to call either."""

import functools
import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import torch

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.training.cohort import cohort_training as cohort
from trl_suite.training.cohort.cohort_key import obstacle
from trl_suite.training.cohort.collecting.cohort_envs import Physics
from trl_suite.training.sb3 import loop as sb3
from trl_suite.training.training_run import Result, TrainingRun, Watcher
from trl_suite.worlds.address import Address
from trl_suite.worlds.warp import warp_library

Engine = Literal["sb3", "cohort"]
Device = Literal["cpu", "cuda"]
PHYSICS_CROSSOVER = Path(__file__).parent / "physics_crossover.toml"


def device(requested: Literal["auto"] | Device) -> Device:
    """Return where the cohort engine learns: on a CUDA device where there is one, unless the CPU is wanted.

    Raises:
        InputError: CUDA is wanted and there is none.
    """
    if requested == "cuda" and not torch.cuda.is_available():
        raise InputError("device = 'cuda': torch finds no CUDA device here; 'auto' takes the CPU where there is none")
    return "cuda" if requested != "cpu" and torch.cuda.is_available() else "cpu"


def physics(requested: Literal["auto"] | Physics, on: Device) -> Physics:
    """Return the physics that the envs of cohorts can have: Warp on a CUDA device where it can be used.

    Raises:
        InputError: Warp is wanted, and the device's driver is too old.
        NotInstalledError: Warp is wanted, and is not installed.
    """
    if requested == "mujoco" or (requested == "auto" and (on == "cpu" or warp_library.obstacle())):
        return "mujoco"
    try:
        warp_library.refuse_unless_usable(torch.device(on))
    except InputError:
        if requested == "warp":
            raise
        return "mujoco"
    return "warp"


class PhysicsCrossover(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of worlds from which Warp on a GPU outruns MuJoCo on the cores of a machine."""

    measured: bool
    cores: int
    worlds: dict[str, int]  # of each robot


@functools.cache
def physics_crossover() -> PhysicsCrossover:
    """Return the table that `physics = 'auto'` goes by."""
    return msgspec.convert(tomllib.loads(PHYSICS_CROSSOVER.read_text()), PhysicsCrossover)


def warp_is_faster(run: TrainingRun, runs: int) -> bool:
    """Return whether a cohort of so many runs like this is simulated faster by Warp on a GPU than on this machine.

    SAC and TD3 step few worlds and hand each step through the host: they have MuJoCo until measured otherwise, and so
    have robots that are not in the table.
    """
    table = physics_crossover()
    if not find(run.hyperparameters.algorithm).on_policy:
        return False
    least = table.worlds.get(Address.parse(run.env).env)
    return least is not None and runs * run.hyperparameters.n_envs >= least * (os.cpu_count() or 1) / table.cores


def alone(run: TrainingRun) -> Engine:
    """Return the engine for a single training: the cohort's where it can."""
    return "sb3" if obstacle(run) else "cohort"


def train(
    engine: Engine,
    runs: Sequence[TrainingRun],
    watchers: Sequence[Watcher],
    logs: Sequence[Path | None],
    on: Device = "cpu",
    physics: Physics = "mujoco",
    cores: int = 1,
) -> Iterator[tuple[int, Result]]:
    """Yield (which job, its outcome or why it failed), each as soon as it is known.

    Args:
        engine: which engine.
        runs: trainings; for the cohort engine all of one signature.
        watchers: one per job.
        logs: folder for each job's TensorBoard event files, or None.
        on: where the cohort engine learns.
        physics: what simulates the cohort engine's worlds.
        cores: that the cohort engine has to itself on the CPU.
    """
    if engine == "cohort":
        yield from cohort.train(runs, watchers, logs, torch.device(on), physics, cores)
        return
    for index, (run, watcher, folder) in enumerate(zip(runs, watchers, logs, strict=True)):
        try:
            yield index, sb3.train(run, watcher, folder)
        except Exception as error:
            yield index, error

"""Presets: tuned hyperparameters of a robot and an algorithm, from `envs/ROBOT/training.toml`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from trl_suite import content, tables
from trl_suite.algorithms.hyperparameters import Count, Hyperparameters
from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm, find
from trl_suite.training.overrides import OVERRIDES, merged, present
from trl_suite.worlds.address import FOREIGN
from trl_suite.worlds.identity import robot_of
from trl_suite.worlds.outside.outside_env import has_goals

PRESETS_FILE = "training.toml"
SB3 = "sb3"  # name of the defaults, which are Stable-Baselines3's
Preset = Literal["tuned", "sb3"]
HINDSIGHT_GOALS = 4  # for each goal that was meant, as SB3's and the paper's (Andrychowicz et al. 2017, section 4.5)


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Return of scratch runs with a preset on the robot's own env, at the end of their budget."""

    experiment: str  # whose archive holds the runs
    steps: Count  # env steps of each run
    seeds: Annotated[int, msgspec.Meta(ge=2)]  # none of those that the preset was tuned on
    mean: float
    interval: tuple[float, float]  # 95 % interval of the mean over seeds


class PresetTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of `training.toml` about one algorithm, besides its hyperparameters."""

    origin: str  # where the values come from: a tuning experiment, a publication
    measured: Measurement | None = None  # missing: nobody has measured what the preset reaches


_TABLES = {
    name: msgspec.defstruct(
        f"{overrides.__name__}Preset",
        [("hyperparameters", overrides)],
        bases=(PresetTable,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    for name, overrides in OVERRIDES.items()
}
_PresetsFile = msgspec.defstruct(
    "PresetsFile",
    [(name, _TABLES[name] | None, None) for name in DESCRIPTORS],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)


class Choice(NamedTuple):
    """Hyperparameters of a run, and where they come from."""

    hyperparameters: Hyperparameters
    preset: str  # `half-cheetah/ppo`, or `sb3` for Stable-Baselines3's defaults
    note: str  # one line for the reader

    def tuned(self, values: Mapping[str, Any]) -> "Choice":
        """The same with the hyperparameters that a search found."""
        hyperparameters = msgspec.convert(
            {**msgspec.structs.asdict(self.hyperparameters), **values}, type(self.hyperparameters)
        )
        return Choice(hyperparameters, f"{self.preset}, tuned", self.note)


def choose(
    env: str, algorithm: Algorithm, preset: Preset = "tuned", overrides: Mapping[str, Any] | None = None
) -> Choice:
    """Hyperparameters for an env: its robot's preset, else SB3's defaults, with single keys overridden.

    Args:
        env: address of the env; a variant has the preset of its robot.
        algorithm: name of the algorithm.
        preset: `sb3` for SB3's defaults also where the robot has a preset.
        overrides: hyperparameters that are asked for by name.

    Raises:
        InputError: the robot does not exist, or its `training.toml` is wrong.
    """
    asked, hindsight = dict(overrides or {}), ""
    if not find(algorithm).on_policy and has_goals(env):
        asked = {"n_sampled_goal": HINDSIGHT_GOALS, **asked}
        hindsight = f", with n_sampled_goal = {asked['n_sampled_goal']} (HER)"
    robot = robot_of(env)
    table = None if preset == SB3 else _table(robot, algorithm)
    if table is None:
        why = f"no preset for '{robot}' and {algorithm}: " if preset != SB3 else ""
        return Choice(merged(algorithm, asked), SB3, f"{why}hyperparameters are SB3's defaults{hindsight}")
    name = f"{robot}/{algorithm}"
    return Choice(merged(algorithm, present(table.hyperparameters), asked), name, f"preset {name}: {_said(table)}")


def measurement(robot: str, algorithm: Algorithm) -> Measurement | None:
    """Return that scratch runs with a robot's preset reached; None where there is no preset or nobody measured it."""
    table = _table(robot, algorithm)
    return None if table is None else table.measured


def _said(table: Any) -> str:
    measured: Measurement | None = table.measured
    if measured is None:
        return f"not measured; {table.origin}"
    digits = 0 if abs(measured.mean) >= 100 else 2  # Reacher's returns are single numbers
    mean, low, high = (f"{value:,.{digits}f}" for value in (measured.mean, *measured.interval))
    return f"{mean} [{low}, {high}] after {measured.steps:,} steps, {measured.seeds} seeds ({measured.experiment})"


def _table(robot: str, algorithm: Algorithm) -> Any:
    """Preset of a robot; None where there is none."""
    if robot.startswith(FOREIGN):
        return None
    path = content.find("envs", robot) / PRESETS_FILE
    return getattr(_read(path, path.stat().st_mtime_ns), algorithm) if path.is_file() else None


@cache
def _read(path: Path, _edition: int) -> Any:
    return tables.read(path, _PresetsFile)

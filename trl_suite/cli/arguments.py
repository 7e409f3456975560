"""What each verb takes. Nothing heavy is imported here, so that `--help` answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Positional = tyro.conf.Positional


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What all verbs take."""

    workspace: Path | None = None
    """Folder with envs/, policies/ and experiments/ of your own; the working directory where not given."""


@dataclass(frozen=True, kw_only=True)
class Envs(Verb):
    """List robots and their variants."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class Train(Verb):
    """Train a policy and store it as a folder."""

    env: Positional[str]
    """What to train on: half-cheetah, hopper.gravity-1.5, gymnasium:Ant-v5."""
    algorithm: Literal["ppo", "sac", "td3"] = "ppo"
    """The learning algorithm."""
    steps: int = 200_000
    """Budget in env steps."""
    seed: int = 0
    """Seed of the network, the worlds and the noise."""
    out: Path | None = None
    """Policy folder to make; policies/ENV-ALGORITHM-seed-SEED in the workspace where not given."""


@dataclass(frozen=True, kw_only=True)
class Run(Verb):
    """Make all runs of an experiment that are not done, then its report."""

    experiment: Positional[str]
    """Folder of experiment.toml, or the name of a shipped one."""
    runs: Path = Path("runs")
    """Where run folders are kept: RUNS/EXPERIMENT/..."""
    workers: int | None = None
    """Runs at a time; as many as there are cores where not given."""
    quiet: bool = False
    """Show nothing until the table at the end."""


@dataclass(frozen=True, kw_only=True)
class Report(Verb):
    """Make the report of an experiment again, complete or not."""

    runs: Positional[Path]
    """Folder of the experiment's runs: runs/quickstart."""
    keep: Path | None = None
    """Copy there what is worth committing: records, curves, report and pictures, without weights and events."""
    json: bool = False
    """Print the measures as JSON."""


@dataclass(frozen=True, kw_only=True)
class Doctor(Verb):
    """Say what is installed, what the machine has, and what would not work."""

    json: bool = False
    """Print JSON."""


Arguments = (
    Annotated[Envs, tyro.conf.subcommand("envs")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)

"""A tiny experiment: seconds, not minutes."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_keys import CohortPlanner
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.planning.placement import placement
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.running import run_folder
from trl_suite.experiment.running.scheduler import RunPlace, Scheduler, Tally
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.running.worker import News
from trl_suite.experiment.specification import experiment_file, experiment_keys

TINY = """
question = "Does a balanced pendulum stay balanced when it falls faster?"
methods  = ["scratch", "finetune", "random-frozen"]
seeds    = [0, 1]

[source]
env   = "inverted-pendulum"
steps = 512

[target]
envs  = ["inverted-pendulum.gravity-1.5"]
steps = 256

[evaluation]
every    = 128
episodes = 2

[ppo]
n_envs = 2
n_steps = 64
batch_size = 64
n_epochs = 2
hidden = [8, 8]
"""


OFF_POLICY = """
[sac]
hidden = [8, 8]
learning_starts = 64
batch_size = 32
buffer_size = 200
"""
ON_SAC = TINY.replace("[source]", 'algorithm = "sac"\n\n[source]') + OFF_POLICY
ON_SB3 = TINY.replace("[source]", 'engine = "sb3"\n\n[source]')


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments" / "tiny"
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text(TINY)
    return folder


def made_of(text: str, folder: Path) -> Path:
    """Make an experiment once; return its run folders."""
    from trl_suite.experiment.run_experiment import run

    (folder / "tiny").mkdir()
    (folder / "tiny" / "experiment.toml").write_text(text)
    return run(folder / "tiny", runs=folder / "runs", on="here").folder


@pytest.fixture(scope="session")
def finished_on_sb3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folders of the tiny experiment on Stable-Baselines3, made once."""
    return made_of(ON_SB3, tmp_path_factory.mktemp("sb3"))


@pytest.fixture(params=["cohort", "sb3"])
def either(request: pytest.FixtureRequest, tiny: Path) -> tuple[Path, Path]:
    """The tiny experiment and its finished runs, on either engine."""
    if request.param == "cohort":
        return tiny, request.getfixturevalue("finished")
    (tiny / "experiment.toml").write_text(ON_SB3)
    return tiny, request.getfixturevalue("finished_on_sb3")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folders of the tiny experiment, made once."""
    return made_of(TINY, tmp_path_factory.mktemp("study"))


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The run folders of the tiny experiment, to be written into."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "tiny"))


@dataclasses.dataclass
class Hearing:
    """Keeps what it is told, and passes it on."""

    tell: Callable[[RunSpec, News], None] = lambda step, news: None
    news: list[News] = dataclasses.field(default_factory=list)
    cohorts: list[PlannedCohort] = dataclasses.field(default_factory=list)

    def already(self, specs: list[RunSpec]) -> None:
        pass

    def began(self, cohort: PlannedCohort) -> None:
        self.cohorts.append(cohort)

    def heard(self, step: RunSpec, news: News) -> None:
        self.news.append(news)
        self.tell(step, news)


def make(
    folder: Path,
    root: Path,
    hearing: Hearing,
    place: RunPlace,
    only: slice = slice(None),
    mix_versions: bool = False,
    **execution,
) -> Tally:
    """Make an experiment's runs in `root`, with settings of how they are made."""
    specification = experiment_file.load(folder)
    run_folder.write_plan(root, grid.plan_record("tiny", specification, ""))
    how = experiment_keys.ExecutionOptions(**execution)
    with Stop() as stop:
        specs = grid.run_specs(specification)
        group = CohortPlanner(specification, placement("local", specification, 2), specs)
        scheduler = Scheduler(root, "tiny", place, hearing, execution=how, cohort_key=group, mix_versions=mix_versions)
        return scheduler.run(specs[only], stop)


def results(root: Path) -> dict[str, bytes]:
    """Return what an experiment has found: its evaluations and weights, which are to be the same whatever happens."""
    files = [*root.rglob("evaluations.csv"), *root.rglob("weights.safetensors")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def left_behind(root: Path) -> list[str]:
    """Return what should not be there once all is done."""
    wanted = ("*.tmp", "lease*", "checkpoint")
    return [str(path.relative_to(root)) for pattern in wanted for path in root.rglob(pattern)]


def wait_for_step(root: Path, pattern: str, step: int, seconds: float = 120.0) -> None:
    """Wait until a run's evaluations have come to a step: a log tells only of cohorts, now and then.

    Args:
        root: the experiment's run folders.
        pattern: of the run's folder below it.
        step: in env steps.
        seconds: after which the test fails.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in root.glob(f"{pattern}/evaluations.csv"):
            if any(line.startswith(f"{step},") for line in path.read_text().splitlines()):
                return
        time.sleep(0.02)
    raise AssertionError(f"{root}: no evaluation of {pattern} at step {step} within {seconds} s")

"""A tiny experiment: seconds, not minutes."""

import shutil
from pathlib import Path

import pytest

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


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments" / "tiny"
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text(TINY)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folders of the tiny experiment, made once."""
    from trl_suite.experiment.run import run

    folder = tmp_path_factory.mktemp("study") / "tiny"
    folder.mkdir()
    (folder / "experiment.toml").write_text(TINY)
    return run(folder, runs=folder.parent / "runs", workers=2).folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The run folders of the tiny experiment, to be written into."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "tiny"))

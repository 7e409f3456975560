"""What TensorBoard reads of a training, written by SB3's logger under SB3's names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from stable_baselines3.common.logger import Logger, configure

from trl_suite.training.evaluation import Episode


def logger(folder: Path | None) -> Logger:
    """Return a logger that writes event files into the folder, or nowhere."""
    return configure(str(folder), ["tensorboard"]) if folder else Logger(folder=None, output_formats=[])


def log_evaluation(to: Logger, step: int, episodes: Sequence[Episode]) -> None:
    """Write the mean return and length of an evaluation's deterministic episodes."""
    to.record("eval/mean_reward", float(np.mean([episode.value for episode in episodes])))
    to.record("eval/mean_ep_length", float(np.mean([episode.length for episode in episodes])))
    to.dump(step)

"""A whole SAC or TD3 training, physics, replay and normalisation included, is that of SB3."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.components import REPLAY
from trl_suite.training import settings
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked.noise import NoiseDraws, NoiseStream
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models import vec_env
from trl_suite.training.training_run import TrainingRun, Unwatched

# Few steps: of 160, one weight's first gradient was 3e-8, and Adam's root of the second moment 1e-9, below
# its epsilon. That step is one rounding divided by another, and went 1.5e-5 apart. In 120 none is.
STEPS, LIMIT = 120, 5
SHARED = {"batch_size": 32, "hidden": (24, 16), "learning_starts": 40, "buffer_size": 1_000}
HOWS = [
    SACHyperparameters(**SHARED),
    SACHyperparameters(
        **SHARED, n_envs=2, train_freq=2, gradient_steps=3, normalise_observation=True, normalise_reward=True
    ),
    TD3Hyperparameters(**SHARED),
    TD3Hyperparameters(**SHARED, n_envs=2, train_freq=1, gradient_steps=-1, normalise_observation=True),
]


class _Noise:
    """The numbers that a cohort of this one member draws, in the order in which SB3 asks for them."""

    def __init__(self, hyperparameters, seed: int, actions: int, low, high) -> None:
        drawn = {
            NoiseStream.ACTION: (hyperparameters.n_envs, actions),
            NoiseStream.UNIFORM: (hyperparameters.n_envs, actions),
            NoiseStream.REPLAY: (hyperparameters.batch_size, 2),
            NoiseStream.POLICY: (2 if hyperparameters.algorithm == "sac" else 1, hyperparameters.batch_size, actions),
        }
        uniform = (NoiseStream.UNIFORM, NoiseStream.REPLAY)
        self._draws = {stream: NoiseDraws([seed], stream, shape, stream in uniform) for stream, shape in drawn.items()}
        self._hyperparameters, self._low, self._high = hyperparameters, low, high
        self.turn, self.update, self._worlds, self._asked, self._jittered, self._rows = -1, -1, 0, 0, 0, None

    def uniform(self, *_):
        """An action of one world; SB3 asks for one after the other."""
        if self._worlds % self._hyperparameters.n_envs == 0:
            self.turn += 1
        drawn = self._draws[NoiseStream.UNIFORM].at(self.turn)[0, self._worlds % self._hyperparameters.n_envs]
        self._worlds += 1
        return (self._low + drawn * (self._high - self._low)).astype(np.float32)

    def action(self):
        return self._draws[NoiseStream.ACTION].at(self.turn)[0]

    def jitter(self, *_):
        """The noise on the action of one world; SB3 asks for one after the other."""
        world, self._jittered = self._jittered % self._hyperparameters.n_envs, self._jittered + 1
        return np.float32(self._hyperparameters.action_noise) * self.action()[world]

    def rsample(self, normal, shape=None):
        if len(normal.mean) == self._hyperparameters.n_envs:  # it acts
            self.turn += 1
            return normal.mean + normal.stddev * torch.as_tensor(self.action())
        drawn = self._draws[NoiseStream.POLICY].at(self.update)[0, self._asked % 2]
        self._asked += 1
        return normal.mean + normal.stddev * torch.as_tensor(drawn)

    def randint(self, low, high=None, size=None):
        """Which row, and then which world."""
        if self._rows is None:
            self.update += 1
            self._rows = self._draws[NoiseStream.REPLAY].at(self.update)[0]
            return (self._rows[:, 0] * high).astype(np.int64)
        worlds, self._rows = (self._rows[:, 1] * high).astype(np.int64), None
        return worlds

    def blur(self, tensor, mean, std):
        return tensor.copy_(torch.as_tensor(self._draws[NoiseStream.POLICY].at(self.update)[0, 0] * std))


def _sb3(job: TrainingRun, seed: int):
    model = sb3.build(job.env, job.hyperparameters, job.seed)
    implant(job.source, model, job.method, job.definition, job.alias, seed_for(job.seed, "method"))
    model.set_logger(Logger(folder=None, output_formats=[]))
    space = model.action_space
    noise = _Noise(job.hyperparameters, seed, space.shape[0], space.low, space.high)
    predict = model.predict

    def acting(*arguments, **keywords):
        if job.hyperparameters.algorithm == "td3":
            noise.turn += 1
        return predict(*arguments, **keywords)

    with ExitStack() as stack:
        stack.enter_context(patch("torch.distributions.Normal.rsample", lambda *given: noise.rsample(*given)))
        stack.enter_context(patch("torch.Tensor.normal_", lambda *given: noise.blur(*given)))
        stack.enter_context(patch("numpy.random.randint", noise.randint))
        stack.enter_context(patch.object(type(space), "sample", noise.uniform))
        stack.enter_context(patch.object(model, "predict", acting))
        if model.action_noise is not None:
            stack.enter_context(patch.object(type(model.action_noise), "__call__", noise.jitter))
        model.learn(STEPS)
    return model


EVERYTHING = Method(
    copy=("actor", "critic", "normaliser", "optimiser", REPLAY),
    freeze=(REPLAY,),
    keep={REPLAY: 0.3},
)


@pytest.mark.parametrize("hyperparameters", HOWS, ids=["sac", "sac normalised", "td3", "td3 normalised"])
@pytest.mark.parametrize("method", [Method(), EVERYTHING], ids=["scratch", "replay and moments"])
def test_a_training_is_sb3s(hyperparameters, method):
    # episodes are short: in longer ones contacts amplify the last bit of an action a thousandfold
    job = TrainingRun(
        env="half-cheetah",
        hyperparameters=hyperparameters,
        seed=3,
        steps=STEPS,
        evaluation=settings.Evaluation(episodes=1),
    )
    if method.copy:
        keeping = replace(job, seed=2, source_training=settings.SourceTraining(keep=(REPLAY, "optimiser")))
        job = replace(job, method="own", definition=method, source=train(keeping, Unwatched()).policy)
    cohort = Cohort([CohortMember(0, job, spaces_of("half-cheetah"), Unwatched(), None)], torch.device("cpu"))
    cohort.worlds.batch._limit = LIMIT
    cohort.algorithm.reset()
    with patch.object(vec_env, "RobotVectorEnv", partial(vec_env.RobotVectorEnv, max_episode_steps=LIMIT)):
        model = _sb3(job, cohort.members[0].seed)
    start = cohort.members[0].components()
    step = 0
    while step < STEPS:
        size = cohort.chunk(step, STEPS)
        cohort.iterate(step, size)
        step += size
    buffer, ring = model.replay_buffer, cohort.algorithm.replay
    rows = STEPS // hyperparameters.n_envs + cohort.algorithm._given[0]
    assert rows == buffer.pos == ring.drawable[0]
    stored = ring.rows[0, :rows].numpy()
    assert np.abs(stored[..., :17] - buffer.observations[:rows]).max() < 1e-4
    assert np.abs(stored[..., 17:23] - buffer.actions[:rows]).max() < 2e-5
    assert np.abs(stored[..., 23] - buffer.rewards[:rows]).max() < 2e-5
    ours, moved, away = cohort.components(0), 0.0, 0.0
    for name, tensors in sb3.components_of(model).items():
        for tensor, learned in tensors.items():
            value = learned.detach()
            moved = (
                moved
                if name.startswith("normaliser")
                else max(moved, float((value - start[name][tensor].detach()).abs().max()))
            )
            away = max(
                away, float((value - ours[name][tensor].detach()).abs().max()) / (1.0 + float(value.abs().max()))
            )
    assert moved > 0.01
    assert away < 1e-5
    assert int(cohort.algorithm.updates[0]) == model._n_updates

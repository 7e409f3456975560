"""A whole training, physics and normalisation included, is that of SB3's PPO through VecNormalize."""

from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.components import group
from trl_suite.training import settings
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.cohort.cohort_training import train
from trl_suite.training.cohort.collecting.rollout import advantages
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked import noise
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models import vec_env
from trl_suite.training.training_run import TrainingRun, Unwatched

ROLLOUTS = 4


class _Recorder(BaseCallback):
    """Keeps every rollout of an SB3 model before it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[dict[str, np.ndarray]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        names = ("observations", "actions", "rewards", "log_probs", "advantages", "returns")
        self.rollouts.append({name: RolloutBuffer.swap_and_flatten(getattr(buffer, name)) for name in names})


def _sb3(job: TrainingRun, seed: int):
    """SB3's model after some rollouts, with the noise and the orders that the cohort draws."""
    hyperparameters = job.hyperparameters
    model = sb3.build(job.env, hyperparameters, job.seed)
    implant(job.source, model, job.method, job.definition, job.alias, seed_for(job.seed, "method"))
    model.set_logger(Logger(folder=None, output_formats=[]))
    draws = [
        noise.normal(
            seed,
            noise.NoiseStream.ACTION,
            k,
            (hyperparameters.n_steps, hyperparameters.n_envs, model.action_space.shape[0]),
        )
        for k in range(ROLLOUTS)
    ]
    orders = [
        noise.permutation(seed, k, hyperparameters.n_epochs, hyperparameters.n_steps * hyperparameters.n_envs)
        for k in range(ROLLOUTS)
    ]
    steps, permutations = iter(np.concatenate(draws)), iter(np.concatenate(orders))

    def rsample(normal, shape=None):
        return normal.mean + normal.stddev * torch.as_tensor(next(steps))

    recorder = _Recorder()
    with (
        patch("torch.distributions.Normal.rsample", rsample),
        patch("numpy.random.permutation", lambda size: next(permutations)),
    ):
        model.learn(ROLLOUTS * hyperparameters.n_steps * hyperparameters.n_envs, callback=recorder)
    return model, recorder.rollouts


MOMENTS = Method(copy=("actor", "critic", "normaliser", "optimiser"), log_std="copied")


SCHEDULED = {"learning_rate_schedule": "linear", "clip_range_schedule": "linear", "ortho_init": False, "ent_coef": 0.01}


@pytest.mark.parametrize(
    ("env", "limit", "method", "options"),
    [
        ("hopper", 60, Method(), {}),
        ("half-cheetah", 5, Method(), {}),
        ("hopper", 60, MOMENTS, {}),
        ("hopper", 60, Method(), SCHEDULED),
    ],
)
def test_four_rollouts_are_sb3s(env, limit, method, options):
    # episodes are short: in longer ones contacts amplify the last bit of an action a thousandfold
    hyperparameters = PPOHyperparameters(n_envs=2, n_steps=96, batch_size=48, n_epochs=4, **options)
    budget = ROLLOUTS * 2 * 96  # as `_sb3` learns, by which schedules fall to 0
    job = TrainingRun(
        env=env, hyperparameters=hyperparameters, seed=3, steps=budget, evaluation=settings.Evaluation(episodes=1)
    )
    if method.copy:
        keeping = replace(job, seed=2, steps=384, source_training=settings.SourceTraining(keep=("optimiser",)))
        source = dict(train([keeping], [Unwatched()], [None], torch.device("cpu")))[0].policy
        assert source.memory["optimiser.actor"]["actor.head.weight.step"] == 2 * 4 * 4
        job = replace(job, method="own", definition=method, source=source)
    cohort = Cohort([CohortMember(0, job, spaces_of(env), Unwatched(), None)], torch.device("cpu"))
    cohort.worlds.batch._limit = limit  # it cuts episodes off, and their value goes on
    cohort.algorithm.collector.reset()
    with patch.object(vec_env, "RobotVectorEnv", partial(vec_env.RobotVectorEnv, max_episode_steps=limit)):
        model, theirs = _sb3(job, cohort.members[0].seed)
    ours = []
    collect = cohort.algorithm.collector.collect
    with patch.object(cohort.algorithm.collector, "collect", lambda k: ours.append(collect(k)) or ours[-1]):
        for iteration in range(ROLLOUTS):
            cohort.iterate(iteration * cohort.rollout, cohort.rollout)
    for mine, sb3s in zip(ours, theirs, strict=True):
        assert np.abs(mine.observation[0].numpy() - sb3s["observations"]).max() < 2e-5
        assert np.abs(mine.advantage[0].numpy() - sb3s["advantages"][:, 0]).max() < 2e-5
        assert np.abs(mine.log_prob[0].numpy() - sb3s["log_probs"][:, 0]).max() < 2e-5
    statistics = model.get_vec_normalize_env()
    assert np.allclose(cohort.normaliser.observation.mean[0], statistics.obs_rms.mean, atol=1e-6)
    assert np.allclose(cohort.normaliser.reward.var[0], statistics.ret_rms.var, rtol=1e-5)
    for name, tensors in group("ppo", model.policy.named_parameters()).items():
        for tensor, value in tensors.items():
            assert float((cohort.components(0)[name][tensor] - value.detach()).abs().max()) < 1e-5, name


def test_advantages_are_the_buffers():
    hyperparameters = PPOHyperparameters(gamma=0.97, gae_lambda=0.9)
    rng = np.random.default_rng(0)
    steps, worlds = 40, 3
    reward, value = (rng.standard_normal((steps, worlds)).astype(np.float32) for _ in range(2))
    starts = (rng.random((steps + 1, worlds)) < 0.1).astype(np.float32)
    bootstrap_value = rng.standard_normal(worlds).astype(np.float32)
    buffer = RolloutBuffer(
        steps,
        Box(-1, 1, (4,)),
        Box(-1, 1, (2,)),
        device="cpu",
        gamma=hyperparameters.gamma,
        gae_lambda=hyperparameters.gae_lambda,
        n_envs=worlds,
    )
    buffer.rewards[:], buffer.values[:], buffer.episode_starts[:] = reward, value, starts[:-1]
    buffer.compute_returns_and_advantage(torch.as_tensor(bootstrap_value), starts[-1])
    discounts = np.float32(hyperparameters.gamma), np.float32(hyperparameters.gamma * hyperparameters.gae_lambda)
    ours = advantages(reward[:, None], value[:, None], starts[:, None], bootstrap_value[None], *discounts)
    assert ours.dtype == np.float32
    assert np.abs(ours[:, 0] - buffer.advantages).max() < 1e-6

"""Trainings by SBX, which is Stable-Baselines3 in JAX: a contender of `cohort.py` and `off_policy.py`.

It has the hyperparameters, the envs and the evaluations of the other contenders, one core, and no compilation on the
clock: what JAX compiles, it compiles in a short training before. `pip install --group bench` installs it.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import msgspec
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from trl_suite.algorithms.registry import find
from trl_suite.training.sb3.models.vec_env import BatchVecEnv
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.stepping.vector_env import batch_arguments

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
BY_POLICY_CLASS = ("ortho_init",)  # not among SBX's hyperparameters


def installed() -> bool:
    """Return whether there is SBX."""
    return importlib.util.find_spec("sbx") is not None


def prepared(run: TrainingRun, warm: int, core: int) -> Callable[[], None]:
    """Return what makes a training, compiled by a short one.

    Args:
        run: the training.
        warm: env steps of the short one.
        core: of those that this process may use, the only one that it has from now on.
    """
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[core % len(allowed)]})  # XLA has as many threads as there are cores
    os.environ["XLA_FLAGS"] = ONE_THREAD
    model, measured = _model(run), _envs(run, 1)
    _measure(model, measured, 1)
    model.learn(warm)
    if not find(run.hyperparameters.algorithm).on_policy:
        model.learning_starts += model.num_timesteps  # what it has learned by now is on nobody's clock

    def train() -> None:
        _measure(model, measured, run.evaluation.episodes)
        model.learn(run.steps, reset_num_timesteps=False)
        _measure(model, measured, run.evaluation.episodes)

    return train


def _measure(model: Any, envs: VecEnv, episodes: int) -> None:
    if isinstance(envs, VecNormalize):
        envs.training, envs.norm_reward, envs.obs_rms = False, False, model.get_vec_normalize_env().obs_rms
    evaluate_policy(model, envs, n_eval_episodes=episodes)


def _model(run: TrainingRun) -> Any:
    """Return SBX's model with the hyperparameters of a run."""
    sbx, linen = importlib.import_module("sbx"), importlib.import_module("flax.linen")
    hyperparameters = run.hyperparameters
    values = msgspec.structs.asdict(hyperparameters)
    arguments = {name: values[name] for name in find(hyperparameters.algorithm).sb3_arguments}
    return getattr(sbx, hyperparameters.algorithm.upper())(
        policy="MlpPolicy",
        env=_envs(run, hyperparameters.n_envs),
        policy_kwargs={
            "net_arch": list(hyperparameters.hidden),
            "activation_fn": getattr(linen, hyperparameters.activation),
        },
        seed=run.seed,
        learning_rate=values["learning_rate"],
        gamma=hyperparameters.gamma,
        **{name: value for name, value in arguments.items() if name not in BY_POLICY_CLASS},
    )


def _envs(run: TrainingRun, count: int) -> VecEnv:
    hyperparameters = run.hyperparameters
    envs: VecEnv = VecMonitor(BatchVecEnv(count, threads=1, **batch_arguments([run.env] * count)))
    if hyperparameters.normalise_observation or hyperparameters.normalise_reward:
        envs = VecNormalize(
            envs,
            norm_obs=hyperparameters.normalise_observation,
            norm_reward=hyperparameters.normalise_reward,
            gamma=hyperparameters.gamma,
        )
    return envs

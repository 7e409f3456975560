"""Stages on SB3 that take a second: the smallest networks, rollouts and budgets."""

from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.policy import Policy
from trl_suite.training.sb3.loop import train
from trl_suite.training.settings import Evaluation, SourceTraining
from trl_suite.training.training_run import TrainingOutcome, TrainingRun, Unwatched

FIRST, SECOND, THIRD = (f"inverted-pendulum{variant}" for variant in ("", ".gravity-1.5", ".gravity-0.5"))
ROLLOUT, STEPS = 64, 256
SMALL = {"hidden": (8, 8)}
PPO = PPOHyperparameters(n_envs=4, n_steps=16, batch_size=64, n_epochs=2, **SMALL)
SAC = SACHyperparameters(learning_starts=32, batch_size=16, buffer_size=600, n_envs=4, train_freq=4, **SMALL)
TD3 = TD3Hyperparameters(learning_starts=32, batch_size=16, buffer_size=600, n_envs=4, train_freq=4, **SMALL)
HYPERPARAMETERS = {"ppo": PPO, "sac": SAC, "td3": TD3}


def order(
    env: str, method: str = "scratch", source: Policy | None = None, algorithm: str = "ppo", **more
) -> TrainingRun:
    """Return the training of one stage."""
    definition: Method = more.pop("definition", None) or methods.find(method)
    keep = {"source_training": SourceTraining(keep=("replay",), transitions=40)} if method == "task-replay" else {}
    values = {"hyperparameters": HYPERPARAMETERS[algorithm], "steps": STEPS, **keep, **more}
    evaluation = Evaluation(every=STEPS, episodes=1)
    return TrainingRun(
        env=env, seed=0, method=method, definition=definition, source=source, evaluation=evaluation, **values
    )


def stage(env: str, method: str = "scratch", source: Policy | None = None, **more) -> TrainingOutcome:
    """Return the outcome of one stage."""
    return train(order(env, method, source, **more), Unwatched())

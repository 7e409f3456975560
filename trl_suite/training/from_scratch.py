"""`trl_suite.train`: one policy from scratch, in this process."""

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.registry import Algorithm
from trl_suite.machine_resources import idle_cores
from trl_suite.networks.policy import Policy
from trl_suite.training import engines, settings
from trl_suite.training.presets import Choice, Preset, choose
from trl_suite.training.reproducibility import threads
from trl_suite.training.training_run import TrainingOutcome, TrainingRun, Unwatched, Watcher
from trl_suite.worlds.address import import_asked


def train(
    env: str,
    *,
    algorithm: Algorithm = "ppo",
    steps: int = 200_000,
    seed: int = 0,
    preset: Preset = "tuned",
    hyperparameters: Hyperparameters | None = None,
) -> Policy:
    """Return a policy trained from scratch.

    Args:
        env: address of an env: `half-cheetah`, `hopper.gravity-1.5`, `gymnasium:Ant-v5`.
        algorithm: its name, such as ppo; see `trl_suite/algorithms/`.
        steps: budget in env steps; what is left after the last whole rollout teaches nothing.
        seed: of the network, the worlds and the noise.
        preset: the robot's tuned hyperparameters, where it has some, or SB3's defaults.
        hyperparameters: others than those of a preset; they decide the algorithm.
    """
    import_asked(env)
    choice = Choice(hyperparameters, "", "") if hyperparameters else choose(env, algorithm, preset)
    return run_alone(env, choice, steps=steps, seed=seed, watcher=Unwatched()).policy


def run_alone(env: str, choice: Choice, *, steps: int, seed: int, watcher: Watcher, cores: int = 0) -> TrainingOutcome:
    """Return the outcome of training from scratch, evaluated 20 times on the way.

    Args:
        env: its address.
        choice: of hyperparameters.
        steps: budget in env steps.
        seed: of the training.
        watcher: is told of everything.
        cores: that it uses; 0 for those that are idle. The outcome is the same for any number.
    """
    evaluation = settings.Evaluation(every=-(-steps // 20))
    run = TrainingRun(
        env=env,
        hyperparameters=choice.hyperparameters,
        preset=choice.preset,
        seed=seed,
        steps=steps,
        evaluation=evaluation,
    )
    with threads(1):
        _, result = next(engines.train(engines.alone(run), [run], [watcher], [None], cores=cores or idle_cores()))
    if isinstance(result, Exception):
        raise result
    return result

"""One training on SB3: build, transplant, evaluate at step 0, learn, evaluate on the grid, prove the freeze."""

from pathlib import Path
from typing import Any

from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.networks.components import REPLAY
from trl_suite.training.policy_import import trainable_spaces
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.dynamics import learn_dynamics
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.method_callbacks import MethodCallbacks
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.learners import Model
from trl_suite.training.sb3.models.vec_env import BatchVecEnv
from trl_suite.training.sb3.observer import RunObserver, StoppedError, run_logger
from trl_suite.training.training_run import TrainingOutcome, TrainingRun, Watcher


def train(run: TrainingRun, watcher: Watcher, logs: Path | None = None) -> TrainingOutcome:
    """Return the outcome of one training; `logs` is the folder for TensorBoard's event files.

    It goes on where the watcher's snapshot was taken, if there is one, as if it had never been away.

    Raises:
        InputError: the method does not fit source and target, or no algorithm can be trained on the env.
        FreezeBrokenError: a frozen component moved.
        DivergedError: a parameter is not finite.
    """
    if why := methods.refusal("sb3", run.definition, run.hyperparameters.algorithm):
        raise InputError(f"method '{run.method}': {why}")
    trainable_spaces(run.env)
    guided, terms = run.definition.guide_policy is not None, REPLAY in run.source_training.keep
    model = sb3.build(
        run.env,
        run.hyperparameters,
        run.seed,
        guided,
        run.training_variants,
        terms=terms,
        heads=run.source_training.heads,
    )
    model.set_logger(run_logger(None, 0))
    fresh = methods.fresh_values(run.definition, sb3.components_of(model))
    record = implant(run.source, model, run.method, run.definition, run.alias, seed_for(run.seed, "method"))
    callbacks = MethodCallbacks(model, run, record, fresh)
    with RunObserver(model, run, callbacks, watcher) as observer:
        observer.resume()
        if logs:
            model.set_logger(run_logger(logs, model.num_timesteps))
        _learn(model, run, observer, watcher)
    return TrainingOutcome(
        policy=run.remembering(observer.policy(), source_memory.kept(model, run), callbacks.hands_on()),
        transplant=record,
        freeze=callbacks.proof(),
        steps=min(model.num_timesteps, run.total),
        unstable_episodes=observer.unstable_episodes,
        ranges=_ranges(model),
        compress_steps=callbacks.compress_steps(min(model.num_timesteps, run.total)),
        finished=not observer.stopped,
    )


def _ranges(model: Model) -> dict[str, tuple[float, float]]:
    """Ranges that the training episodes are drawn from now; of envs that are objects of their own none are told."""
    worlds: Any = model.env.unwrapped if model.env is not None else None
    return worlds.ranges() if isinstance(worlds, BatchVecEnv) else {}


def _learn(model: Model, run: TrainingRun, observer: RunObserver, watcher: Watcher) -> None:
    try:
        observer.measure(0)
        if run.source_training.dynamics:
            learn_dynamics(model, run, run.source_training.dynamics, watcher)
            observer.measure(run.total)
            return
        left = run.total - model.num_timesteps  # SB3 adds them to what it has made
        model.learn(left, callback=observer, reset_num_timesteps=model.num_timesteps == 0)
        observer.measure(model.num_timesteps)
    except StoppedError:
        observer.stopped = True

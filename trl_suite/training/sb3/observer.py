"""The callback that measures a training on its grid, counts what went wrong, thaws, and stops when told to."""

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from trl_suite.errors import InputError
from trl_suite.networks.policy import Policy
from trl_suite.training.acting.evaluation import Act, Episode, Evaluator
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.run_log import EventFile, of_evaluation
from trl_suite.training.sb3 import sb3_snapshot as snapshots
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.method_callbacks import MethodCallbacks
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.learners import Model
from trl_suite.training.training_run import DivergedError, Snapshot, TrainingRun, Watcher

STOP_PATIENCE_SECONDS = 3.0  # seconds that a stop waits for the end of the rollout, where nothing is lost

Observations, Actions = npt.NDArray[np.float64], npt.NDArray[np.float32]


class StoppedError(Exception):
    """The watcher wants the training to end."""


class RunObserver(BaseCallback):
    """Measures the policy that holds at each step of the grid: the one after the last update up to that step.

    SB3 counts steps in rollouts; the policy is the same within one, so that every run is measured at the same steps
    whatever its rollouts are.
    """

    def __init__(self, model: Model, run: TrainingRun, callbacks: MethodCallbacks, watcher: Watcher) -> None:
        super().__init__()
        self.unstable_episodes = 0
        self.stopped = False  # by the watcher
        self._learner, self._run, self._callbacks, self._watcher = model, run, callbacks, watcher
        self._evaluator = Evaluator(run.env, run.evaluation.episodes)
        self._grid = deque(run.head_start + step for step in run.grid())
        self._measured = -1  # the last step of the grid that was
        self._last: list[Episode] = []
        self._rows = 0  # of the replay buffer that were written, those overwritten again among them
        self._exploration: Mapping[str, npt.NDArray[Any]] | None = None  # of a snapshot, to be put at the next rollout
        self._kept_at = 0  # env steps at the last snapshot
        self._leaves_at: float | None = None  # when waiting for the end of the rollout is over
        self._may_keep = snapshots.can_take(model) and not source_memory.is_kept(run)
        for optimiser in snapshots.optimisers(model).values():
            optimiser.register_step_post_hook(self._breathe)
        self._started = time.monotonic()

    def resume(self) -> None:
        """Go on from the watcher's snapshot, if there is one.

        Raises:
            InputError: the snapshot lacks what this version of the program keeps in one.
        """
        snapshot = self._watcher.resumed()
        if snapshot is None:
            return
        try:
            self._restore(snapshot)
        except KeyError as error:
            raise InputError(
                f"the checkpoint holds no {error}: another version of trl-suite made it; begin anew by removing it"
            ) from None

    def _restore(self, snapshot: Snapshot) -> None:
        arrays, facts = snapshot.arrays, snapshot.facts
        self._callbacks.restore(arrays, facts["callbacks"])
        self._measured = facts["measured"]
        self._grid = deque(step for step in self._grid if step > self._measured)
        self._last = [Episode(*episode) for episode in facts["last"]]
        self.unstable_episodes, self._rows, self._kept_at = facts["unstable"], facts["rows"], snapshot.step
        self._started -= facts["seconds"]
        if isinstance(self._learner, OffPolicyAlgorithm) and self._learner.replay_buffer is not None:
            snapshots.put_replay(self._learner.replay_buffer, self._rows, arrays, snapshot.segments)
        snapshots.put(self._learner, arrays, facts["learner"])
        if snapshots.explores_by_state(self._learner):
            self._exploration = arrays

    def __enter__(self) -> "RunObserver":
        return self

    def __exit__(self, *_: object) -> None:
        self._evaluator.close()
        if self._learner.env is not None:
            self._learner.env.close()
        self._learner.logger.close()

    def measure(self, until: int) -> None:
        """Measure the policy as it is now at every step of the grid that is due: those up to `until`."""
        while self._grid and self._grid[0] <= until:
            self._evaluate(self._grid[0])
            self._measured = self._grid.popleft()

    def policy(self) -> Policy:
        """Return the policy as it is now.

        Raises:
            DivergedError: a parameter is not finite.
        """
        seconds = time.monotonic() - self._started
        training = self._run.training(self._learner.num_timesteps, self._last, seconds)
        policy = self._callbacks.deployed(sb3.policy_of(self._learner, training))
        for name, tensors in policy.components.items():
            if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
                raise DivergedError(f"{name} is not finite after {self._learner.num_timesteps} steps")
        return policy

    def _evaluate(self, step: int) -> None:
        policy = self.policy()
        self._last = self._evaluator(self._acting(lambda observations: policy.predict(observations)[0]))
        episodes = self._last + self._stochastic(policy)
        self._watcher.evaluated(step - self._run.head_start, episodes)
        self._watcher.acted(step - self._run.head_start, lambda: policy)
        log_scalars(self._learner.logger, step, of_evaluation(episodes))

    def _stochastic(self, policy: Policy) -> list[Episode]:
        """Return the same episodes with actions that are drawn: the same draws at every step of the grid."""
        if not self._run.evaluation.stochastic:
            return []
        generator = torch.Generator().manual_seed(seed_for(self._run.seed, "evaluation", 1))
        act = self._acting(lambda seen: policy.predict(seen, deterministic=False, generator=generator)[0])
        return self._evaluator(act, "stochastic")

    def _acting(self, act: Act) -> Act:
        """Let an evaluation, which may take long, be ended."""

        def acting(observations: Observations) -> Actions:
            self._breathe()
            return act(observations)

        return acting

    def _on_rollout_start(self) -> None:
        if self._exploration is not None:
            snapshots.put_exploration(self._learner, self._exploration)
            self._exploration = None
        self.measure(self._learner.num_timesteps)
        self._callbacks.advance(self._learner.num_timesteps)
        self._watcher.advanced(self._learner.num_timesteps)
        stopping = self._watcher.stopping()
        if stopping or self._watcher.due():
            self._keep()
        if stopping:
            raise StoppedError

    def _on_step(self) -> bool:
        for index in np.flatnonzero(self.locals["dones"]):
            self.unstable_episodes += bool(self.locals["infos"][index].get("sim_unstable"))
        self._rows += 1
        self._learner.num_timesteps += self._callbacks.guided_steps()
        self.measure(self._learner.num_timesteps - 1)
        self._breathe()
        return self._learner.num_timesteps <= self._run.total

    def _breathe(self, *_: object) -> None:
        """Leave, in the midst of an update even, where a stop is wanted and the next rollout is too far away.

        What was done since the last snapshot is lost then, and done again by who goes on from it.
        """
        if not self._watcher.stopping():
            return
        now = time.monotonic()
        self._leaves_at = self._leaves_at or now + STOP_PATIENCE_SECONDS
        if now >= self._leaves_at:
            raise StoppedError

    def _keep(self) -> None:
        """Give the watcher a snapshot, where the worlds' state can be taken and there is anything new."""
        step = self._learner.num_timesteps
        if not self._may_keep or step == self._kept_at:
            return
        arrays, learner = snapshots.take(self._learner)
        callback_arrays, callbacks = self._callbacks.state()
        segments: dict[str, dict[str, npt.NDArray[Any]]] = {}
        if isinstance(self._learner, OffPolicyAlgorithm) and self._learner.replay_buffer is not None:
            open_, segments = snapshots.replay(self._learner.replay_buffer, self._rows)
            arrays |= open_
        facts = {
            "learner": learner,
            "callbacks": callbacks,
            "measured": self._measured,
            "last": self._last,
            "unstable": self.unstable_episodes,
            "rows": self._rows,
            "seconds": time.monotonic() - self._started,
        }
        self._watcher.keep(Snapshot(step=step, arrays=arrays | callback_arrays, facts=facts, segments=segments))
        self._kept_at = step


# --- SB3's logger on a run's event file ---


class Events(KVWriter):
    """SB3's output of numbers to a run's event file."""

    def __init__(self, folder: Path, step: int) -> None:
        self._file = EventFile(folder, step)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write the numbers of one step."""
        numbers = {
            key: float(value)
            for key, value in key_values.items()
            if isinstance(value, int | float | np.number) and "tensorboard" not in (key_excluded.get(key) or ())
        }
        self._file.write(numbers, step)

    def close(self) -> None:
        """End the file."""
        self._file.close()


def run_logger(folder: Path | None, step: int) -> Logger:
    """Return a logger that writes event files to a folder, from env step `step` on; or nowhere."""
    if folder is None:
        return Logger(folder=None, output_formats=[])
    return Logger(folder=str(folder), output_formats=[Events(folder, step)])


def log_scalars(to: Logger, step: int, values: Mapping[str, float]) -> None:
    """Write values at an env step."""
    for name, value in values.items():
        to.record(name, value)
    to.dump(step)

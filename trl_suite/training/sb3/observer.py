"""The callback that measures a training on its grid, counts what went wrong, thaws, and stops when told to."""

import time
from collections import deque

import msgspec
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from trl_suite import provenance
from trl_suite.networks.card import Training
from trl_suite.networks.policy import Policy
from trl_suite.training.evaluation import Episode, Evaluator
from trl_suite.training.job import DivergedError, Job, Watcher
from trl_suite.training.sb3 import model as sb3
from trl_suite.training.sb3.course import Course
from trl_suite.training.sb3.learners import Model
from trl_suite.training.seeds import seed_for


class Observer(BaseCallback):
    """Measures the policy that holds at each step of the grid: the one after the last update up to that step.

    SB3 counts steps in rollouts; the policy is the same within one, so that every run is measured at the same steps
    whatever its rollouts are.
    """

    def __init__(self, model: Model, job: Job, course: Course, watcher: Watcher) -> None:
        super().__init__()
        self.unstable_episodes = 0
        self.stopped = False  # by the watcher
        self._learner, self._job, self._course, self._watcher = model, job, course, watcher
        self._evaluator = Evaluator(job.env, job.evaluation.episodes)
        self._grid = deque(job.head_start + step for step in (*range(0, job.steps, job.evaluation.every), job.steps))
        self._last: list[Episode] = []
        self._started = time.monotonic()

    def __enter__(self) -> "Observer":
        return self

    def __exit__(self, *_: object) -> None:
        self._evaluator.close()
        if self._learner.env is not None:
            self._learner.env.close()
        self._learner.logger.close()

    def measure(self, until: int) -> None:
        """Measure the policy as it is now at every step of the grid that is due: those up to `until`."""
        while self._grid and self._grid[0] <= until:
            self._evaluate(self._grid.popleft())

    def finish(self) -> None:
        """Measure what is left after the last update; a stopped run is not measured."""
        if not self.stopped:
            self.measure(self._learner.num_timesteps)

    def policy(self) -> Policy:
        """Return the policy as it is now.

        Raises:
            DivergedError: a parameter is not finite.
        """
        policy = sb3.policy_of(self._learner, self._training())
        for name, tensors in policy.components.items():
            if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
                raise DivergedError(f"{name} is not finite after {self._learner.num_timesteps} steps")
        return policy

    def _evaluate(self, step: int) -> None:
        policy = self.policy()
        self._last = self._evaluator(lambda observations: policy.predict(observations)[0])
        self._watcher.evaluated(step - self._job.head_start, self._last + self._stochastic(policy))
        self._learner.logger.record("eval/mean_reward", float(np.mean([episode.value for episode in self._last])))
        self._learner.logger.record("eval/mean_ep_length", float(np.mean([episode.length for episode in self._last])))
        self._learner.logger.dump(step)

    def _stochastic(self, policy: Policy) -> list[Episode]:
        """Return the same episodes with actions that are drawn: the same draws at every step of the grid."""
        if not self._job.evaluation.stochastic:
            return []
        generator = torch.Generator().manual_seed(seed_for(self._job.seed, "evaluation", 1))
        return self._evaluator(
            lambda observations: policy.predict(observations, deterministic=False, generator=generator)[0], "stochastic"
        )

    def _training(self) -> Training:
        values = [episode.value for episode in self._last]
        commit, dirty = provenance.commit()
        return Training(
            env=self._job.env,
            seed=self._job.seed,
            steps=min(self._learner.num_timesteps, self._job.total),
            return_mean=float(np.mean(values)) if values else None,
            return_std=float(np.std(values)) if values else None,
            episodes=len(values),
            seconds=round(time.monotonic() - self._started, 1),
            hyperparameters=msgspec.to_builtins(self._job.how) | msgspec.to_builtins(self._job.upbringing),
            versions=provenance.versions(),
            commit=commit,
            dirty=dirty,
        )

    def _on_rollout_start(self) -> None:
        self.measure(self._learner.num_timesteps)
        self._course.advance(self._learner.num_timesteps)
        self._watcher.advanced(self._learner.num_timesteps)

    def _on_step(self) -> bool:
        for index in np.flatnonzero(self.locals["dones"]):
            self.unstable_episodes += bool(self.locals["infos"][index].get("sim_unstable"))
        self._learner.num_timesteps += self._course.guided_steps()
        self.measure(self._learner.num_timesteps - 1)
        self.stopped = self._watcher.stopping()
        return not self.stopped and self._learner.num_timesteps <= self._job.total

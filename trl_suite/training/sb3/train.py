"""One training on SB3: build, transplant, evaluate at step 0, learn, evaluate on the grid, prove the freeze."""

import time
from pathlib import Path

import msgspec
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, configure

from trl_suite import provenance
from trl_suite.networks import freeze
from trl_suite.networks.card import Training
from trl_suite.networks.policy import Policy
from trl_suite.training.evaluation import Episode, Evaluator
from trl_suite.training.job import DivergedError, Job, Outcome, Watcher
from trl_suite.training.sb3 import model as sb3
from trl_suite.training.sb3.learners import Model
from trl_suite.training.sb3.transplant import transplant


def train(job: Job, watcher: Watcher, logs: Path | None = None) -> Outcome:
    """Return the outcome of one training; `logs` is the folder for TensorBoard's event files.

    Raises:
        InputError: the method does not fit source and target.
        FreezeBrokenError: a frozen component moved.
        DivergedError: a parameter is not finite.
    """
    model = sb3.build(job.env, job.how, job.seed)
    model.set_logger(configure(str(logs), ["tensorboard"]) if logs else Logger(folder=None, output_formats=[]))
    record = transplant(job.source, model, job.definition, job.alias, name=job.method)
    seal = freeze.sealed(sb3.components_of(model), record.frozen)
    with _Observer(model, job, watcher) as observer:
        observer.evaluate()
        model.learn(job.steps, callback=observer)
        observer.finish()
    proof = freeze.proved(seal, sb3.components_of(model))
    return Outcome(
        policy=observer.policy(),
        transplant=record,
        freeze=proof,
        steps=model.num_timesteps,
        unstable_episodes=observer.unstable_episodes,
        finished=not observer.stopped,
    )


class _Observer(BaseCallback):
    """Evaluates between an update and the next rollout, counts broken simulations, and stops when it is told to."""

    def __init__(self, model: Model, job: Job, watcher: Watcher) -> None:
        super().__init__()
        self.unstable_episodes = 0
        self.stopped = False
        self._learner, self._job, self._watcher = model, job, watcher
        self._evaluator = Evaluator(job.env, job.evaluation.episodes)
        self._evaluated_at = 0
        self._last: list[Episode] = []
        self._started = time.monotonic()

    def __enter__(self) -> "_Observer":
        return self

    def __exit__(self, *_: object) -> None:
        self._evaluator.close()
        if self._learner.env is not None:
            self._learner.env.close()
        self._learner.logger.close()

    def finish(self) -> None:
        """Measure the end, unless the grid just did; a stopped run is not measured off the grid."""
        if not self.stopped and self._evaluated_at != self._learner.num_timesteps:
            self.evaluate()

    def evaluate(self) -> None:
        """Measure the policy as it is now and tell the watcher."""
        policy = self.policy()
        self._last = self._evaluator(lambda observations: policy.predict(observations)[0])
        step = self._learner.num_timesteps
        self._watcher.evaluated(step, self._last)
        self._evaluated_at = step
        self._learner.logger.record("eval/mean_reward", float(np.mean([episode.value for episode in self._last])))
        self._learner.logger.record("eval/mean_ep_length", float(np.mean([episode.length for episode in self._last])))
        self._learner.logger.dump(step)

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

    def _training(self) -> Training:
        values = [episode.value for episode in self._last]
        commit, dirty = provenance.commit()
        return Training(
            env=self._job.env,
            seed=self._job.seed,
            steps=self._learner.num_timesteps,
            return_mean=float(np.mean(values)) if values else None,
            return_std=float(np.std(values)) if values else None,
            episodes=len(values),
            seconds=round(time.monotonic() - self._started, 1),
            hyperparameters=msgspec.to_builtins(self._job.how),
            versions=provenance.versions(),
            commit=commit,
            dirty=dirty,
        )

    def _on_rollout_start(self) -> None:
        step, every = self._learner.num_timesteps, self._job.evaluation.every
        if step // every > self._evaluated_at // every:
            self.evaluate()
        self._watcher.advanced(step)

    def _on_step(self) -> bool:
        for index in np.flatnonzero(self.locals["dones"]):
            self.unstable_episodes += bool(self.locals["infos"][index].get("sim_unstable"))
        self.stopped = self._watcher.stopping()
        return not self.stopped

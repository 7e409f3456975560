"""One training on SB3: build, transplant, evaluate at step 0, learn, evaluate on the grid, prove the freeze."""

from dataclasses import replace
from pathlib import Path

from trl_suite.networks.components import REPLAY
from trl_suite.training.job import Job, Outcome, Watcher
from trl_suite.training.sb3 import events, source_memory
from trl_suite.training.sb3 import sb3_model as sb3
from trl_suite.training.sb3.dynamics import learn_dynamics
from trl_suite.training.sb3.learners import Model
from trl_suite.training.sb3.method_callbacks import Course
from trl_suite.training.sb3.observer import Observer, StoppedError
from trl_suite.training.sb3.transplant import implant
from trl_suite.training.seeds import seed_for


def train(job: Job, watcher: Watcher, logs: Path | None = None) -> Outcome:
    """Return the outcome of one training; `logs` is the folder for TensorBoard's event files.

    It goes on where the watcher's snapshot was taken, if there is one, as if it had never been away.

    Raises:
        InputError: the method does not fit source and target.
        FreezeBrokenError: a frozen component moved.
        DivergedError: a parameter is not finite.
    """
    guided, terms = job.definition.guide is not None, REPLAY in job.upbringing.keep
    model = sb3.build(job.env, job.how, job.seed, guided, job.mix, terms=terms, heads=job.upbringing.heads)
    model.set_logger(events.logger(None, 0))
    record = implant(job.source, model, job.method, job.definition, job.alias, seed_for(job.seed, "method"))
    course = Course(model, job, record)
    with Observer(model, job, course, watcher) as observer:
        observer.resume()
        if logs:
            model.set_logger(events.logger(logs, model.num_timesteps))
        _learn(model, job, observer, watcher)
    return Outcome(
        policy=replace(observer.policy(), memory=source_memory.kept(model, job.upbringing.keep)),
        transplant=record,
        freeze=course.proof(),
        steps=min(model.num_timesteps, job.total),
        unstable_episodes=observer.unstable_episodes,
        finished=not observer.stopped,
    )


def _learn(model: Model, job: Job, observer: Observer, watcher: Watcher) -> None:
    try:
        observer.measure(0)
        if job.upbringing.dynamics:
            learn_dynamics(model, job, job.upbringing.dynamics, watcher)
            observer.measure(job.total)
            return
        left = job.total - model.num_timesteps  # SB3 adds them to what it has made
        model.learn(left, callback=observer, reset_num_timesteps=model.num_timesteps == 0)
        observer.measure(model.num_timesteps)
    except StoppedError:
        observer.stopped = True

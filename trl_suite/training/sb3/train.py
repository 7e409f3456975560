"""One training on SB3: build, transplant, evaluate at step 0, learn, evaluate on the grid, prove the freeze."""

from dataclasses import replace
from pathlib import Path

from stable_baselines3.common.logger import Logger, configure

from trl_suite.networks.components import REPLAY
from trl_suite.training.job import Job, Outcome, Watcher
from trl_suite.training.sb3 import memory
from trl_suite.training.sb3 import model as sb3
from trl_suite.training.sb3.course import Course
from trl_suite.training.sb3.dynamics import learn_dynamics
from trl_suite.training.sb3.observer import Observer
from trl_suite.training.sb3.transplant import implant
from trl_suite.training.seeds import seed_for


def train(job: Job, watcher: Watcher, logs: Path | None = None) -> Outcome:
    """Return the outcome of one training; `logs` is the folder for TensorBoard's event files.

    Raises:
        InputError: the method does not fit source and target.
        FreezeBrokenError: a frozen component moved.
        DivergedError: a parameter is not finite.
    """
    guided, terms = job.definition.guide is not None, REPLAY in job.upbringing.keep
    model = sb3.build(
        job.env, job.how, job.seed, one_by_one=guided, mix=job.mix, terms=terms, heads=job.upbringing.heads
    )
    model.set_logger(configure(str(logs), ["tensorboard"]) if logs else Logger(folder=None, output_formats=[]))
    record = implant(job.source, model, job.method, job.definition, job.alias, seed_for(job.seed, "method"))
    course = Course(model, job, record)
    with Observer(model, job, course, watcher) as observer:
        observer.measure(0)
        if job.upbringing.dynamics:
            observer.stopped = not learn_dynamics(model, job, watcher)
        else:
            model.learn(job.total, callback=observer)
        observer.finish()
    return Outcome(
        policy=replace(observer.policy(), memory=memory.kept(model, job.upbringing.keep)),
        transplant=record,
        freeze=course.proof(),
        steps=min(model.num_timesteps, job.total),
        unstable_episodes=observer.unstable_episodes,
        finished=not observer.stopped,
    )

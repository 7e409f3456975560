"""A cohort whose worlds are simulated by Warp: on its CPU device, where it can be tested everywhere."""

import numpy as np
import pytest
import torch

from tests.training.cohort.small import EVALUATION, Keeping, numbers
from trl_suite.errors import InputError
from trl_suite.training.cohort.train import train
from trl_suite.training.job import Outcome
from trl_suite.worlds.warp import library
from trl_suite.worlds.warp.batch import DeviceBatch

pytestmark = [
    pytest.mark.xdist_group("warp"),
    pytest.mark.skipif(bool(library.obstacle()), reason=library.obstacle()),
]


def run(jobs, watchers=None):
    watchers = watchers or [Keeping() for _ in jobs]
    found = dict(train(jobs, watchers, [None] * len(jobs), torch.device("cpu"), "warp"))
    return [found[index] for index in range(len(jobs))]


def test_a_member_becomes_what_it_becomes_alone(make_job):
    jobs = [
        make_job(seed=0),
        make_job(seed=1, env="inverted-pendulum.gravity-1.5"),
        make_job(2, "finetune"),
    ]
    together = [numbers(outcome) for outcome in run(jobs)]
    for job, found in zip(jobs, together, strict=True):
        alone = numbers(run([job])[0])
        for name, value in alone.items():
            assert np.array_equal(value, found[name]), name


def test_a_member_goes_on_from_its_snapshot_to_the_bit(make_job):
    whole = Keeping(keep=True)
    outcome = run([make_job()], [whole])[0]
    middle = whole.snapshots[2]
    again = run([make_job()], [Keeping(resume=middle)])[0]
    for name, value in numbers(outcome).items():
        assert np.array_equal(value, numbers(again)[name]), name


def test_it_learns_about_what_it_learns_on_mujoco(make_job):
    """One update from the same start: other first states, the same world."""
    jobs = [make_job(seed=seed, evaluation=EVALUATION) for seed in range(2)]
    on_mujoco = dict(train(jobs, [Keeping() for _ in jobs], [None] * 2, torch.device("cpu")))
    for ours, theirs in zip(run(jobs), on_mujoco.values(), strict=True):
        assert isinstance(ours, Outcome)
        assert ours.steps == theirs.steps
        assert ours.unstable_episodes == theirs.unstable_episodes == 0


def test_physics_that_was_wrong_fails_the_run(make_job, monkeypatch):
    monkeypatch.setattr(DeviceBatch, "overflown", lambda self: 3)
    outcome = run([make_job()])[0]
    assert isinstance(outcome, InputError)
    assert "contacts or constraints of 3 of" in str(outcome)

"""A member that goes on from a snapshot becomes what it would have become: to the bit."""

import pytest

from tests.training.cohort.small import EVALUATION, HOW, Keeping, job, numbers, run, same
from trl_suite.errors import InputError
from trl_suite.mechanisms.methods import Method
from trl_suite.training.training_run import Snapshot, TrainingOutcome, TrainingRun

EVERYTHING = ("actor", "critic", "normaliser")
THAWS = Method(copy=EVERYTHING, log_std="copied", freeze=("actor.trunk",), thaw={"actor.trunk": 0.5})
CASES = ["scratch", "finetune", "feature-extraction", "l2sp", "kickstart", "reset-head", "own"]


def jobs_of(make_job, **more):
    return [
        make_job(seed=index, method=name, env="hopper", **({"definition": THAWS} if name == "own" else {}), **more)
        for index, name in enumerate(CASES)
    ]


@pytest.fixture(scope="module")
def source():
    outcome = run([TrainingRun(env="hopper", hyperparameters=HOW, seed=7, steps=128, evaluation=EVALUATION)])[0]
    assert isinstance(outcome, TrainingOutcome)
    return outcome.policy


def test_from_every_rollout(make_job):
    jobs, watchers = jobs_of(make_job), [Keeping(keep=True) for _ in CASES]
    whole = run(jobs, watchers)
    assert [one.step for one in watchers[0].snapshots] == [0, 128, 256, 384]
    for place in range(4):
        again = [Keeping(resume=watcher.snapshots[place]) for watcher in watchers]
        outcomes = run(jobs, again)
        for index, outcome in enumerate(outcomes):
            assert same(numbers(outcome), numbers(whole[index])), (CASES[index], place)
            assert outcome.freeze == whole[index].freeze
            told = whole_curve(watchers[index], watchers[index].snapshots[place])
            assert again[index].curve == told


def test_from_every_rollout_with_low_rank_products(make_job):
    jobs = [make_job(seed=seed, method="lora", env="hopper") for seed in (0, 1)]
    watchers = [Keeping(keep=True) for _ in jobs]
    whole = run(jobs, watchers)
    for place in range(4):
        outcomes = run(jobs, [Keeping(resume=watcher.snapshots[place]) for watcher in watchers])
        assert all(same(numbers(one), numbers(other)) for one, other in zip(outcomes, whole, strict=True))


def whole_curve(watcher: Keeping, snapshot: Snapshot):
    return watcher.curve[snapshot.facts["measured"] :]


def test_members_of_different_steps_go_on_in_other_company(make_job):
    jobs, watchers = jobs_of(make_job), [Keeping(keep=True) for _ in CASES]
    whole = run(jobs, watchers)
    order = [4, 1, 5, 0]
    resumed = [Keeping(resume=watchers[index].snapshots[place]) for place, index in enumerate(order)]
    for index, outcome in zip(order, run([jobs[index] for index in order], resumed), strict=True):
        assert same(numbers(outcome), numbers(whole[index]))


def test_a_stopped_cohort_leaves_snapshots_that_go_on(make_job):
    jobs = jobs_of(make_job)
    stopped = [Keeping(stop_at=256) for _ in CASES]
    outcomes = run(jobs, stopped)
    assert not any(outcome.finished for outcome in outcomes)
    again = [Keeping(resume=watcher.snapshots[-1]) for watcher in stopped]
    for outcome, finished in zip(run(jobs), run(jobs, again), strict=True):
        assert same(numbers(outcome), numbers(finished))
        assert finished.finished


def test_all_members_have_their_snapshots_at_the_same_steps(make_job):
    """What was kept at different steps would go on in different cohorts."""
    watchers = [Keeping(keep=index == 1) for index in range(3)]
    run([make_job(seed=index, env="hopper") for index in range(3)], watchers)
    assert [[one.step for one in watcher.snapshots] for watcher in watchers] == [[0, 128, 256, 384]] * 3


def test_a_snapshot_of_another_version_is_refused(make_job):
    watcher = Keeping(keep=True)
    job = make_job(seed=0, env="hopper")
    run([job], [watcher])
    old = watcher.snapshots[1]
    arrays = {name: value for name, value in old.arrays.items() if name != "count.policy"}
    refused = run([job], [Keeping(resume=Snapshot(step=old.step, arrays=arrays, facts=old.facts))])[0]
    assert isinstance(refused, InputError)
    assert "holds no 'count.policy'" in str(refused)


def test_step_0_is_measured_before_the_first_observation_changes_any_statistics(source):
    """So that what is copied is at step 0 what the source is, whether its statistics go on or are held."""
    assert HOW.normalise_observation
    methods = [
        Method(copy=EVERYTHING, log_std="copied"),
        Method(copy=EVERYTHING, log_std="copied", normaliser="frozen"),
    ]
    watchers = [Keeping(keep=True) for _ in methods]
    jobs = [
        job(seed=index, method="own", definition=method, source=source, env="hopper")
        for index, method in enumerate(methods)
    ]
    outcomes = run(jobs, watchers)
    not_done, held = (watcher.curve for watcher in watchers)
    assert not_done[0] == held[0]
    assert not_done[1] != held[1]
    alone = run(jobs[:1], [Keeping(resume=watchers[0].snapshots[0])])[0]  # it goes on behind step 0
    assert same(numbers(alone), numbers(outcomes[0]))


def test_what_is_stopped_before_anything_was_measured_begins_anew(make_job):
    watcher = Keeping(stop_at=0)
    outcome = run([make_job(seed=0, env="hopper")], [watcher])[0]
    assert not outcome.finished
    assert (watcher.curve, watcher.snapshots) == ([], [])

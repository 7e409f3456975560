"""Transitions and moments: what a member of SAC or TD3 keeps, takes up from its source, and holds."""

import msgspec
import pytest
import torch

from tests.training.cohort.small import Keeping, job, numbers, run, same
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.components import REPLAY
from trl_suite.networks.policy import Policy, load
from trl_suite.training import settings
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.cohort.cohort_key import bytes_of, cohort_key, obstacle
from trl_suite.training.cohort.learning import replay_rings
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked import optimizer_state
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.training_run import TrainingOutcome, Unwatched

SHARED = {"batch_size": 32, "hidden": (16, 16), "learning_starts": 64, "buffer_size": 300}  # a ring that is overwritten
HOWS = {
    "sac": SACHyperparameters(**SHARED, n_envs=2, train_freq=2, gradient_steps=2, normalise_observation=True),
    "td3": TD3Hyperparameters(**SHARED),
}
ALGORITHMS = pytest.mark.parametrize("algorithm", HOWS)
ROOMY = {name: msgspec.structs.replace(hyperparameters, buffer_size=5_000) for name, hyperparameters in HOWS.items()}
HELD = {"copy": ("actor", "critic", REPLAY), "freeze": (REPLAY,), "keep": {REPLAY: 0.5}}


@pytest.fixture(scope="module")
def sources() -> dict[str, Policy]:
    keeping = settings.SourceTraining(keep=(REPLAY, "optimiser"))
    found = {}
    for name, hyperparameters in ROOMY.items():
        one = job(seed=7, hyperparameters=hyperparameters, source_training=keeping)
        assert not obstacle(one)
        outcome = run([one])[0]
        assert isinstance(outcome, TrainingOutcome), outcome
        found[name] = outcome.policy
    return found


def alone(one) -> Cohort:
    return Cohort([CohortMember(0, one, spaces_of(one.env), Unwatched(), None)], torch.device("cpu"))


def paid(kept) -> torch.Tensor:
    return sum(values for name, values in kept.items() if name.startswith("term.")).float()


@ALGORITHMS
def test_what_a_source_keeps_is_what_it_did(sources, algorithm, tmp_path):
    """The ring is larger than the training, so that all is there, in order."""
    sources[algorithm].save(tmp_path / "policy")
    policy, worlds = load(tmp_path / "policy"), HOWS[algorithm].n_envs
    assert policy.card.memory.transitions == 512
    tuned = {"optimiser.temperature"} if algorithm == "sac" else set()
    assert set(policy.memory) == {REPLAY, "optimiser.actor", "optimiser.critic"} | tuned
    kept = policy.memory[REPLAY]
    assert kept["dones"].sum() > 0
    before, after = (kept[name].view(-1, worlds, 4) for name in ("next_observations", "observations"))
    not_done = (kept["dones"] == 0).view(-1, worlds)[:-1]
    assert torch.equal(before[:-1][not_done], after[1:][not_done])
    assert torch.allclose(paid(kept), kept["rewards"], atol=1e-6)


def test_the_terms_of_an_episodes_last_step_are_kept_too():
    one = job(
        env="half-cheetah",
        hyperparameters=ROOMY["sac"],
        steps=64,
        source_training=settings.SourceTraining(keep=(REPLAY,)),
    )
    cohort = alone(one)
    cohort.worlds.batch._limit = 5
    cohort.algorithm.reset()
    cohort.iterate(0, 64)
    kept = cohort.kept(0)[REPLAY]
    assert kept["timeouts"].sum() == 2 * (32 // 5)
    assert torch.equal(kept["timeouts"], kept["dones"])
    assert kept["rewards"].abs().min() > 0
    assert torch.allclose(paid(kept), kept["rewards"], atol=1e-5)


def test_a_ring_of_terms_is_of_its_own_cohort_and_is_counted():
    plain, keeping = (
        job(hyperparameters=ROOMY["td3"], source_training=settings.SourceTraining(keep=keep))
        for keep in ((), (REPLAY,))
    )
    assert cohort_key(plain) != cohort_key(keeping)
    assert bytes_of(keeping) > bytes_of(plain)


@pytest.mark.parametrize(
    ("thaw", "algorithm"),
    [
        pytest.param({}, "sac", id="held-sac"),
        pytest.param({REPLAY: 0.5}, "td3", id="thawed-td3"),
        pytest.param({}, "td3", id="held-td3", marks=pytest.mark.slow),
        pytest.param({REPLAY: 0.5}, "sac", id="thawed-sac", marks=pytest.mark.slow),
    ],
)
def test_a_frozen_replay_is_proved_and_goes_on_from_any_snapshot(sources, algorithm, thaw, monkeypatch):
    monkeypatch.setattr(replay_rings, "SEGMENT", 2_000)
    definition = Method(**HELD, thaw=thaw)
    one = job(seed=1, method="own", definition=definition, source=sources[algorithm], hyperparameters=HOWS[algorithm])
    assert not obstacle(one)
    watcher = Keeping(keep=True)
    outcome = run([one, job(seed=2, hyperparameters=HOWS[algorithm])], [watcher, Keeping()])[0]
    assert isinstance(outcome, TrainingOutcome), outcome
    assert outcome.freeze.before[REPLAY] == outcome.freeze.after[REPLAY]
    assert (REPLAY in outcome.freeze.until) == bool(thaw)
    for place in (3, len(watcher.snapshots) - 2):
        again = run([one], [Keeping(resume=watcher.snapshots[place])])[0]
        assert same(numbers(outcome), numbers(again))
        assert again.freeze == outcome.freeze


@pytest.mark.parametrize("thaw", [{}, {REPLAY: 0.5}], ids=["held", "thawed"])
def test_the_first_rows_stay_while_they_are_held(sources, thaw):
    definition = Method(**HELD, thaw=thaw)
    one = job(seed=1, method="own", definition=definition, source=sources["td3"], hyperparameters=HOWS["td3"])
    watcher = Keeping(keep=True)
    run([one], [watcher])
    first, last = (watcher.snapshots[place].arrays["replay.rows"] for place in (0, -1))
    assert (first[:256] == last[:256]).all() != bool(thaw)


def test_a_held_replay_that_was_changed_is_told(sources):
    cohort = alone(
        job(seed=1, method="own", definition=Method(**HELD), source=sources["td3"], hyperparameters=HOWS["td3"])
    )
    cohort.members[0].freeze_schedule.proof(cohort.components(0))
    cohort.algorithm.replay.rows[0, 3, 0, 2] += 1e-3
    with pytest.raises(RuntimeError, match=REPLAY):
        cohort.members[0].freeze_schedule.proof(cohort.components(0))


@ALGORITHMS
def test_moments_are_kept_and_copied(sources, algorithm):
    definition = Method(copy=("actor", "critic", "optimiser.critic"))
    source = sources[algorithm]
    one = job(seed=1, method="own", definition=definition, source=source, hyperparameters=HOWS[algorithm])
    assert not obstacle(one)
    cohort = Cohort(
        [CohortMember(i, one, spaces_of(one.env), Unwatched(), None) for i in range(2)], torch.device("cpu")
    )
    found = optimizer_state.take(cohort.algorithm.optimisers, 1, cohort.members[1].components())
    for name, value in source.memory["optimiser.critic"].items():
        assert torch.equal(found["optimiser.critic"][name], value)
        assert value.any()
    assert not any(value.any() for value in found["optimiser.actor"].values())

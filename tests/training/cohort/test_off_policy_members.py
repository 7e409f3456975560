"""What SAC and TD3 members become: the same in any company and after an interruption, and as their methods say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.mechanisms.quick import quick_first
from tests.training.cohort.small import Keeping, job, numbers, run, same
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.components import REPLAY
from trl_suite.networks.policy import Policy
from trl_suite.training import settings
from trl_suite.training.cohort.cohort_key import obstacle
from trl_suite.training.cohort.learning import replay_rings
from trl_suite.training.cohort.learning.source_gradients import DistillationGradient, examples
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.parameter_layout import actors
from trl_suite.training.cohort.stacked.stack import Stack
from trl_suite.training.sb3.loop import train as sb3_train
from trl_suite.training.training_run import DivergedError, TrainingOutcome, TrainingRun

SHARED = {"batch_size": 32, "hidden": (16, 16), "learning_starts": 64, "buffer_size": 300}  # a ring that is overwritten
HOWS = {
    "sac": SACHyperparameters(**SHARED, n_envs=2, train_freq=2, gradient_steps=2, normalise_observation=True),
    "td3": TD3Hyperparameters(**SHARED),
}
COPIED = ("actor", "critic", "temperature", "normaliser")
THAWS = Method(
    copy=COPIED, log_std="copied", freeze=("actor.trunk", "temperature"), thaw={"actor.trunk": 0.5, "temperature": 0.3}
)
NEIGHBOURS = [
    "scratch",
    "finetune",
    "feature-extraction",
    "critic-warmup",
    "discriminative-rate",
    "l2sp",
    "kickstart",
    "bc",
]
ALGORITHMS = pytest.mark.parametrize("algorithm", HOWS)
EnvMaker = Callable[..., TrainingRun]


@pytest.fixture(scope="module")
def sources() -> dict[str, Policy]:
    found = {}
    for algorithm, hyperparameters in HOWS.items():
        outcome = run([job(seed=7, hyperparameters=hyperparameters)])[0]
        assert isinstance(outcome, TrainingOutcome), outcome
        found[algorithm] = outcome.policy
    return found


@pytest.fixture
def make(sources) -> EnvMaker:
    def made(algorithm: str, seed: int = 0, method: str = "scratch", **more) -> TrainingRun:
        definition = more.get("definition") or methods.find(method)
        more = {"hyperparameters": HOWS[algorithm]} | more
        return job(seed, method, source=sources[algorithm] if definition.needs_source else None, **more)

    return made


@pytest.mark.parametrize(
    ("position", "algorithm"),
    [(3, "sac"), (0, "td3"), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((0, "sac"), (3, "td3")))],
)
def test_a_member_is_the_same_alone_and_among_others(make, algorithm, position):
    curves = [Keeping(), Keeping()]
    alone = run([make(algorithm, seed=3)], [curves[0]])[0]
    others = [make(algorithm, seed=index, method=name) for index, name in enumerate(NEIGHBOURS)]
    others[2] = make(algorithm, seed=2, env="inverted-pendulum.gravity-1.5", method="finetune")
    others.append(make(algorithm, seed=9, method="own", definition=THAWS))
    jobs = [*others[:position], make(algorithm, seed=3), *others[position:]]
    watchers = [Keeping() for _ in jobs]
    watchers[position] = curves[1]
    outcomes = run(jobs, watchers)
    assert same(numbers(alone), numbers(outcomes[position]))
    assert curves[0].curve == curves[1].curve
    thaws = run([jobs[-1]])[0]
    assert same(numbers(thaws), numbers(outcomes[-1]))
    assert thaws.freeze.until == outcomes[-1].freeze.until


@ALGORITHMS
@pytest.mark.slow
def test_it_holds_for_networks_of_the_usual_size(make, algorithm):
    hyperparameters = {"sac": SACHyperparameters, "td3": TD3Hyperparameters}[algorithm](
        learning_starts=256, buffer_size=2_000
    )
    jobs = [make(algorithm, seed=seed, env="hopper", hyperparameters=hyperparameters, steps=276) for seed in range(5)]
    every = run(jobs)
    for chosen in ([0], [4, 2]):
        for index, outcome in zip(chosen, run([jobs[index] for index in chosen]), strict=True):
            assert same(numbers(outcome), numbers(every[index]))


@ALGORITHMS
def test_a_neighbour_that_diverges_is_named_and_changes_nothing(make, algorithm):
    wild = Method(rate={"critic": 1e38, "actor": 1e38})
    found = run([make(algorithm, seed=3), make(algorithm, seed=1, method="own", definition=wild)])
    assert isinstance(found[1], DivergedError)
    assert same(numbers(found[0]), numbers(run([make(algorithm, seed=3)])[0]))


@pytest.mark.parametrize("algorithm", ["sac", pytest.param("td3", marks=pytest.mark.slow)])
def test_it_goes_on_from_a_snapshot_to_the_bit(make, algorithm, monkeypatch):
    monkeypatch.setattr(replay_rings, "SEGMENT", 2_000)
    names = ["scratch", "finetune", "feature-extraction", "l2sp", "kickstart", "own"]
    jobs = [
        make(algorithm, seed=seed, method=name, **({"definition": THAWS} if name == "own" else {}))
        for seed, name in enumerate(names)
    ]
    watchers = [Keeping(keep=True) for _ in names]
    whole = run(jobs, watchers)
    steps = [snapshot.step for snapshot in watchers[0].snapshots]
    for at in steps[::6]:
        again = [Keeping(resume=watcher.snapshots[steps.index(at)]) for watcher in watchers]
        for index, outcome in enumerate(run(jobs[::-1], again[::-1])[::-1]):
            assert same(numbers(outcome), numbers(whole[index])), (names[index], at)
            assert outcome.freeze == whole[index].freeze
            assert again[index].curve == watchers[index].curve[again[index]._resume.facts["measured"] :]


@ALGORITHMS
def test_a_part_of_the_replay_keeps_its_name_only_while_it_stays_the_same(make, algorithm, monkeypatch):
    monkeypatch.setattr(replay_rings, "SEGMENT", 2_000)
    watcher = Keeping(keep=True)
    run([make(algorithm)], [watcher])
    known = {}
    for snapshot in watcher.snapshots:
        for name, content in snapshot.segments.items():
            kept = known.setdefault(name, {key: value.copy() for key, value in content.items()})
            assert all(np.array_equal(value, content[key]) for key, value in kept.items()), name
    assert len(known) > 5


NAMES = [  # those of sequences alone: tests/mechanisms/test_packing.py and test_stage_memory.py
    name.replace("K", "1") for name, method in methods.shipped().items() if not methods.sequence_key(method)
]


ABLE = [name for name in NAMES if not obstacle(job(method=name, hyperparameters=HOWS["sac"]))]


@ALGORITHMS
@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, marks in quick_first(ABLE)])
def test_every_method_that_a_cohort_can_do_trains_and_proves_its_freeze(make, algorithm, name):
    one = make(algorithm, method=name)
    assert not obstacle(one)
    outcome = run([one])[0]
    assert outcome.freeze.holds
    shuffled = set(one.definition.shuffle and outcome.transplant.copied)
    held = set(outcome.transplant.frozen) - set(outcome.freeze.until) - shuffled
    for component in held & set(outcome.transplant.copied):
        for tensor, value in one.source.components[component].items():
            if tensor != "count":
                assert torch.equal(outcome.policy.components[component][tensor], value), component


@ALGORITHMS
def test_its_record_and_its_first_evaluation_are_sb3s(make, algorithm):
    one = make(algorithm, method="finetune", steps=32)
    ours, theirs = Keeping(), Keeping()
    cohort = run([one], [ours])[0]
    sb3 = sb3_train(one, theirs)
    assert cohort.transplant == sb3.transplant
    (_, mine), (_, yours) = ours.curve[0], theirs.curve[0]
    assert [round(one.value, 3) for one in mine] == [round(one.value, 3) for one in yours]


@ALGORITHMS
def test_a_transferred_policy_acts_before_learning_starts_and_scratch_draws_uniformly(make, algorithm):
    watchers = [Keeping(keep=True), Keeping(keep=True)]
    run([make(algorithm, method="finetune"), make(algorithm, method="scratch")], watchers)
    drawn = [
        next(one for one in watcher.snapshots if one.step == 64).arrays["replay.rows"][..., 4].ravel()[:30]
        for watcher in watchers
    ]
    assert np.std(drawn[1]) > 0.4
    assert not np.array_equal(*drawn)
    if algorithm == "td3":
        assert np.std(drawn[0]) < 0.3


@ALGORITHMS
def test_a_pull_on_weights_keeps_them_nearer_to_the_source(make, sources, algorithm):
    stiff = Method(copy=COPIED, log_std="copied", weight_regularizer=WeightRegularizer(strength=300.0, on=("actor",)))
    jobs = [make(algorithm, seed=1, method="finetune"), make(algorithm, seed=1, method="own", definition=stiff)]
    free, pulled = (_away(one, sources[algorithm]) for one in run(jobs))
    assert pulled < 0.5 * free


@ALGORITHMS
def test_a_pull_on_behaviour_adds_the_gradient_of_the_divergence(make, sources, algorithm):
    policy, other = sources[algorithm], run([make(algorithm, seed=4)])[0].policy
    layout = actors(algorithm, 4, 1, (16, 16))
    stack = Stack.zeros(layout, 3, torch.device("cpu"))
    stack.write(1, other.components)
    adam = Adam(stack, stack.zeros_like(), 1e-3, 1e-8)
    adam.gradient.flat.fill_(0.25)
    imitation = DistillationGradient(adam, "relu", algorithm, [1])
    states = np.random.default_rng(0).normal(size=(40, 4))
    source = source_actor(policy, policy.interface, _names(policy))
    shown = examples(source.gaussian(states), torch.as_tensor(other.normalised(states)))
    given = imitation.drawn([shown], torch.arange(40).view(1, 1, 40), [0.7])
    imitation.show({}, 0)
    imitation.add()
    assert (adam.gradient.flat == 0.25).all()  # nothing was given
    imitation.show(given, 0)
    imitation.add()
    parts = {
        name: {key: value.clone().requires_grad_() for key, value in tensors.items()}
        for name, tensors in other.components.items()
        if name.startswith(("actor.", "log_std"))
    }
    (0.7 * _divergence(policy, other, parts, states)).backward()
    for name, tensors in parts.items():
        for key, value in tensors.items():
            added = adam.gradient.member(1)[name][key] - 0.25
            assert torch.allclose(added, value.grad, atol=1e-5, rtol=1e-4), (name, key)
    assert torch.equal(adam.gradient.flat[:, 0], torch.full_like(adam.gradient.flat[:, 0], 0.25))


def _names(policy: Policy):
    return align(policy.interface, policy.interface)


def _divergence(source: Policy, other: Policy, parts, states) -> torch.Tensor:
    mean, log_std = source.gaussian(torch.as_tensor(source.normalised(states)), source.components)
    ours, our_log_std = other.gaussian(torch.as_tensor(other.normalised(states)), parts)
    if log_std is None:
        return (ours.tanh() - mean.tanh()).square().sum(1).mean()
    theirs, mine = (torch.distributions.Normal(m, s.exp()) for m, s in ((mean, log_std), (ours, our_log_std)))
    return torch.distributions.kl_divergence(theirs, mine).sum(1).mean()


def _away(outcome, source: Policy) -> float:
    pairs = [
        (outcome.policy.components[name]["weight"], tensors["weight"])
        for name, tensors in source.components.items()
        if name.startswith("actor.")
    ]
    return sum(float((ours - theirs).abs().sum()) for ours, theirs in pairs)


def test_a_replay_is_copied_and_learned_from_with_the_targets_rewards(sources):
    hyperparameters = HOWS["td3"]
    source = sb3_train(
        job(seed=7, hyperparameters=hyperparameters, source_training=settings.SourceTraining(keep=(REPLAY,))), Keeping()
    ).policy
    definition = Method(copy=("actor", "critic", REPLAY), keep={REPLAY: 0.5})
    one = job(seed=1, method="own", definition=definition, source=source, hyperparameters=hyperparameters)
    assert not obstacle(one)
    watcher = Keeping(keep=True)
    outcome = run([one, job(seed=2, hyperparameters=hyperparameters)], [watcher, Keeping()])[0]
    assert isinstance(outcome, TrainingOutcome), outcome
    assert REPLAY in outcome.transplant.copied
    first = watcher.snapshots[0].arrays
    count = int(first["replay.at"][0])
    assert count == 150
    stored = {tuple(row) for row in source.memory[REPLAY]["observations"].float().numpy().tolist()}
    assert all(tuple(row) in stored for row in first["replay.rows"][:count, 0, :4].tolist())
    assert same(numbers(outcome), numbers(run([one], [Keeping(resume=watcher.snapshots[9])])[0]))


@ALGORITHMS
def test_a_member_becomes_a_policy_and_a_zip_that_act_alike(make, algorithm, tmp_path):
    from stable_baselines3 import SAC, TD3

    policy = run([make(algorithm, seed=2)])[0].policy
    archive, *_ = policy.to_sb3(tmp_path / "policy.zip")
    model = {"sac": SAC, "td3": TD3}[algorithm].load(archive, device="cpu")
    states = np.random.default_rng(0).normal(size=(50, 4))
    ours, _ = policy.predict(states)
    assert np.array_equal(ours, model.predict(policy.normalised(states), deterministic=True)[0])


def test_drawn_actions_are_measured_too(make):
    watcher = Keeping()
    evaluation = settings.Evaluation(every=256, episodes=2, stochastic=True)
    run([make("sac", evaluation=evaluation)], [watcher])
    modes = [[one.mode for one in episodes] for _, episodes in watcher.curve]
    assert modes == 3 * [["deterministic", "deterministic", "stochastic", "stochastic"]]

"""Every method, and that its mechanism acts: not only that it runs."""

import gymnasium
import numpy as np
import pytest
import torch

from tests.training.conftest import CARD, EVERYTHING, FOLLOW, HOW, LESS, Steps, job, prepared
from trl_suite.errors import InputError
from trl_suite.networks import methods
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.card import Training
from trl_suite.networks.methods import BehaviourPull, Guide, Method, WeightPull
from trl_suite.training.guided import Guided
from trl_suite.training.home import home_states
from trl_suite.training.sb3 import model as sb3
from trl_suite.training.sb3.pull import divergence, fisher, strength_at
from trl_suite.training.sb3.train import train
from trl_suite.training.sb3.transplant import transplant
from trl_suite.worlds.env import make

PENDULUM = "inverted-pendulum"
SHIPPED = [name.replace("K", "1") for name in methods.shipped()]


@pytest.mark.parametrize("algorithm", ["ppo", "sac", pytest.param("td3", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_method_runs_proves_its_freeze_and_is_measured_on_the_same_grid(name, algorithm, sources):
    watcher = Steps()
    started = 128 if name == "scratch-equal-total" else 0
    outcome = train(job(algorithm, sources[algorithm], methods.find(name), method=name, head_start=started), watcher)
    assert watcher.seen == [0, 128, 256]
    assert outcome.steps == started + 256
    assert outcome.freeze.holds
    assert outcome.finished
    recorded = outcome.transplant.copied + outcome.transplant.synced + outcome.transplant.fresh
    plain = {component for component in recorded if not component.startswith(("replay", "optimiser."))}
    assert len(recorded) == len(set(recorded)), "no component stands in the record twice"
    assert set(outcome.policy.components) <= plain, "and none is left out"
    if methods.find(name).adapter is None:
        assert plain == set(outcome.policy.components)


@pytest.mark.parametrize("algorithm", HOW)
@pytest.mark.parametrize("states", ["own", "source"])
def test_a_behaviour_pull_brings_the_actions_to_the_sources(algorithm, states, sources):
    seen = home_states(sources[algorithm], 200, 1)

    def distance(method: Method) -> float:
        model, _, actor = prepared(algorithm, sources[algorithm], method)
        model.learn(512)
        return float(divergence(model, actor, seen).detach())

    pulled = Method(copy=("normaliser.observation",), behaviour=BehaviourPull(strength=20.0, states=states))
    assert distance(pulled) < 0.7 * distance(Method(copy=("normaliser.observation",)))


def test_the_divergence_of_a_policy_from_itself_is_nothing(sources):
    for algorithm in HOW:
        model, _, actor = prepared(algorithm, sources[algorithm], Method(copy=EVERYTHING))
        assert abs(float(divergence(model, actor, home_states(sources[algorithm], 50, 1)).detach())) < 1e-6, algorithm


def test_the_strength_of_a_pull_halves_and_stops_at_its_least():
    pull = BehaviourPull(strength=8.0, halving=0.1, least=0.5)
    assert [strength_at(pull, progress) for progress in (0.0, 0.1, 0.2, 1.0)] == pytest.approx([8, 4, 2, 0.5])
    assert strength_at(BehaviourPull(strength=3.0), 0.9) == 3.0


@pytest.mark.parametrize("algorithm", HOW)
def test_a_weight_pull_keeps_the_weights_nearer(algorithm, sources):
    def distance(strength: float | None) -> float:
        weights = WeightPull(strength=strength) if strength else None
        model, _, _ = prepared(algorithm, sources[algorithm], Method(copy=EVERYTHING, weights=weights))
        model.learn(256)
        after = sb3.components_of(model)["actor.trunk.0"]["weight"].detach()
        return float((after - sources[algorithm].components["actor.trunk.0"]["weight"]).norm())

    free, weak, strong = distance(None), distance(100.0), distance(1e9)
    assert strong < 1e-4 * free
    assert strong < weak < free


def test_the_fisher_information_is_that_of_the_definition(sources):
    policy = sources["ppo"]
    states = home_states(policy, 20, 2)
    found = fisher(policy, states)
    parameters = {
        name: {key: value.clone().requires_grad_() for key, value in tensors.items()}
        for name, tensors in policy.components.items()
        if name.startswith("actor.")
    }
    expected = {f"{name}.{key}": torch.zeros_like(v) for name, ts in parameters.items() for key, v in ts.items()}
    for state in torch.as_tensor(policy.normalised(states)):
        mean, log_std = policy.gaussian(state[None], {**policy.components, **parameters})
        flat = [value for tensors in parameters.values() for value in tensors.values()]
        slopes = torch.autograd.grad(mean[0, 0] / log_std[0, 0].exp(), flat)
        for name, slope in zip(expected, slopes, strict=True):
            expected[name] += slope.square() / len(states)
    average = torch.cat([value.flatten() for value in expected.values()]).mean()
    for name, value in expected.items():
        assert torch.allclose(found[name], value / average, rtol=1e-4, atol=1e-6), name


def test_a_thawed_layer_starts_to_move_at_its_step_and_not_before(sources):
    method = Method(copy=EVERYTHING, freeze=("actor.trunk", "log_std"), thaw={"actor.trunk.1": 0.5})
    model, course, _ = prepared("ppo", sources["ppo"], method)

    def moved(name: str) -> bool:
        after, before = sb3.components_of(model)[name], sources["ppo"].components[name]
        return not all(torch.equal(after[tensor], before[tensor]) for tensor in after)

    model.learn(128)
    course.advance(model.num_timesteps)
    assert model.num_timesteps == 128 == round(0.5 * 256)
    assert not moved("actor.trunk.1")
    model.learn(128, reset_num_timesteps=False)
    assert moved("actor.trunk.1")
    assert not moved("actor.trunk.0")
    proof = course.proof()
    assert proof.holds
    assert proof.until == {"actor.trunk.1": 128}


def test_a_thaw_of_something_that_is_not_frozen_is_refused(sources):
    method = Method(copy=EVERYTHING, freeze=("actor.trunk.0",), thaw={"critic.head": 0.5})
    with pytest.raises(InputError, match=r"no component 'critic.head'.*there are: actor.trunk.0"):
        prepared("ppo", sources["ppo"], method)


def test_shrink_and_perturb_lies_between_the_source_and_the_fresh_value(sources):
    fresh = sb3.components_of(sb3.build(LESS, HOW["ppo"], 3))["actor.trunk.0"]["weight"].detach()
    model, _, _ = prepared("ppo", sources["ppo"], Method(copy=("actor",), keep={"actor.trunk": 0.25}))
    components = sb3.components_of(model)
    source = sources["ppo"].components
    expected = 0.25 * source["actor.trunk.0"]["weight"] + 0.75 * fresh
    assert torch.allclose(components["actor.trunk.0"]["weight"], expected, atol=1e-7)
    assert torch.equal(components["actor.head"]["weight"], source["actor.head"]["weight"])


def test_a_shuffled_source_has_the_same_rows_in_another_order(sources):
    model, _, _ = prepared("ppo", sources["ppo"], methods.find("shuffled-source"))
    rows = sb3.components_of(model)["actor.trunk.0"]["weight"].detach()
    source = sources["ppo"].components["actor.trunk.0"]["weight"]
    assert not torch.equal(rows, source)
    assert torch.equal(rows[rows[:, 0].argsort()], source[source[:, 0].argsort()])
    other, _, _ = prepared("ppo", sources["ppo"], methods.find("shuffled-source"))
    assert torch.equal(rows, sb3.components_of(other)["actor.trunk.0"]["weight"]), "the seed decides the order"


def test_a_guide_opens_the_episodes_and_is_paid_from_the_budget(sources):
    model, course, _ = prepared("ppo", sources["ppo"], Method(guide=Guide(opening=0.5, until=1.0)))
    model.learn(128)
    assert course.guided_steps() > 0
    assert course.guided_steps() == 0, "each step is paid once"
    watcher = Steps()
    guided = train(job("ppo", sources["ppo"], Method(guide=Guide(opening=0.5, until=1.0)), steps=1024), watcher)
    assert watcher.seen[-1] == 1024
    assert guided.finished


def test_a_guided_episode_starts_where_the_source_hands_over():
    world = make(PENDULUM)
    acted = []

    def act(observation):
        acted.append(observation)
        return np.zeros(1, dtype=np.float32)

    guided = Guided(world, act, lambda: 5, np.random.default_rng(0))
    lengths = []
    for seed in range(60):
        before = len(acted)
        start, _ = guided.reset(seed=seed)
        lengths.append(len(acted) - before)
        plain, _ = make(PENDULUM).reset(seed=seed)
        assert np.array_equal(start, plain) == (lengths[-1] == 0)
    assert set(lengths) == {0, 1, 2, 3, 4, 5}
    assert guided.guided_steps == sum(lengths)


def test_a_guide_that_ends_the_episode_leaves_the_learner_a_new_one():
    def fall(observation):
        return np.full(1, 3.0, dtype=np.float32)

    guided = Guided(make(PENDULUM), fall, lambda: 200, np.random.default_rng(0))
    for seed in range(5):
        observation, _ = guided.reset(seed=seed)
        assert abs(observation[1]) < 0.2, "upright: not the state in which the pole fell"
        guided.step(np.zeros(1))


@pytest.mark.parametrize("name", ["critic-warmup", "kickstart", "jumpstart", "progressive", "scratch-equal-total"])
def test_a_method_that_acts_during_training_is_refused_outside_of_an_experiment(name, sources):
    model = sb3.build(FOLLOW, HOW["ppo"], 0)
    with pytest.raises(InputError, match=rf"'{name}' acts during training"):
        transplant(sources["ppo"], model, name)


def test_a_source_that_cannot_see_the_target_cannot_guide():
    hopper = sb3.policy_of(sb3.build("hopper", HOW["ppo"], 0), Training(env="hopper", seed=0, steps=0))
    walker = sb3.interface_of_model(sb3.build("walker2d", HOW["ppo"], 0))
    with pytest.raises(InputError, match=r"slots it cannot move: .*thigh_left"):
        source_actor(hopper, walker, align(hopper.interface, walker))


def test_hoppers_policy_moves_into_walker2d_by_name():
    hopper = sb3.policy_of(sb3.build("hopper", HOW["ppo"], 0), Training(env="hopper", seed=0, steps=0))
    model = sb3.build("walker2d", HOW["ppo"], 1)
    record = transplant(hopper, model, "finetune")
    assert all("left" in slot for slot in record.unmatched)
    assert len(record.unmatched) == 9
    seen = np.random.default_rng(0).normal(size=(16, 17))
    walker = sb3.policy_of(model, CARD)
    places = [walker.interface.observation_names.index(name) for name in hopper.interface.observation_names]
    ours = hopper.predict(seen[:, places])[0]
    theirs = walker.predict(seen)[0][:, :3]
    assert np.allclose(ours, theirs, atol=1e-6)
    assert gymnasium.spaces.utils.flatdim(model.action_space) == 6

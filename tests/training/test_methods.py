"""Every method, and that its mechanism acts: not only that it runs."""

import gymnasium
import numpy as np
import pytest
import torch

from tests.mechanisms.quick import quick_first
from tests.training.conftest import CARD, EVERYTHING, FOLLOW, HOW, LESS, Steps, job, prepared
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.distillation import Distillation, divergence
from trl_suite.mechanisms.guide_policy import GuidePolicy
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer, fisher
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.card import Training
from trl_suite.training import settings
from trl_suite.training.acting.source_states import visited_states
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.learner_actions import gaussian_of
from trl_suite.training.sb3.methods.method_callbacks import GuidedEnv
from trl_suite.training.sb3.methods.transplant import transplant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.rates import optimisers
from trl_suite.worlds.stepping.env import make

PENDULUM = "inverted-pendulum"
SHIPPED = [  # those of sequences alone: tests/mechanisms/test_packing.py and test_stage_memory.py
    name.replace("K", "1") for name, method in methods.shipped().items() if not methods.sequence_key(method)
]


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        *((name, "ppo") for name in SHIPPED),
        *(pytest.param(name, "sac", marks=marks) for name, marks in quick_first(SHIPPED)),
        *(pytest.param(name, "td3", marks=pytest.mark.slow) for name in SHIPPED),
    ],
)
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


@pytest.mark.parametrize(
    ("states", "algorithm"),
    [
        ("own", "ppo"), ("source", "ppo"), ("own", "sac"), ("source", "td3"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("source", "sac"), ("own", "td3"))),
    ],
)  # fmt: skip
def test_a_behaviour_pull_brings_the_actions_to_the_sources(algorithm, states, sources):
    seen = visited_states(sources[algorithm], 200, 1)

    def distance(method: Method) -> float:
        model, _, actor = prepared(algorithm, sources[algorithm], method)
        model.learn(512)
        return float(divergence(actor.gaussian(seen), gaussian_of(model)(seen)).detach())

    pulled = Method(copy=("normaliser.observation",), distillation=Distillation(strength=20.0, states=states))
    assert distance(pulled) < 0.7 * distance(Method(copy=("normaliser.observation",)))


def test_the_divergence_of_a_policy_from_itself_is_nothing(sources):
    for algorithm in HOW:
        model, _, actor = prepared(algorithm, sources[algorithm], Method(copy=EVERYTHING, log_std="copied"))
        states = visited_states(sources[algorithm], 50, 1)
        assert abs(float(divergence(actor.gaussian(states), gaussian_of(model)(states)).detach())) < 1e-6, algorithm


def test_the_strength_of_a_pull_halves_and_stops_at_its_least():
    pull = Distillation(strength=8.0, halving=0.1, least=0.5)
    assert [pull.at(progress) for progress in (0.0, 0.1, 0.2, 1.0)] == pytest.approx([8, 4, 2, 0.5])
    assert Distillation(strength=3.0).at(0.9) == 3.0


@pytest.mark.parametrize("algorithm", ["ppo", "sac", pytest.param("td3", marks=pytest.mark.slow)])
def test_a_weight_pull_keeps_the_weights_nearer(algorithm, sources):
    def distance(strength: float | None) -> float:
        weights = WeightRegularizer(strength=strength) if strength else None
        model, _, _ = prepared(
            algorithm, sources[algorithm], Method(copy=EVERYTHING, log_std="copied", weight_regularizer=weights)
        )
        model.learn(256)
        after = sb3.components_of(model)["actor.trunk.0"]["weight"].detach()
        return float((after - sources[algorithm].components["actor.trunk.0"]["weight"]).norm())

    free, weak, strong = distance(None), distance(100.0), distance(1e9)
    assert strong < 1e-4 * free
    assert strong < weak < free


def test_the_fisher_information_is_that_of_the_definition(sources):
    policy = sources["ppo"]
    states = visited_states(policy, 20, 2)
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
    method = Method(copy=EVERYTHING, log_std="copied", freeze=("actor.trunk", "log_std"), thaw={"actor.trunk.1": 0.5})
    model, callbacks, _ = prepared("ppo", sources["ppo"], method)

    def moved(name: str) -> bool:
        after, before = sb3.components_of(model)[name], sources["ppo"].components[name]
        return not all(torch.equal(after[tensor], before[tensor]) for tensor in after)

    model.learn(128)
    callbacks.advance(model.num_timesteps)
    assert model.num_timesteps == 128 == round(0.5 * 256)
    assert not moved("actor.trunk.1")
    model.learn(128, reset_num_timesteps=False)
    assert moved("actor.trunk.1")
    assert not moved("actor.trunk.0")
    proof = callbacks.proof()
    assert proof.holds
    assert proof.until == {"actor.trunk.1": 128}


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_thawed_layer_takes_no_full_sized_first_step(algorithm, sources):
    """Adam's first step is as long as the rate, for every weight: it begins at a tenth of it, and rises over ten."""
    method = Method(copy=EVERYTHING, log_std="copied", freeze=("actor.trunk.1",), thaw={"actor.trunk.1": 0.0})
    model, callbacks, _ = prepared(algorithm, sources[algorithm], method)
    weight, rate = sb3.components_of(model)["actor.trunk.1"]["weight"], HOW[algorithm].learning_rate
    callbacks.advance(0)
    steps, before = [], weight.detach().clone()

    def note(*_):
        steps.append(float((weight.detach() - before).abs().max()))
        before.copy_(weight.detach())

    optimisers(model)[0].register_step_post_hook(note)
    model.learn(128)
    assert 0.09 * rate < steps[0] < 0.101 * rate
    assert steps[0] < steps[4] < rate
    assert max(steps[10:]) > 0.5 * rate


def test_a_thaw_of_something_that_is_not_frozen_is_refused(sources):
    method = Method(copy=EVERYTHING, log_std="copied", freeze=("actor.trunk.0",), thaw={"critic.head": 0.5})
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
    model, callbacks, _ = prepared("ppo", sources["ppo"], Method(guide_policy=GuidePolicy(opening=0.5, until=1.0)))
    model.learn(128)
    assert callbacks.guided_steps() > 0
    assert callbacks.guided_steps() == 0, "each step is paid once"
    watcher = Steps()
    guided = train(
        job("ppo", sources["ppo"], Method(guide_policy=GuidePolicy(opening=0.5, until=1.0)), steps=1024), watcher
    )
    assert watcher.seen[-1] == 1024
    assert guided.finished


def test_a_guided_episode_starts_where_the_source_hands_over():
    world = make(PENDULUM)
    acted = []

    def act(observation):
        acted.append(observation)
        return np.zeros(1, dtype=np.float32)

    guided = GuidedEnv(world, act, lambda: 5, np.random.default_rng(0))
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

    guided = GuidedEnv(make(PENDULUM), fall, lambda: 200, np.random.default_rng(0))
    for seed in range(5):
        observation, _ = guided.reset(seed=seed)
        assert abs(observation[1]) < 0.2, "upright: not the state in which the pole fell"
        guided.step(np.zeros(1))


@pytest.mark.parametrize("name", ["critic-warmup", "kickstart", "jsrl", "progressive", "scratch-equal-total"])
def test_a_method_that_acts_during_training_is_refused_outside_of_an_experiment(name, sources):
    model = sb3.build(FOLLOW, HOW["ppo"], 0)
    with pytest.raises(InputError, match=rf"'{name}': acts during training"):
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


@pytest.mark.parametrize(
    ("source", "target", "alias", "shared"),
    [
        ("hopper", "walker2d", {}, 3),
        ("hopper", "walker2d", {"thigh_left_joint": "thigh_joint", "leg_left_joint": "leg_joint"}, 5),
        ("legged-ant?shape={\"legs\":3}", "legged-ant?shape={\"legs\":6}", {}, 6),
        ("link-reacher?shape={\"links\":2}", "link-reacher?shape={\"links\":3}", {}, 2),
        ("link-swimmer?shape={\"links\":3}", "link-swimmer?shape={\"links\":5}", {}, 2),
        ("inverted-pendulum", "inverted-double-pendulum", {}, 1),
        (
            "half-cheetah",
            "walker2d",
            {
                "thigh_joint": "bthigh", "leg_joint": "bshin", "foot_joint": "bfoot",
                "thigh_left_joint": "fthigh", "leg_left_joint": "fshin", "foot_left_joint": "ffoot",
            },
            6,
        ),
    ],
)  # fmt: skip
def test_a_policy_moves_between_robots_and_goes_on_learning(source, target, alias, shared):
    policy = sb3.policy_of(sb3.build(source, HOW["ppo"], 0), Training(env=source, seed=0, steps=0))
    model = sb3.build(target, HOW["ppo"], 1)
    record = transplant(policy, model, "finetune", alias)
    interface = sb3.interface_of_model(model)
    alignment = align(policy.interface, interface, alias)
    assert sum(index is not None for index in alignment.action) == shared
    assert set(record.copied) == set(policy.components)
    assert {"critic.trunk.0", "normaliser.observation"} <= set(record.copied)
    model.learn(128)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_source_with_inverted_actions_pushes_the_other_way(algorithm):
    """The negative control: where the action is the whole policy's meaning, its opposite is what is transplanted."""
    worlds = [make(address) for address in (PENDULUM, f"{PENDULUM}.inverted-actions")]
    moved = []
    for world, push in zip(worlds, (1.0, -1.0), strict=True):
        world.reset(seed=0)
        moved.append(world.step(np.array([push], dtype=np.float32))[0])
    assert np.allclose(moved[0], moved[1]), "the same motion from the opposite action"
    source = sb3.policy_of(sb3.build(f"{PENDULUM}.inverted-actions", HOW[algorithm], 0), CARD)
    model = sb3.build(PENDULUM, HOW[algorithm], 1)
    assert not transplant(source, model, "finetune").unmatched


def test_the_optimum_is_reached_and_finetuning_starts_from_it():
    """Follow pays 0 at best; a policy that does nothing gets -16/3 per episode."""
    hyperparameters = PPOHyperparameters(n_envs=8, n_steps=32, batch_size=64, hidden=(16,), learning_rate=3e-3)
    evaluation = settings.Evaluation(every=8192, episodes=5)
    scratch = Steps()
    learned = train(
        job("ppo", None, Method(), env=FOLLOW, hyperparameters=hyperparameters, steps=8192, evaluation=evaluation),
        scratch,
    ).policy
    assert scratch.returns[0] < -3
    assert scratch.returns[-1] > -0.3
    tuned = Steps()
    finetune = methods.find("finetune")
    train(
        job("ppo", learned, finetune, env=FOLLOW, hyperparameters=hyperparameters, steps=256, evaluation=evaluation),
        tuned,
    )
    assert tuned.returns[0] == scratch.returns[-1]

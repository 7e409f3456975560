"""Adapters: what they begin as, what they may move, and that an ordinary network is stored with the same bits."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3

from tests.conftest import interface, random_components
from tests.training.conftest import CARD, EVERYTHING, FOLLOW, HOW, LESS, Steps, job, numbers, prepared
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import Lateral, LearnedInput, LowRank, Residual, additions
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.align import align
from trl_suite.networks.policy import load
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.transplant import implant, transplant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.rates import optimisers

ALGORITHMS = pytest.mark.parametrize("algorithm", ["ppo", "sac", pytest.param("td3", marks=pytest.mark.slow)])
ADAPTERS = [name for name, method in methods.shipped().items() if method.adapter]
SEEN = np.random.default_rng(0).normal(size=(64, 3))


def by_model(model, seen=SEEN):
    wrapper = model.get_vec_normalize_env()
    shown = seen.astype(np.float32) if wrapper is None else wrapper.normalize_obs(seen)
    return model.predict(shown, deterministic=True)[0]


@ALGORITHMS
@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_stored_gives_the_bits_of_the_adapted_model(name, algorithm, sources, tmp_path):
    method = methods.find(name)
    model, callbacks, _ = prepared(algorithm, sources[algorithm], method)
    before = numbers(model)
    if not method.compress:  # which takes the learner's place
        callbacks.advance(256)  # whatever waits, waits no longer
    model.learn(256 if algorithm == "ppo" else 100)
    moved = {key.rpartition(".")[0] for key, value in numbers(model).items() if not torch.equal(value, before[key])}
    assert any(component.startswith(("adapter.", "actor.")) for component in moved)
    assert not any(component.startswith("source.") for component in moved)
    policy = load(sb3.policy_of(model, CARD).save(tmp_path / "policy"))
    assert not any(component.startswith("adapter.") for component in policy.components)
    assert np.array_equal(policy.predict(SEEN)[0], by_model(model))
    generator = [torch.Generator().manual_seed(1) for _ in range(2)]
    drawn = [policy.predict(SEEN, deterministic=False, generator=one)[0] for one in generator]
    assert np.array_equal(*drawn)


@pytest.mark.parametrize("algorithm", ["ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sac", "td3"))])
@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "residual"])
def test_what_was_adapted_is_exported_as_an_ordinary_zip(name, algorithm, sources, tmp_path):
    model, _, _ = prepared(algorithm, sources[algorithm], methods.find(name))
    model.learn(128)
    sb3.policy_of(model, CARD).to_sb3(tmp_path / "policy.zip")
    again = {"ppo": PPO, "sac": SAC, "td3": TD3}[algorithm].load(tmp_path / "policy.zip", device="cpu")
    wrapper = model.get_vec_normalize_env()
    shown = SEEN.astype(np.float32) if wrapper is None else wrapper.normalize_obs(SEEN)
    assert np.array_equal(again.predict(shown, deterministic=True)[0], by_model(model))


def test_a_residual_is_kept_as_a_folder_and_its_export_is_refused_by_name(sources, tmp_path):
    model, _, _ = prepared("ppo", sources["ppo"], methods.find("residual"))
    policy = load(sb3.policy_of(model, CARD).save(tmp_path / "policy"))
    assert policy.card.network.residual == 0.5
    with pytest.raises(InputError, match=r"a residual policy is .* not exported"):
        policy.to_sb3(tmp_path / "policy.zip")
    target = sb3.build(LESS, HOW["ppo"], 1)
    with pytest.raises(InputError, match="the source is a residual policy"):
        transplant(policy, target, "finetune")
    implant(policy, target, "kickstart", methods.find("kickstart"), None, 0)  # it can be imitated


@ALGORITHMS
@pytest.mark.parametrize("name", ["learned-adapter", "lora", "residual"])
def test_an_adapter_begins_as_the_source_itself(name, algorithm, sources):
    model, _, _ = prepared(algorithm, sources[algorithm], methods.find(name))
    assert np.allclose(by_model(model), sources[algorithm].predict(SEEN)[0], atol=1e-6)


@ALGORITHMS
def test_a_progressive_net_begins_as_scratch(algorithm, sources):
    model, _, _ = prepared(algorithm, sources[algorithm], methods.find("progressive"))
    scratch = sb3.build(LESS, HOW[algorithm], 3)
    implant(sources[algorithm], scratch, "statistics-only", methods.find("statistics-only"), None, 0)
    assert np.allclose(by_model(model), by_model(scratch), atol=1e-6)
    if algorithm != "ppo":  # whose statistics alone are the source's
        assert np.allclose(by_model(model), by_model(sb3.build(LESS, HOW[algorithm], 3)), atol=1e-6)


@ALGORITHMS
def test_a_progressive_net_uses_the_sources_column(algorithm, sources):
    """In a public implementation the first column is never called."""
    model, _, _ = prepared(algorithm, sources[algorithm], methods.find("progressive"))
    model.learn(256 if algorithm == "ppo" else 100)
    laterals = {name: value for name, value in numbers(model).items() if name.endswith("lateral")}
    assert "adapter.actor.trunk.1.lateral" in laterals
    assert "adapter.actor.head.lateral" in laterals
    assert all(bool(value.any()) for value in laterals.values()), "the source's features were taken in everywhere"
    before = by_model(model)
    with torch.no_grad():
        for tensors in (sb3.components_of(model)[f"source.actor.trunk.{layer}"] for layer in (0, 1)):
            tensors["weight"].zero_()
            tensors["bias"].zero_()
    assert not np.allclose(by_model(model), before, atol=1e-4), "the actions depend on the source's column"


@ALGORITHMS
def test_the_source_s_column_gets_no_gradient_and_no_target_follows_it(algorithm, sources):
    model, callbacks, _ = prepared(algorithm, sources[algorithm], methods.find("progressive"))
    model.learn(256 if algorithm == "ppo" else 100)
    proof = callbacks.proof()
    assert proof.holds
    assert {"source.actor.trunk.0", "source.critic.trunk.1"} <= set(proof.after)
    optimised = {id(p) for one in optimisers(model) for group in one.param_groups for p in group["params"]}
    assert not optimised & {id(value) for _, value in model.policy.named_buffers()}
    for layer in (0, 1):
        for name, value in sources[algorithm].components[f"actor.trunk.{layer}"].items():
            assert torch.equal(sb3.components_of(model)[f"source.actor.trunk.{layer}"][name], value)


@ALGORITHMS
@pytest.mark.parametrize("rank", [1, 2])
def test_a_low_rank_product_moves_the_weights_by_its_rank_and_no_more(algorithm, rank, sources):
    definition = Method(
        copy=EVERYTHING, log_std="copied", freeze=("actor.trunk", "critic.trunk"), adapter=LowRank(rank=rank)
    )
    model, callbacks, _ = prepared(algorithm, sources[algorithm], definition)
    model.learn(256 if algorithm == "ppo" else 100)
    assert callbacks.proof().holds, "the weights beneath are the source's"
    folded = sb3.policy_of(model, CARD).components
    for name in ("actor.trunk.1", "critic.trunk.1"):
        for tensor, value in sources[algorithm].components[name].items():
            moved = folded[name][tensor] - value
            assert bool(moved.any()), f"{name}.{tensor}"
            if tensor.endswith("weight"):
                assert int(torch.linalg.matrix_rank(moved, rtol=1e-3)) == rank


@ALGORITHMS
def test_a_learned_input_leads_into_the_sources_own_layer(algorithm, sources):
    model, callbacks, _ = prepared(algorithm, sources[algorithm], methods.find("learned-adapter"))
    assert torch.equal(numbers(model)["adapter.actor.trunk.0.map"], torch.eye(3))
    model.learn(256 if algorithm == "ppo" else 100)
    assert callbacks.proof().holds
    learned = numbers(model)["adapter.actor.trunk.0.map"]
    assert not torch.equal(learned, torch.eye(3))
    first = sources[algorithm].components["actor.trunk.0"]["weight"]
    folded = sb3.policy_of(model, CARD).components["actor.trunk.0"]["weight"]
    assert torch.equal(folded, first @ learned)
    assert not torch.equal(numbers(model)["actor.head.weight"], sources[algorithm].components["actor.head"]["weight"])


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_learned_input_joins_robots_that_share_no_name(algorithm):
    """An output behind the source's one action would make all of Hopper's the same number; a head does not."""
    pendulum = sb3.policy_of(sb3.build("inverted-pendulum", HOW[algorithm], 0), CARD)
    model = sb3.build("hopper", HOW[algorithm], 1)
    with pytest.raises(InputError, match="have no counterpart"):
        transplant(pendulum, model, "feature-extraction")
    record = implant(pendulum, model, "learned-adapter", methods.find("learned-adapter"), None, 0)
    assert len(record.unmatched) == 11 + 3
    before = numbers(model)
    model.learn(128)
    after = numbers(model)
    assert not torch.equal(after["adapter.actor.trunk.0.map"], before["adapter.actor.trunk.0.map"])
    assert torch.equal(after["actor.trunk.0.weight"], pendulum.components["actor.trunk.0"]["weight"])
    policy = sb3.policy_of(model, CARD)
    seen = np.random.default_rng(0).normal(size=(200, 11))
    means, _ = policy.gaussian(torch.as_tensor(policy.normalised(seen)), policy.components)
    assert int(torch.linalg.matrix_rank(means - means.mean(0), rtol=1e-4)) == 3


def test_the_map_starts_as_the_names_say_and_a_shared_slot_is_shared():
    source, target = interface(["a", "b"], ["u"]), interface(["b", "new", "a", "other"], ["u"])
    alignment = align(source, target, {"other": "a"}, learned=True)
    generator = torch.Generator().manual_seed(0)
    ours = random_components(4, 1, (4, 4), generator)
    added = additions(LearnedInput(), ours, random_components(2, 1, (4, 4), generator), alignment, generator)
    expected = torch.tensor([[0.0, 0.0, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0]])
    assert torch.equal(added["adapter.actor.trunk.0"]["map"], expected)


@ALGORITHMS
def test_a_residual_corrects_within_its_bound_once_the_critic_is_ready(algorithm, sources):
    watcher = Steps()
    definition = methods.find("residual")
    trained = train(job(algorithm, sources[algorithm], definition, steps=256), watcher).policy
    seen = torch.as_tensor(trained.normalised(SEEN))
    ours = trained.gaussian(seen, trained.components)[0]
    theirs = sources[algorithm].gaussian(seen, sources[algorithm].components)[0]
    assert 0 < float((ours - theirs).abs().max()) <= 0.5
    waiting, callbacks, _ = prepared(algorithm, sources[algorithm], definition, steps=10_000)
    waiting.learn(256)
    assert torch.equal(numbers(waiting)["actor.head.weight"], torch.zeros(1, 8)), "the critic burns in first"
    assert callbacks.proof().holds


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (Method(adapter=Lateral()), "copy and freeze normaliser.observation"),
        (
            Method(copy=("normaliser",), normaliser="frozen", thaw={"normaliser": 0.5}, adapter=Residual()),
            "copy and freeze normaliser.observation",
        ),
        (Method(copy=("normaliser",), adapter=LearnedInput()), "copy actor.trunk.0, critic.trunk.0 too"),
        (Method(copy=("critic",), adapter=LearnedInput(on=("actor",))), "copy actor.trunk.0 too"),
    ],
)
def test_an_adapter_around_what_is_not_the_source_is_refused(definition, message, sources):
    with pytest.raises(InputError, match=message):
        prepared("ppo", sources["ppo"], definition)


def test_columns_of_other_depths_are_refused(sources):
    model = sb3.build(FOLLOW, type(HOW["td3"])(hidden=(8,), buffer_size=100), 0)
    with pytest.raises(InputError, match="the actor's trunk has 2 layers in the source and 1 in the target"):
        implant(sources["td3"], model, "progressive", methods.find("progressive"), None, 0)


def test_columns_of_other_widths_stand_beside_each_other(sources):
    model = sb3.build(FOLLOW, type(HOW["td3"])(hidden=(5, 6), buffer_size=100, batch_size=16, learning_starts=20), 0)
    implant(sources["td3"], model, "progressive", methods.find("progressive"), None, 0)
    model.learn(60)
    policy = sb3.policy_of(model, CARD)
    assert policy.card.network.actor == (13, 14)
    assert np.array_equal(policy.predict(SEEN)[0], by_model(model))


def test_an_adapter_is_given_in_an_experiment_alone(sources):
    with pytest.raises(InputError, match=r"'lora': acts during training: .* \(adapter\)"):
        transplant(sources["ppo"], sb3.build(FOLLOW, HOW["ppo"], 0), "lora")


def test_fisher_information_with_an_adapter_is_refused():
    regularizer = {"strength": 1.0, "fisher": True}
    with pytest.raises(InputError, match=r"weight_regularizer.fisher is of the source's own layers"):
        methods.read({"mine": {"weight_regularizer": regularizer, "adapter": {"kind": "lateral"}}}, "x.toml")


def test_a_wrong_kind_lists_those_that_exist():
    with pytest.raises(InputError, match=r"there is no 'low-rnk' \(did you mean 'low-rank'\?\); known: learned-input"):
        methods.read({"mine": {"adapter": {"kind": "low-rnk"}}}, "x.toml")


def test_a_residual_of_actions_that_the_source_has_not_is_refused_by_their_names():
    hopper = sb3.policy_of(sb3.build("hopper", HOW["ppo"], 0), CARD)
    with pytest.raises(InputError, match="has none for thigh_left_joint.control, leg_left_joint.control, foot_left"):
        implant(hopper, sb3.build("walker2d", HOW["ppo"], 0), "residual", methods.find("residual"), None, 0)

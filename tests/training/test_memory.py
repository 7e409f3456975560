"""Replay and optimisers as components: by name, off by default, exact or refused."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from tests.training.conftest import CARD, EVERYTHING, FOLLOW, HOW, LESS, OnDemand, job, prepared
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.errors import InputError
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.components import REPLAY
from trl_suite.networks.policy import Policy, load
from trl_suite.training import settings
from trl_suite.training.from_scratch import Unwatched
from trl_suite.training.reward_relabelling import relabelled
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.transplant import implant, transplant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.rates import optimisers
from trl_suite.worlds.stepping.env import make

SWIMMER = "swimmer"
OFF = pytest.mark.parametrize("algorithm", ["sac", pytest.param("td3", marks=pytest.mark.slow)])
KEEP = settings.SourceTraining(keep=("optimiser", "replay"))


def source_of(algorithm: str, env: str = FOLLOW, steps: int = 120) -> Policy:
    keep = KEEP if algorithm != "ppo" else settings.SourceTraining(keep=("optimiser",))
    task = job(algorithm, None, Method(), env=env, steps=steps, seed=7, source_training=keep)
    return train(task, Unwatched()).policy


@pytest.fixture(scope="module")
def remembering() -> dict[str, Policy]:
    return OnDemand(lambda algorithm: source_of(algorithm, steps=256 if algorithm == "ppo" else 120))


@pytest.mark.parametrize("algorithm", ["ppo", "sac", pytest.param("td3", marks=pytest.mark.slow)])
def test_what_is_remembered_survives_the_folder(algorithm, remembering, tmp_path):
    source = remembering[algorithm]
    again = load(source.save(tmp_path / "policy"))
    assert set(again.memory) == set(source.memory)
    assert ("replay" in again.memory) == (algorithm != "ppo")
    for name, tensors in source.memory.items():
        assert all(torch.equal(again.memory[name][key], value) for key, value in tensors.items()), name
    assert again.digest == source.digest
    replace(again, memory={}).save(tmp_path / "policy")
    assert not (tmp_path / "policy" / "memory.safetensors").exists()
    assert not load(tmp_path / "policy").memory


def test_a_memory_that_was_changed_or_is_not_the_cards_is_refused(remembering, tmp_path):
    folder = remembering["sac"].save(tmp_path / "policy")
    path = folder / "memory.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="its sha256 is not the one in card.toml"):
        load(folder)
    path.unlink()
    with pytest.raises(InputError, match="memory.safetensors: no such file"):
        load(folder)
    lying = dict(remembering["sac"].memory["replay"]) | {"rewards": torch.full((120,), float("nan"))}
    replace(remembering["sac"], memory={"replay": lying}).save(folder)
    with pytest.raises(InputError, match="replay/rewards holds numbers that are not finite"):
        load(folder)
    short = dict(remembering["sac"].memory["replay"])
    short["actions"] = short["actions"][:5]
    replace(remembering["sac"], memory={"replay": short}).save(folder)
    with pytest.raises(InputError, match=r"replay/actions is torch.float32 \(5, 1\)"):
        load(folder)


@OFF
def test_a_replay_is_copied_transition_by_transition(algorithm, remembering):
    source = remembering[algorithm]
    model, _, _ = prepared(algorithm, source, Method(copy=("replay",)), env=FOLLOW)
    buffer, theirs = model.replay_buffer, source.memory["replay"]
    assert buffer.pos == 120
    held = {tuple(row) for row in buffer.observations[:120, 0]}
    assert held == {tuple(row) for row in theirs["observations"].numpy()}
    for row in range(0, 120, 10):
        at = int(np.flatnonzero((theirs["observations"].numpy() == buffer.observations[row, 0]).all(1))[0])
        assert np.array_equal(buffer.actions[row, 0], theirs["actions"][at].numpy())
        assert buffer.rewards[row, 0] == theirs["rewards"][at]
        assert np.array_equal(buffer.next_observations[row, 0], theirs["next_observations"][at].numpy())


@OFF
def test_replay_and_moments_stand_in_the_record_and_are_fresh_by_default(algorithm, remembering):
    model = sb3.build(FOLLOW, HOW[algorithm], 3)
    record = transplant(remembering[algorithm], model, Method(copy=EVERYTHING, log_std="copied"))
    assert {"replay", "optimiser.actor", "optimiser.critic"} <= set(record.fresh) & set(record.left_over)
    assert model.replay_buffer.size() == 0
    assert not model.actor.optimizer.state
    record = transplant(remembering[algorithm], model, Method(copy=("replay", "optimiser.actor")))
    assert record.copied == ("replay", "optimiser.actor")
    assert model.replay_buffer.size() == 120


@pytest.mark.parametrize("algorithm", ["ppo", "sac", pytest.param("td3", marks=pytest.mark.slow)])
def test_moments_are_copied_to_the_bit_and_the_rate_stays(algorithm, remembering):
    source = remembering[algorithm]
    model, _, _ = prepared(
        algorithm, source, Method(copy=(*EVERYTHING, "optimiser.critic"), log_std="copied"), env=FOLLOW
    )
    found = source_memory.optimizer_state(model)
    assert all(
        torch.equal(value, source.memory["optimiser.critic"][key]) for key, value in found["optimiser.critic"].items()
    )
    assert not any(bool(value.any()) for value in found["optimiser.actor"].values())
    assert any(bool(value.any()) for value in found["optimiser.critic"].values())
    rates = {group["lr"] for optimiser in optimisers(model) for group in optimiser.param_groups}
    assert rates == {HOW[algorithm].learning_rate}
    model.learn(128)


def test_moments_of_other_slots_or_shapes_are_refused(remembering):
    source = remembering["sac"]
    slots = source.card.interface
    turned = msgspec.structs.replace(slots, observation=slots.observation[::-1])
    swapped = replace(source, card=msgspec.structs.replace(source.card, interface=turned))
    with pytest.raises(InputError, match="moments are copied between equal interfaces"):
        prepared("sac", swapped, Method(copy=("optimiser",)), env=FOLLOW)
    model = sb3.build(FOLLOW, SACHyperparameters(hidden=(8, 9), buffer_size=10), 0)
    with pytest.raises(InputError, match=r"optimiser.actor.actor.trunk.1.weight.exp_avg: \(8, 8\) from the source"):
        transplant(source, model, Method(copy=("optimiser.actor",)))


def test_a_share_of_them_is_kept(remembering):
    definition = Method(copy=("replay", "optimiser.critic"), keep={"replay": 0.25, "optimiser.critic": 0.5})
    model, _, _ = prepared("sac", remembering["sac"], definition, env=FOLLOW)
    assert model.replay_buffer.size() == 30
    key = "critic.head.q0_weight.exp_avg"
    assert torch.allclose(
        source_memory.optimizer_state(model)["optimiser.critic"][key],
        remembering["sac"].memory["optimiser.critic"][key] / 2,
    )


@OFF
def test_a_frozen_replay_is_never_overwritten(algorithm, remembering):
    small = type(HOW[algorithm])(hidden=(8, 8), buffer_size=150, batch_size=16, learning_starts=20)
    for freeze in (("replay",), ()):
        definition = Method(copy=("replay",), freeze=freeze)
        model, callbacks, _ = prepared(algorithm, remembering[algorithm], definition, env=FOLLOW, hyperparameters=small)
        before = model.replay_buffer.observations[:120].copy()
        model.learn(80)  # more than fit beside what was given
        assert np.array_equal(model.replay_buffer.observations[:120], before) == bool(freeze)
        assert callbacks.proof().holds
        assert set(callbacks.proof().after) == set(freeze)


@pytest.mark.parametrize(
    ("algorithm", "definition", "message"),
    [
        ("ppo", Method(copy=("replay",)), "no component 'replay'"),
        ("sac", Method(copy=("optimiser",), freeze=("optimiser.actor",)), "optimiser.actor cannot be frozen"),
        ("sac", Method(freeze=("replay",)), "a replay is frozen only where it is copied"),
        ("sac", Method(copy=("optimser",)), r"no component 'optimser' \(did you mean 'optimiser"),
    ],
)
def test_what_cannot_be_done_is_refused(algorithm, definition, message, remembering):
    with pytest.raises(InputError, match=message):
        prepared(algorithm, remembering[algorithm], definition, env=FOLLOW)


def test_a_source_that_kept_nothing_says_so(sources):
    for name in ("replay", "optimiser.actor"):
        with pytest.raises(InputError, match=f"the source has kept no {name}: make it in an experiment"):
            prepared("sac", sources["sac"], Method(copy=(name,)))


def test_a_replay_that_would_fill_the_learners_is_refused_before_anything_is_written(remembering):
    model = sb3.build(FOLLOW, SACHyperparameters(hidden=(8, 8), buffer_size=100), 0)
    before = sb3.policy_of(model, CARD).digest
    with pytest.raises(InputError, match=r"120 transitions would leave no room .*keep = \{ replay = 0.1 \}"):
        transplant(remembering["sac"], model, Method(copy=("actor", "replay")))
    assert sb3.policy_of(model, CARD).digest == before


def test_a_foreign_reward_is_not_guessed(remembering):
    with pytest.raises(InputError, match="the terms of a foreign env's reward are not known"):
        prepared("sac", remembering["sac"], Method(copy=("replay",)), env=LESS)


# --- rewards of another task ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swimming() -> Policy:
    return source_of("sac", SWIMMER)


@pytest.mark.parametrize("target", ["swimmer.backwards", 'swimmer?reward={"effort":3.0}', "swimmer.viscosity-0.5"])
def test_rewards_are_those_that_the_target_would_have_paid(target, swimming):
    """The same actions from the same first state: the bodies move alike, and only the pay differs."""
    world = make(target if "viscosity" not in target else SWIMMER)
    other = make(SWIMMER)
    seed = 5
    world.reset(seed=seed), other.reset(seed=seed)
    generator, paid, terms = np.random.default_rng(0), [], []
    for _ in range(40):
        action = generator.uniform(-1, 1, world.action_space.shape).astype(np.float32)
        paid.append(world.step(action)[1])
        _, reward, _, _, info = other.step(action)
        terms.append(
            {"rewards": reward}
            | {f"term.{k.removeprefix('reward_')}": v for k, v in info.items() if k.startswith("reward_")}
        )
    replay = {key: torch.tensor([one[key] for one in terms]) for key in terms[0]}
    assert np.allclose(relabelled(replay, SWIMMER, target).numpy(), paid, rtol=1e-6, atol=1e-9)


def test_a_source_keeps_the_terms_of_its_rewards(swimming):
    replay = swimming.memory["replay"]
    names = sorted(name for name in replay if name.startswith("term."))
    assert names
    assert torch.allclose(sum(replay[name] for name in names).float(), replay["rewards"], atol=1e-6)
    model, _, _ = prepared("sac", swimming, Method(copy=("replay",)), env="swimmer.backwards")
    assert sorted(model.replay_buffer.rewards[:120, 0]) != sorted(replay["rewards"].tolist())


def test_a_reward_that_the_terms_do_not_tell_is_refused(swimming):
    with pytest.raises(InputError, match="no term like its 'forward'"):
        relabelled(swimming.memory["replay"], SWIMMER, "swimmer?target_speed=0.5")


def test_a_replay_goes_only_where_the_same_is_seen_and_moved(swimming):
    model = sb3.build("swimmer.inverted-actions", HOW["sac"], 0)
    implant(swimming, model, "own", Method(copy=(REPLAY,)), None, 0)
    pendulum = source_of("sac", "inverted-pendulum", 60)
    wide = sb3.build("inverted-double-pendulum", HOW["sac"], 0)
    with pytest.raises(InputError, match="sees no more than the source's"):
        implant(pendulum, wide, "own", Method(copy=(REPLAY,)), None, 0)


def test_memory_of_the_model_can_be_named_by_its_beginning(remembering):
    model = sb3.build(FOLLOW, HOW["sac"], 0)
    assert set(source_memory.selected(model, ("optimiser",))) == {
        "optimiser.actor",
        "optimiser.critic",
        "optimiser.temperature",
    }

"""The SB3 engine: SB3's own traps, each shown not to bite."""

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import trl_suite
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.errors import InputError
from trl_suite.mechanisms import freeze_schedule, methods
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.card import Training
from trl_suite.training import settings
from trl_suite.training.from_scratch import Unwatched
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.transplant import transplant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.training_run import DivergedError, TrainingRun

SMALL = PPOHyperparameters(n_envs=2, n_steps=64, batch_size=32, n_epochs=2, hidden=(8, 8))
PENDULUM = "inverted-pendulum"
CARD = Training(env=PENDULUM, seed=0, steps=0)
TRUNKS = ("actor.trunk.0", "actor.trunk.1", "critic.trunk.0", "critic.trunk.1")


def build(env: str = PENDULUM, seed: int = 0, hyperparameters: PPOHyperparameters = SMALL) -> PPO:
    return sb3.build(env, hyperparameters, seed)


def job(**changes) -> TrainingRun:
    defaults = {
        "env": PENDULUM, "hyperparameters": SMALL, "seed": 0, "steps": 256,
        "evaluation": settings.Evaluation(every=128, episodes=2),
    }  # fmt: skip
    return TrainingRun(**(defaults | changes))


def numbers(model: PPO) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{tensor}": value.detach().clone()
        for name, tensors in sb3.components_of(model).items()
        for tensor, value in tensors.items()
    }


@pytest.fixture(scope="module")
def source():
    model = build(seed=7)
    model.learn(256)
    return sb3.policy_of(model, CARD)


def test_a_policy_predicts_the_same_bits_as_its_model(source):
    model = build(seed=7)
    model.learn(256)
    wrapper = model.get_vec_normalize_env()
    wrapper.training = False
    seen = np.random.default_rng(0).normal(size=(64, 4))
    expected, _ = model.predict(wrapper.normalize_obs(seen), deterministic=True)
    assert np.array_equal(sb3.policy_of(model, CARD).predict(seen)[0], expected)


def test_two_builds_of_one_seed_are_equal_and_of_two_seeds_are_not():
    one, two, other = numbers(build(seed=1)), numbers(build(seed=1)), numbers(build(seed=2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["actor.trunk.0.weight"], other["actor.trunk.0.weight"])


def test_what_is_not_copied_is_what_the_paired_scratch_run_starts_from(source):
    scratch, model = numbers(build(seed=3)), build(seed=3)
    record = transplant(source, model, "feature-extraction")
    for name, value in numbers(model).items():
        component = name.rpartition(".")[0]
        assert torch.equal(value, scratch[name]) == (component in record.fresh), name


@pytest.mark.parametrize("method", ["feature-extraction", "partial-freeze-1", "partial-freeze-2", "random-frozen"])
def test_frozen_components_are_bit_identical_after_training_and_the_others_moved(source, method):
    model = build(seed=3)
    record = transplant(source, model, method)
    seal = freeze_schedule.sealed(sb3.components_of(model), record.frozen)
    before = numbers(model)
    model.learn(256)
    assert freeze_schedule.proved(seal, sb3.components_of(model)).holds
    for name, value in numbers(model).items():
        assert torch.equal(value, before[name]) == (name.rpartition(".")[0] in record.frozen), name


def test_the_optimiser_holds_exactly_the_frozen_parameters(source):
    model = build()
    transplant(source, model, "feature-extraction")
    model.learn(256)
    for name, tensors in sb3.components_of(model).items():
        for tensor in tensors.values():
            if isinstance(tensor, torch.nn.Parameter):
                state = model.policy.optimizer.state[tensor]
                held = bool(torch.isinf(state["exp_avg_sq"]).all())  # Adam's step is 0 for good, also after a load
                assert held == (name in TRUNKS), name


def test_a_warm_optimiser_does_not_move_what_is_frozen_later(source):
    model = build()
    model.learn(256)
    before = numbers(model)
    transplant(None, model, Method(freeze=TRUNKS))
    model.learn(256, reset_num_timesteps=False)
    after = numbers(model)
    assert all(torch.equal(after[f"{name}.weight"], before[f"{name}.weight"]) for name in TRUNKS)
    assert not torch.equal(after["actor.head.weight"], before["actor.head.weight"])


def test_the_optimiser_is_fresh_and_keeps_sb3s_settings(source):
    model = build()
    model.learn(256)
    transplant(source, model, "finetune")
    assert not model.policy.optimizer.state
    assert model.policy.optimizer.defaults["eps"] == 1e-5
    held = sum(len(group["params"]) for group in model.policy.optimizer.param_groups)
    assert held == len(list(model.policy.parameters()))


def test_a_rate_survives_the_one_that_sb3_writes_into_every_group(source):
    slow, fast = build(), build()
    transplant(source, slow, Method(copy=("actor", "critic"), rate={"actor.trunk": 1e-2}))
    transplant(source, fast, Method(copy=("actor", "critic")))
    start = numbers(slow)
    slow.learn(256)
    fast.learn(256)

    def moved(model: PPO, name: str) -> float:
        return float((numbers(model)[name] - start[name]).abs().max())

    assert 0 < moved(slow, "actor.trunk.0.weight") < 3e-2 * moved(fast, "actor.trunk.0.weight")
    assert moved(slow, "critic.trunk.0.weight") > 0.3 * moved(fast, "critic.trunk.0.weight")


def test_a_transplanted_model_is_saved_and_loaded_by_sb3(source, tmp_path):
    model = build()
    transplant(source, model, "feature-extraction")
    model.learn(128)
    model.save(tmp_path / "model.zip")
    again = PPO.load(tmp_path / "model.zip", env=model.get_env())
    seen = np.zeros((3, 4), dtype=np.float32)
    assert np.array_equal(again.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0])


def test_frozen_statistics_stay_while_the_others_run(source):
    model = build()
    transplant(source, model, "feature-extraction")
    before = numbers(model)
    model.learn(256)
    after = numbers(model)
    assert torch.equal(after["normaliser.observation.mean"], before["normaliser.observation.mean"])
    assert float(after["normaliser.return.count"]) > float(before["normaliser.return.count"])


def test_statistics_that_are_copied_and_not_frozen_follow_the_target(source):
    model = build()
    transplant(source, model, "finetune")
    assert float(numbers(model)["normaliser.observation.count"]) == float(
        source.components["normaliser.observation"]["count"]
    )
    model.learn(256)
    assert not torch.equal(
        numbers(model)["normaliser.observation.mean"], source.components["normaliser.observation"]["mean"]
    )


def test_a_second_transplant_releases_what_the_first_froze(source):
    model = build()
    transplant(source, model, "feature-extraction")
    transplant(source, model, "finetune")
    before = numbers(model)
    model.learn(256)
    after = numbers(model)
    assert not torch.equal(after["actor.trunk.0.weight"], before["actor.trunk.0.weight"])
    assert not torch.equal(after["normaliser.observation.mean"], before["normaliser.observation.mean"])


def test_freezing_everything_is_refused_before_the_run(source):
    model = build()
    before = numbers(model)
    with pytest.raises(InputError, match="every component is frozen"):
        transplant(source, model, Method(copy=("actor",), freeze=("actor", "critic", "log_std")))
    assert all(torch.equal(value, before[name]) for name, value in numbers(model).items())


def test_a_source_that_normalises_is_refused_by_a_model_that_does_not(source):
    model = PPO("MlpPolicy", gymnasium.make("trl_suite/InvertedPendulum-v0"), policy_kwargs={"net_arch": [8, 8]})
    with pytest.raises(InputError, match=r"VecNormalize\(env\)"):
        transplant(source, model, "finetune")


def test_a_readers_own_model_on_gymnasiums_own_env_is_understood(source):
    worlds = VecNormalize(DummyVecEnv([lambda: gymnasium.make("InvertedPendulum-v5")]))
    model = PPO("MlpPolicy", worlds, n_steps=64, batch_size=32, policy_kwargs={"net_arch": [8, 8]}, device="cpu")
    record = trl_suite.transplant(source, into=model, method="finetune")
    assert not record.unmatched
    seen = np.random.default_rng(0).normal(size=(8, 4))
    expected, _ = source.predict(seen)
    assert np.array_equal(model.predict(worlds.normalize_obs(seen), deterministic=True)[0], expected)
    model.learn(64)


def test_the_same_shape_with_another_meaning_is_refused():
    cheetah = sb3.policy_of(build("half-cheetah"), CARD)
    walker = build("walker2d")
    with pytest.raises(InputError) as caught:
        transplant(cheetah, walker, "finetune")
    assert "bthigh.position" in str(caught.value)
    assert "thigh_left_joint.position" in str(caught.value)


def test_training_evaluates_before_any_update_and_at_the_end(source):
    seen: list[tuple[int, list[float]]] = []

    class Watcher(Unwatched):
        def evaluated(self, step, episodes):
            seen.append((step, [episode.value for episode in episodes]))

    outcome = train(job(source=source, method="finetune", definition=Method(copy=("actor", "normaliser"))), Watcher())
    assert [step for step, _ in seen] == [0, 128, 256]
    assert all(len(values) == 2 for _, values in seen)
    assert outcome.finished
    assert outcome.policy.card.training.return_mean == pytest.approx(np.mean(seen[-1][1]))


def test_a_policy_may_be_measured_with_its_noise_too():
    seen = []

    class Watcher(Unwatched):
        def evaluated(self, step, episodes):
            seen.append([(episode.mode, episode.value) for episode in episodes])

    evaluation = settings.Evaluation(every=128, episodes=2, stochastic=True)
    noisy = train(job(evaluation=evaluation), Watcher())
    assert [mode for mode, _ in seen[-1]] == ["deterministic"] * 2 + ["stochastic"] * 2
    assert seen[-1][:2] != [("deterministic", value) for _, value in seen[-1][2:]]
    assert noisy.policy.digest == train(job(), Unwatched()).policy.digest, "measuring more changes no training"


def test_the_same_job_gives_the_same_policy_and_another_seed_does_not():
    one, two, other = (train(job(seed=seed), Unwatched()).policy.digest for seed in (0, 0, 1))
    assert one == two != other


def test_scratch_at_step_0_is_the_untrained_policy():
    first: list[float] = []

    class Watcher(Unwatched):
        def evaluated(self, step, episodes):
            if step == 0:
                first.extend(episode.value for episode in episodes)

    train(job(steps=128), Watcher())
    policy = sb3.policy_of(build(), CARD)
    world = gymnasium.make("trl_suite/InvertedPendulum-v0")
    observation, _ = world.reset(seed=seed_for(0, "evaluation"))
    total, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = world.step(policy.predict(observation)[0])
        total, over = total + float(reward), terminated or truncated
    assert first[0] == total


@pytest.mark.parametrize("env", ["half-cheetah.gravity-1.5", "hopper"])
def test_a_batch_trains_the_same_policy_as_worlds_one_by_one(env):
    digests = []
    for one_by_one in (False, True):
        model = sb3.build(env, SMALL, 0, one_by_one=one_by_one)
        model.learn(256)
        digests.append(sb3.policy_of(model, CARD).digest)
        model.env.close()
    assert digests[0] == digests[1]


def test_an_env_of_gymnasiums_own_trains_the_policy_that_its_equal_here_trains():
    foreign = train(job(env="gymnasium:InvertedPendulum-v5"), Unwatched())
    assert foreign.policy.digest == train(job(), Unwatched()).policy.digest
    assert foreign.policy.interface == build().get_env().unwrapped.batch.interface


def test_worlds_may_differ_within_one_training():
    training_variants = ["inverted-pendulum.gravity-0.5", "inverted-pendulum?gravity=2.0"]
    model = sb3.build(PENDULUM, SMALL, 0, training_variants=training_variants)
    assert list(model.env.unwrapped.batch.addresses) == training_variants
    model.learn(128)
    plain = build()
    plain.learn(128)
    assert sb3.policy_of(model, CARD).digest != sb3.policy_of(plain, CARD).digest
    with pytest.raises(InputError, match="one training is of one env"):
        sb3.build(PENDULUM, SMALL, 0, training_variants=["hopper", "inverted-pendulum"])


def test_a_watcher_can_stop_it():
    class Watcher(Unwatched):
        def stopping(self):
            return True

    outcome = train(job(), Watcher())
    assert not outcome.finished
    assert outcome.steps < 256


def test_divergence_is_an_error_that_names_the_component(monkeypatch):
    original = sb3.build

    def poisoned(*arguments, **options):
        model = original(*arguments, **options)
        with torch.no_grad():
            model.policy.value_net.bias.fill_(float("nan"))
        return model

    monkeypatch.setattr("trl_suite.training.sb3.loop.sb3.build", poisoned)
    with pytest.raises(DivergedError, match=r"critic.head is not finite after 0 steps"):
        train(job(), Unwatched())


@pytest.mark.slow
def test_ppo_learns_to_balance_and_finetuning_starts_where_the_source_ended():
    policy = trl_suite.train(PENDULUM, steps=60_000, seed=0)
    assert policy.card.training.return_mean > 800
    curve: list[float] = []

    class Watcher(Unwatched):
        def evaluated(self, step, episodes):
            curve.append(float(np.mean([episode.value for episode in episodes])))

    hyperparameters = PPOHyperparameters()
    train(
        job(
            hyperparameters=hyperparameters,
            seed=1,
            source=policy,
            method="finetune",
            definition=methods.find("finetune"),
        ),
        Watcher(),
    )
    assert curve[0] > 800

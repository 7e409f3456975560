"""A training that is taken down at any rollout and goes on in a new model ends with the same bits."""

import msgspec
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms import methods
from trl_suite.training import settings
from trl_suite.training.acting.evaluation import Episode
from trl_suite.training.sb3 import sb3_snapshot as snapshots
from trl_suite.training.sb3.loop import train
from trl_suite.training.training_run import Snapshot, TrainingOutcome, TrainingRun, Unwatched

PPO = PPOHyperparameters(n_envs=3, n_steps=16, batch_size=16, n_epochs=2, hidden=(8, 8))
SAC_ = SACHyperparameters(n_envs=2, learning_starts=40, batch_size=16, hidden=(8,), buffer_size=200, train_freq=3)
TD3 = TD3Hyperparameters(learning_starts=40, batch_size=16, hidden=(8,), buffer_size=90, normalise_observation=True)


class Keeper(Unwatched):
    """Keeps a copy of every snapshot, or ends the training at the n-th."""

    def __init__(self, snapshot: Snapshot | None = None, stop_after: int | None = None) -> None:
        self.told: list[tuple[int, list[Episode]]] = []
        self.kept: list[Snapshot] = []
        self.told_at: list[int] = []
        self._snapshot, self._left = snapshot, stop_after

    def evaluated(self, step, episodes) -> None:
        self.told.append((step, list(episodes)))

    def due(self) -> bool:
        return True

    def resumed(self) -> Snapshot | None:
        return self._snapshot

    def keep(self, snapshot: Snapshot) -> None:
        def copied(arrays):
            return {name: np.array(values) for name, values in arrays.items()}

        facts = msgspec.json.decode(msgspec.json.encode(snapshot.facts))
        segments = {name: copied(arrays) for name, arrays in snapshot.segments.items()}
        self.kept.append(Snapshot(step=snapshot.step, arrays=copied(snapshot.arrays), facts=facts, segments=segments))
        self.told_at.append(len(self.told))

    def stopping(self) -> bool:
        return self._left is not None and len(self.kept) >= self._left


def weights(outcome: TrainingOutcome) -> dict[str, torch.Tensor]:
    parts = outcome.policy.components
    return {f"{name}.{tensor}": value for name, tensors in parts.items() for tensor, value in tensors.items()}


def same(left: TrainingOutcome, right: TrainingOutcome) -> None:
    ours, theirs = weights(left), weights(right)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert left.freeze == right.freeze
    assert left.unstable_episodes == right.unstable_episodes
    assert left.steps == right.steps


def job(env: str, hyperparameters: Hyperparameters, steps: int, **kwargs) -> TrainingRun:
    return TrainingRun(
        env=env,
        hyperparameters=hyperparameters,
        seed=1,
        steps=steps,
        evaluation=settings.Evaluation(every=60, episodes=2),
        **kwargs,
    )


def goes_on_exactly(given: TrainingRun, every: int) -> None:
    """Whatever happened before in this process: the generators are the snapshot's."""
    whole = Keeper()
    expected = train(given, whole)
    assert len(whole.kept) > 2
    for index in range(every - 1, len(whole.kept), every):
        torch.manual_seed(99)
        np.random.seed(99)
        rest = Keeper(whole.kept[index])
        same(train(given, rest), expected)
        assert whole.told[: whole.told_at[index]] + rest.told == whole.told


@pytest.mark.parametrize("env", ["hopper", "hopper?action_noise=0.1&observation_delay=1"])
def test_ppo_goes_on_exactly(env):
    goes_on_exactly(job(env, PPO, 240), every=3)


@pytest.mark.parametrize("sde_sample_freq", [-1, 5])
def test_exploration_by_state_goes_on_exactly(sde_sample_freq: int):
    hyperparameters = msgspec.structs.replace(PPO, use_sde=True, sde_sample_freq=sde_sample_freq)
    goes_on_exactly(job("hopper", hyperparameters, 240), every=2)


def test_a_source_on_several_variants_goes_on_exactly():
    goes_on_exactly(job("hopper", PPO, 240, training_variants=("hopper.gravity-0.5", "hopper.gravity-1.5")), every=3)


@pytest.mark.parametrize(("hyperparameters", "steps", "every"), [(PPO, 240, 3), (SAC_, 300, 20)])
def test_a_source_that_draws_its_env_anew_goes_on_exactly(hyperparameters, steps: int, every: int):
    ranges = '{"ranges":{"gravity":[0.5,2.0]},"pool":4,"schedule":{"widen":1,"narrow":0,"episodes":1}}'
    pool = (f"hopper?randomise={ranges}",)
    goes_on_exactly(job("hopper", hyperparameters, steps, training_variants=pool), every=every)


def test_sac_goes_on_exactly_with_a_replay_that_has_wrapped(monkeypatch):
    monkeypatch.setattr(snapshots, "SEGMENT", 5_000)  # bytes: several segments, of which some are written again
    goes_on_exactly(job("hopper", SAC_, 300), every=20)


def test_td3_goes_on_exactly(monkeypatch):
    monkeypatch.setattr(snapshots, "SEGMENT", 5_000)
    goes_on_exactly(job("hopper", TD3, 200), every=70)


@pytest.mark.parametrize(
    "method",
    [
        "gradual-unfreeze",
        "jsrl",
        "bc",
        "reset-head",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("finetune-kickstart", "ewc", "discriminative-rate")),
    ],
)
def test_a_method_that_acts_during_training_goes_on_exactly(method):
    source = train(job("hopper", PPO, 96), Unwatched()).policy
    definition = methods.find(method)
    steps = 720 if definition.guide_policy else 240  # the guide's own steps are paid from the budget
    goes_on_exactly(job("hopper.gravity-1.5", PPO, steps, method=method, definition=definition, source=source), every=3)


def test_sac_with_a_frozen_temperature_goes_on_exactly():
    source = train(job("hopper", SAC_, 96), Unwatched()).policy
    definition = methods.read({"held": {"copy": ["actor", "temperature"], "freeze": ["temperature"]}}, "")["held"]
    goes_on_exactly(job("hopper", SAC_, 150, method="held", definition=definition, source=source), every=11)


def test_a_stopped_training_keeps_a_snapshot_at_the_end_of_its_rollout_and_goes_on_from_it():
    given = job("hopper", PPO, 240)
    expected = train(given, Keeper())
    stopped = Keeper(stop_after=2)
    assert not train(given, stopped).finished
    assert len(stopped.kept) in (2, 3)
    same(train(given, Keeper(stopped.kept[-1])), expected)


def test_a_segment_never_changes_under_its_name(monkeypatch):
    """What was kept under a name is not written again."""
    monkeypatch.setattr(snapshots, "SEGMENT", 5_000)
    keeper = Keeper()
    train(job("hopper", SAC_, 300), keeper)
    seen: dict[str, dict] = {}
    for snapshot in keeper.kept:
        for name, arrays in snapshot.segments.items():
            first = seen.setdefault(name, arrays)
            for field, values in arrays.items():
                assert np.array_equal(values, first[field]), name
    assert len(seen) > 10


def test_worlds_of_other_packages_are_not_kept():
    keeper = Keeper()
    assert train(job("gymnasium:Pendulum-v1", PPO, 96), keeper).finished
    assert not keeper.kept


def test_the_model_of_sb3_has_no_state_that_is_unknown_here():
    """A release of SB3 that adds some must be looked at before a snapshot is trusted."""
    known = {
        "policy_class", "device", "verbose", "policy_kwargs", "num_timesteps", "_total_timesteps",
        "_num_timesteps_at_start", "seed", "action_noise", "start_time", "learning_rate", "tensorboard_log",
        "_last_obs", "_last_episode_starts", "_last_original_obs", "_episode_num", "use_sde", "sde_sample_freq",
        "_current_progress_remaining", "_stats_window_size", "ep_info_buffer", "ep_success_buffer", "_n_updates",
        "_custom_logger", "env", "_vec_normalize_env", "observation_space", "action_space", "n_envs", "buffer_size",
        "batch_size", "learning_starts", "tau", "gamma", "gradient_steps", "optimize_memory_usage", "replay_buffer",
        "replay_buffer_class", "replay_buffer_kwargs", "train_freq", "use_sde_at_warmup", "sde_support",
        "target_entropy", "log_ent_coef", "ent_coef", "target_update_interval", "ent_coef_optimizer", "lr_schedule",
        "policy", "actor", "critic", "critic_target", "batch_norm_stats", "batch_norm_stats_target", "_logger",
        "n_steps", "_next_obs", "_convert_train_freq",
    }  # fmt: skip
    model = SAC("MlpPolicy", "Pendulum-v1", device="cpu")
    assert set(vars(model)) - known == set()

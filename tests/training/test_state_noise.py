"""Exploration by state (gSDE): SB3's distribution, kept, moved between robots, and refused where it is not."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from trl_suite.algorithms.hyperparameters import OnPolicyHyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.networks.components import BY_FEATURE, LOG_STD
from trl_suite.networks.policy import load
from trl_suite.training import settings
from trl_suite.training.cohort.cohort_key import obstacle
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.learner_actions import gaussian_of
from trl_suite.training.sb3.methods.transplant import transplant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.training_run import TrainingRun, Unwatched

SMALL = {"n_envs": 2, "n_steps": 16, "hidden": (8, 8)}
STATES = np.random.default_rng(0).normal(size=(5, 11))


def how(algorithm: str = "ppo", use_sde: bool = True, **keys) -> OnPolicyHyperparameters:
    more = {"batch_size": 16, "n_epochs": 2} if algorithm == "ppo" else {}
    return find(algorithm).hyperparameters(**(SMALL | more | keys), use_sde=use_sde)


def job(method: str = "scratch", source=None, env: str = "hopper", **keys) -> TrainingRun:
    return TrainingRun(
        env=env,
        hyperparameters=how(**keys),
        seed=1,
        steps=96,
        evaluation=settings.Evaluation(every=48, episodes=1, stochastic=True),
        method=method,
        definition=methods.find(method),
        source=source,
    )


@pytest.fixture(scope="module")
def trained():
    return train(job(), Unwatched()).policy


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_a_policy_has_the_distribution_of_its_model(algorithm):
    model = sb3.build("hopper", how(algorithm, log_std_init=-1.0), seed=3)
    policy = sb3.policy_of(model, job().training(0, [], 0.0))
    mean, log_std = policy.gaussian(torch.as_tensor(policy.normalised(STATES)), policy.components)
    expected_mean, expected_log_std = gaussian_of(model)(STATES)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(log_std, expected_log_std)
    assert log_std.std(dim=0).min() > 0, "it depends on the state"


def test_a_kept_policy_is_the_same(trained, tmp_path):
    assert trained.components[LOG_STD][BY_FEATURE].shape == (8, 3)
    again = load(trained.save(tmp_path / "policy"))
    draws = [p.predict(STATES, False, torch.Generator().manual_seed(1))[0] for p in (trained, again)]
    np.testing.assert_array_equal(*draws)
    assert again.card.training.hyperparameters["use_sde"] is True


def test_an_export_explores_by_state_too(trained, tmp_path):
    model = PPO.load(trained.to_sb3(tmp_path / "policy")[0])
    assert model.use_sde
    torch.testing.assert_close(model.policy.log_std.detach(), trained.components[LOG_STD][BY_FEATURE])
    with pytest.raises(InputError, match="explores by state"):
        trained.to_onnx(tmp_path / "policy.onnx", stochastic=True)


def test_a_copy_follows_the_actions_by_name(trained):
    outcome = train(job("finetune", trained, "hopper.gravity-1.5"), Unwatched())
    assert LOG_STD in outcome.transplant.copied
    wider = sb3.build("walker2d", how(), seed=0)
    before = wider.policy.log_std.detach().clone()
    transplant(trained, wider, {"copy": ["actor"], "log_std": "copied"})
    copied, source = wider.policy.log_std.detach(), trained.components[LOG_STD][BY_FEATURE]
    torch.testing.assert_close(copied[:, :3], source)
    torch.testing.assert_close(copied[:, 3:], before[:, 3:])


@pytest.mark.parametrize("use_sde", [True, False])
def test_a_deviation_of_the_other_kind_is_not_copied(trained, use_sde: bool):
    source = trained if not use_sde else train(job(use_sde=False), Unwatched()).policy
    with pytest.raises(InputError, match=r"explores by state \(use_sde\) and the (source|model) does not"):
        train(job("finetune", source, use_sde=use_sde), Unwatched())
    definition = methods.read({"rest": {"copy": ["actor", "critic"], "log_std": "fresh"}}, "")["rest"]
    model = sb3.build("hopper", how(use_sde=use_sde), seed=0)
    assert "actor.head" in transplant(source, model, definition).copied


def test_a_cohort_refuses_it_by_name():
    assert obstacle(job()) == "use_sde: state-dependent exploration (gSDE) is on Stable-Baselines3 alone"
    assert not obstacle(job(use_sde=False))


def test_kinds_that_no_component_stands_for_are_refused(trained):
    model = PPO("MlpPolicy", "Hopper-v5", use_sde=True, policy_kwargs={"use_expln": True})
    with pytest.raises(InputError, match="in a way that no component stands for"):
        transplant(trained, model)

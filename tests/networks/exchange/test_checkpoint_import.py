"""Checkpoints of rsl_rl and skrl: plain state dicts come in, programs and pickles do not."""

import warnings

import numpy as np
import pytest
import torch

from tests.networks.exchange.test_onnx_import import FACTS, spaces
from trl_suite.errors import InputError
from trl_suite.networks.exchange import checkpoint_import


class RslActorCritic(torch.nn.Module):
    """As rsl_rl's ActorCritic names its parts."""

    def __init__(self):
        super().__init__()
        layers = (torch.nn.Linear(6, 8), torch.nn.ELU(), torch.nn.Linear(8, 5), torch.nn.ELU(), torch.nn.Linear(5, 3))
        self.actor = torch.nn.Sequential(*layers)
        self.critic = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ELU(), torch.nn.Linear(8, 1))
        self.std = torch.nn.Parameter(torch.ones(3))


def load(path, **options):
    return checkpoint_import.load(path, spaces(100.0), FACTS, **options)


def states():
    return np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)


def test_a_checkpoint_of_rsl_rl_comes_in_with_its_normaliser(tmp_path):
    torch.manual_seed(0)
    model, path = RslActorCritic(), tmp_path / "model_1500.pt"
    mean, std = torch.randn(1, 6), torch.rand(1, 6) + 0.5
    statistics = {"_mean": mean, "_var": std**2, "_std": std, "count": torch.tensor(9)}
    optimizer = torch.optim.Adam(model.parameters()).state_dict()
    table = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer, "iter": 1500, "infos": None}
    torch.save(table | {"obs_norm_state_dict": statistics}, path)
    policy, notes = load(path, activation="elu")
    with torch.no_grad():
        expected = model.actor((torch.from_numpy(states()) - mean) / (std + 1e-2)).numpy()
    assert np.abs(policy.predict(states())[0] - expected).max() < 2e-6
    assert policy.card.network.actor_only
    assert notes == ("observations and actions without names: taken in the order of robot",)
    with pytest.raises(InputError, match="names no activation: give it"):
        load(path)


def test_a_checkpoint_of_skrl_comes_in_with_its_scaler(tmp_path):
    torch.manual_seed(1)
    trunk, head = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ELU()), torch.nn.Linear(4, 3)
    policy_table = {f"net_container.{name}": value for name, value in trunk.state_dict().items()}
    policy_table |= {f"policy_layer.{name}": value for name, value in head.state_dict().items()}
    policy_table["log_std_parameter"] = torch.zeros(3)
    scaler = {
        "running_mean": torch.randn(6, dtype=torch.float64),
        "running_variance": torch.rand(6, dtype=torch.float64) * 0.01 + 0.01,
        "current_count": torch.tensor(5.0),
    }
    value_scaler = {name: value.reshape(-1)[:1] for name, value in scaler.items()}
    path = tmp_path / "agent.pt"
    torch.save({"value_preprocessor": value_scaler, "policy": policy_table, "state_preprocessor": scaler}, path)
    policy, _ = load(path, activation="elu")
    deviation = scaler["running_variance"].sqrt() + 1e-8
    seen = ((torch.from_numpy(states()).double() - scaler["running_mean"]) / deviation).clamp(-5, 5).float()
    with torch.no_grad():
        assert np.abs(policy.predict(states())[0] - head(trunk(seen)).numpy()).max() < 2e-6


def test_programs_pickles_and_other_tables_are_refused_by_name(tmp_path):
    script = tmp_path / "policy.pt"
    with warnings.catch_warnings(action="ignore"):  # torch deprecates what others still write
        torch.jit.save(torch.jit.script(RslActorCritic().actor), str(script))
    with pytest.raises(InputError, match="is TorchScript, a program, which is not executed: export the policy as ONNX"):
        load(script, activation="elu")
    whole = tmp_path / "whole.pt"
    torch.save(RslActorCritic(), whole)
    with pytest.raises(InputError, match="is not a plain table of tensors, and was not executed"):
        load(whole, activation="elu")
    other = tmp_path / "other.pth"
    torch.save({"weights": torch.zeros(3)}, other)
    with pytest.raises(InputError, match="holds no actor of linear layers"):
        load(other, activation="elu")
    torch.save({"actor.0.weight": torch.zeros(1).expand(70_000, 6), "actor.0.bias": torch.zeros(3)}, other)
    with pytest.raises(InputError, match="its tensors claim"):
        load(other, activation="elu")
    (tmp_path / "cut.pt").write_bytes(whole.read_bytes()[:500])
    with pytest.raises(InputError, match="not a zip"):
        load(tmp_path / "cut.pt", activation="elu")

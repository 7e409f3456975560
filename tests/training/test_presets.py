"""Presets: one table per robot and algorithm, read strictly, used by default, and named in what is left behind."""

import numpy as np
import pytest
from stable_baselines3 import PPO

import trl_suite
from trl_suite import content, record
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.registry import DESCRIPTORS
from trl_suite.errors import InputError
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.statistics import measures
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file
from trl_suite.training import presets

TABLE = """
[ppo]
origin = "nowhere"

[ppo.hyperparameters]
gamma = 0.9
learning_rate_schedule = "linear"
"""
WITH_PRESET = [name for name in content.names("envs") if (content.find("envs", name) / presets.PRESETS_FILE).is_file()]


@pytest.fixture
def pendulum(tmp_path, monkeypatch):
    """A workspace whose inverted pendulum has a preset."""
    folder = tmp_path / "envs" / "inverted-pendulum"
    folder.mkdir(parents=True)
    shipped = content.find("envs", "inverted-pendulum")
    (folder / "env.toml").write_text((shipped / "env.toml").read_text())
    (folder / presets.PRESETS_FILE).write_text(TABLE)
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    return folder / presets.PRESETS_FILE


@pytest.mark.parametrize("robot", WITH_PRESET)
def test_every_shipped_preset_is_read_and_keeps_what_policies_of_robots_share(robot):
    for algorithm in DESCRIPTORS:
        choice = presets.choose(robot, algorithm)
        default = DESCRIPTORS[algorithm].hyperparameters()
        assert (choice.hyperparameters.hidden, choice.hyperparameters.activation) == (
            default.hidden,
            default.activation,
        )


@pytest.mark.parametrize("robot", WITH_PRESET)
def test_what_a_preset_claims_to_reach_is_what_its_archive_holds(robot):
    for algorithm in DESCRIPTORS:
        measured = presets.measurement(robot, algorithm)
        if measured is None:
            continue
        found = experiment_results.load(content.find("experiments", measured.experiment) / "results")
        curves = found.curves[robot, record.SCRATCH]
        ends = measures.asymptote(curves.steps, curves.returns[curves.complete])
        assert (len(ends), curves.steps[-1]) == (measured.seeds, measured.steps)
        assert measured.mean == pytest.approx(float(np.mean(ends)), rel=1e-3)
        run = next(m.run for m in found.recorded if m.run and m.run.env == robot)
        table = presets.choose(robot, algorithm).hyperparameters.table()
        assert run.specification["hyperparameters"] == table | {"hidden": list(table["hidden"])}


def test_a_preset_stands_under_what_is_asked_for(pendulum):
    choice = presets.choose("inverted-pendulum.gravity-1.5", "ppo", overrides={"n_epochs": 3})
    assert choice.hyperparameters == PPOHyperparameters(gamma=0.9, learning_rate_schedule="linear", n_epochs=3)
    assert choice.preset == "inverted-pendulum/ppo"
    assert choice.note == "preset inverted-pendulum/ppo: not measured; nowhere"
    assert presets.choose("inverted-pendulum", "ppo", "sb3").hyperparameters == PPOHyperparameters()


def test_small_returns_keep_their_digits():
    assert presets.choose("reacher", "ppo").note.startswith("preset reacher/ppo: -4.46 [-4.62, -4.29] after 307,200 ")
    assert presets.choose("walker2d", "ppo").note.startswith("preset walker2d/ppo: 2,772 [2,291, 3,253] after ")


def test_a_robot_without_a_preset_has_sb3s_defaults_and_is_told(pendulum):
    for env, algorithm in (("inverted-pendulum", "sac"), ("gymnasium:Pendulum-v1", "ppo"), ("pole-cart", "ppo")):
        choice = presets.choose(env, algorithm)
        assert choice.hyperparameters == DESCRIPTORS[algorithm].hyperparameters()
        assert choice.preset == "sb3"
        assert choice.note.startswith(f"no preset for '{env}' and {algorithm}: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[ppo.hyperparameters]", "[ppo.hyperparameter]", r"training.toml: unknown key 'hyperparameter' in \[ppo\]"),
        ("gamma", "gama", r"unknown key 'gama' in \[ppo.hyperparameters\] \(did you mean 'gamma'"),
        ("0.9", "1.9", "ppo.hyperparameters.gamma: Expected `float` <= 1.0"),
        ("[ppo]", "[pp]", r"unknown key 'pp'"),
        ('"linear"', '"linea"', r"there is no 'linea' \(did you mean 'linear'"),
    ],
)
def test_a_wrong_table_of_presets_is_refused(pendulum, old, new, message):
    pendulum.write_text(pendulum.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        presets.choose("inverted-pendulum", "ppo")


def test_an_experiment_plans_with_presets_and_names_them(pendulum, tmp_path):
    folder = tmp_path / "experiments" / "own"
    folder.mkdir(parents=True)
    text = """
question = "?"
methods  = ["scratch"]
seeds    = [0]
preset   = "tuned"
source = { env = "inverted-pendulum", steps = 1 }
target = { envs = ["inverted-pendulum", "pole-cart"], steps = 2048 }
ppo    = { n_epochs = 3 }
"""
    (folder / "experiment.toml").write_text(text)
    pendulum_run, pole_cart = grid.run_specs(experiment_file.load(folder))
    assert (pendulum_run.preset, pole_cart.preset) == ("inverted-pendulum/ppo", "sb3")
    assert pendulum_run.specification["hyperparameters"]["gamma"] == 0.9
    assert pole_cart.specification["hyperparameters"] == PPOHyperparameters(n_epochs=3).table()
    (folder / "experiment.toml").write_text(text.replace('"tuned"', '"sb3"'))
    assert {spec.preset for spec in grid.run_specs(experiment_file.load(folder))} == {"sb3"}


def test_younger_hyperparameters_stand_in_records_only_where_they_act():
    assert "ortho_init" not in PPOHyperparameters().table()
    assert PPOHyperparameters(ortho_init=False).table()["ortho_init"] is False


def test_an_exported_zip_keeps_the_schedules(tmp_path):
    schedules = {"learning_rate_schedule": "linear", "clip_range_schedule": "linear"}
    small = PPOHyperparameters(n_envs=2, n_steps=32, batch_size=32, hidden=(8, 8), learning_rate=1e-3, **schedules)
    policy = trl_suite.train("inverted-pendulum", steps=128, hyperparameters=small)
    policy.to_sb3(tmp_path / "policy.zip")
    model = PPO.load(tmp_path / "policy.zip")
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([1e-3, 5e-4, 0.0])
    assert model.clip_range(0.25) == pytest.approx(0.05)


def test_a_trained_policy_names_its_preset(pendulum):
    text = pendulum.read_text()
    pendulum.write_text(text.replace("gamma = 0.9", "gamma = 0.9\nn_envs = 2\nn_steps = 32\nbatch_size = 32"))
    card = trl_suite.train("inverted-pendulum.gravity-1.5", steps=64).card
    assert card.training.preset == "inverted-pendulum/ppo"
    assert card.training.hyperparameters["gamma"] == 0.9
    assert trl_suite.train("inverted-pendulum", steps=2048, preset="sb3").card.training.preset == "sb3"

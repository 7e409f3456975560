"""Every algorithm is a descriptor, and nothing else asks which one it is."""

import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

import trl_suite
from trl_suite.algorithms.registry import DESCRIPTORS, find
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import LowRank
from trl_suite.mechanisms.methods import Method
from trl_suite.networks import store
from trl_suite.networks.activations import values
from trl_suite.networks.align import align
from trl_suite.networks.formats.zip_import import load
from trl_suite.networks.input_norms import is_running
from trl_suite.training import settings
from trl_suite.training.cohort.cohort_key import obstacle
from trl_suite.training.policy_import import load_policy, spaces_of
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model
from trl_suite.training.sb3.models.learners import algorithm_of
from trl_suite.training.training_run import TrainingRun, Unwatched

PACKAGE = Path(__file__).parent.parent / "trl_suite"
ROOMS = [PACKAGE / "algorithms", *(PACKAGE / "training" / "cohort" / "learning").glob("*_update.py")]
NAMES = "|".join(DESCRIPTORS)
CLASSES = "|".join(
    [*(name.upper() for name in DESCRIPTORS), *(f"{name.upper()}Hyperparameters" for name in DESCRIPTORS)]
)
QUESTIONS = re.compile(rf'isinstance\([^)]*\b({CLASSES})\b|[!=]= "({NAMES})"|Literal\["({NAMES})"|\{{"({NAMES})":')
ENV = "inverted-pendulum"
OFF_POLICY = {"learning_starts": 40, "batch_size": 16, "hidden": (8, 8), "buffer_size": 200}
SMALL = {
    "a2c": {"n_envs": 2, "n_steps": 8, "hidden": (8, 8)},
    "ppo": {"n_envs": 2, "n_steps": 32, "batch_size": 32, "n_epochs": 2, "hidden": (8, 8)},
    **{name: OFF_POLICY for name in ("crossq", "sac", "td3", "tqc")},
}


def questions() -> list[str]:
    files = [path for path in PACKAGE.rglob("*.py") if not any(room in (path, path.parent) for room in ROOMS)]
    lines = ((path, line) for path in files for line in path.read_text().splitlines())
    return [f"{path.name}: {line.strip()}" for path, line in lines if QUESTIONS.search(line)]


def run(algorithm: str, **more) -> TrainingRun:
    values = {"seed": 1, "steps": 96, "evaluation": settings.Evaluation(every=96, episodes=1)} | more
    return TrainingRun(env=ENV, hyperparameters=find(algorithm).hyperparameters(**SMALL[algorithm]), **values)


def test_nothing_outside_of_the_rooms_asks_which_algorithm_it_is():
    assert questions() == []


@pytest.mark.parametrize("algorithm", DESCRIPTORS)
def test_a_descriptor_is_whole(algorithm):
    descriptor = find(algorithm)
    assert descriptor.hyperparameters.algorithm == algorithm
    assert set(descriptor.sb3_arguments) <= set(descriptor.hyperparameters.__struct_fields__)
    assert bool(descriptor.cohort_update) != bool(descriptor.no_cohort)


def test_an_unknown_algorithm_names_the_nearest():
    with pytest.raises(InputError, match="unknown algorithm 'sacc'.*'sac'"):
        find("sacc")


@pytest.mark.parametrize("algorithm", ["a2c", "crossq", "tqc"])
def test_it_trains_transplants_freezes_exports_and_is_imported(algorithm, tmp_path):
    source = train(run(algorithm), Unwatched()).policy
    assert source.card.algorithm == algorithm
    assert obstacle(run(algorithm)) == find(algorithm).no_cohort
    store.verify("source", source.card, source.components)

    held = Method(copy=("actor", "critic"), freeze=("actor.trunk",))
    outcome = train(run(algorithm, source=source, method="held", definition=held, seed=2), Unwatched())
    for name, tensors in source.components.items():
        for tensor, value in tensors.items():
            same = np.array_equal(outcome.policy.components[name][tensor], value)
            assert same == name.startswith("actor.trunk") or not name.startswith(("actor.", "critic.")), name
    assert "actor.trunk.0" in outcome.freeze.before

    (path, *statistics) = outcome.policy.to_sb3(tmp_path / "policy")
    model = find(algorithm).imported().load(path, device="cpu")
    assert algorithm_of(model) == algorithm
    back = load(path, spaces_of(ENV), statistics=statistics[0] if statistics else None)
    assert back.card.algorithm == algorithm
    observation = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_array_equal(back.predict(observation)[0], outcome.policy.predict(observation)[0])


@pytest.mark.parametrize("algorithm", ["a2c", "crossq", "tqc"])
def test_every_shipped_finetuning_runs(algorithm):
    source = train(run(algorithm), Unwatched()).policy
    finetune = methods.find("finetune")
    outcome = train(run(algorithm, source=source, method="finetune", definition=finetune, seed=3), Unwatched())
    assert outcome.finished


# --- CrossQ: layers with running statistics, and no target networks ---


def norms(components) -> dict:
    return {
        f"{name}.{tensor}": value
        for name, tensors in components.items()
        for tensor, value in tensors.items()
        if is_running(tensor)
    }


def trained_crossq(method: Method | None = None, **more):
    name = "scratch" if method is None else "own"
    return train(run("crossq", definition=method or Method(), method=name, **more), Unwatched())


def test_a_policy_of_crossq_acts_as_under_sb3_with_statistics_that_have_run(tmp_path):
    policy = trained_crossq().policy
    assert not [name for name in policy.components if name.startswith("target.")]
    assert int(policy.components["actor.trunk.0"]["norm_steps"]) > 0
    (path, *_) = policy.to_sb3(tmp_path / "crossq")
    model = find("crossq").imported().load(path, device="cpu")
    states = np.random.default_rng(0).normal(size=(100, 4)) * 3
    np.testing.assert_array_equal(policy.predict(states)[0], model.predict(states, deterministic=True)[0])
    actions = np.random.default_rng(1).uniform(-1, 1, size=(100, 1)).astype(np.float32)
    with torch.no_grad():
        model.policy.set_training_mode(False)
        scaled = torch.as_tensor(model.policy.scale_action(actions * 3), dtype=torch.float32)
        expected = torch.cat(model.critic(torch.as_tensor(states, dtype=torch.float32), scaled), dim=1).amin(1)
    np.testing.assert_allclose(values(policy, states, actions * 3), expected.numpy(), rtol=1e-5, atol=1e-6)
    policy.save(tmp_path / "folder")
    assert load_policy(tmp_path / "folder").digest == policy.digest


def test_frozen_layers_keep_their_running_statistics_and_the_others_do_not():
    source = trained_crossq().policy
    freeze = Method(copy=("actor", "critic"), freeze=("actor", "critic.trunk.0"))
    policy = trained_crossq(freeze, source=source, seed=2).policy
    before, after = norms(source.components), norms(policy.components)
    still = {name for name in after if torch.equal(before[name], after[name])}
    assert still == {name for name in after if name.startswith(("actor.", "critic.trunk.0"))}


def test_a_thawed_layers_statistics_run_again():
    source = trained_crossq().policy
    thaw = Method(copy=("actor", "critic"), freeze=("actor.trunk",), thaw={"actor.trunk": 0.5})
    outcome = trained_crossq(thaw, steps=192, source=source, seed=2)
    steps = {
        name: int(norms(outcome.policy.components)[f"{name}.norm_steps"]) for name in ("actor.trunk.0", "actor.head")
    }
    begun = int(source.components["actor.trunk.0"]["norm_steps"])
    assert begun < steps["actor.trunk.0"] < steps["actor.head"]
    assert "actor.trunk.0" in outcome.freeze.until


def test_statistics_go_with_their_slots_and_begin_fresh_where_the_source_has_none():
    source = trained_crossq().policy
    hyperparameters = find("crossq").hyperparameters(**OFF_POLICY)
    model = sb3_model.build("inverted-double-pendulum", hyperparameters, seed=0)
    record = implant(source, model, "finetune", methods.find("finetune"), None, 0)
    assert "actor.trunk.0" in record.copied
    alignment = align(source.interface, sb3_model.interface_of_model(model), None).observation
    copied = sb3_model.components_of(model)["actor.trunk.0"]["norm_ra_mean"]
    of_source = source.components["actor.trunk.0"]["norm_ra_mean"]
    assert None in alignment
    assert copied.tolist() == [0.0 if index is None else float(of_source[index]) for index in alignment]


def test_no_adapter_is_put_into_a_layer_that_normalises_its_inputs():
    method = Method(copy=("actor",), adapter=LowRank(rank=2), freeze=("actor.trunk",))
    assert "crossq normalises its inputs" in methods.refusal("sb3", method, "crossq")


def test_a_loaded_model_holds_the_statistics_of_frozen_layers_again(tmp_path):
    source = trained_crossq().policy
    model = find("crossq").imported()(
        "MlpPolicy",
        make_vec(),
        learning_starts=8,
        batch_size=16,
        seed=0,
        device="cpu",
        policy_kwargs={"net_arch": [8, 8]},
    )
    record = trl_suite.transplant(source, into=model, method={"copy": ["actor"], "freeze": ["actor.trunk"]})
    assert any("trl_suite.hold(model)" in note for note in record.notes)
    model.save(tmp_path / "model.zip")
    again = find("crossq").imported().load(tmp_path / "model.zip", env=make_vec(), device="cpu")
    assert "actor.trunk.0" in trl_suite.hold(again)
    again.learn(40)
    layer, before = sb3_model.components_of(again)["actor.trunk.0"], source.components["actor.trunk.0"]
    assert all(torch.equal(layer[name], before[name]) for name in before)


def make_vec():
    return DummyVecEnv([lambda: gymnasium.make("trl_suite/InvertedPendulum-v0")])

"""Normalised layers are components of their own on both engines: trained, kept, frozen, copied, or refused by name."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from tests.training.cohort.small import EVALUATION
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.errors import InputError
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.policy import Policy, load
from trl_suite.training import engines
from trl_suite.training.training_run import TrainingRun, Unwatched

HOW = PPOHyperparameters(n_envs=4, n_steps=32, batch_size=64, n_epochs=2, hidden=(12, 8), layer_norm=True)
SCRATCH = Method()
COPIED = ("actor", "critic", "normaliser")
NORMS = [f"{part}.trunk.{layer}.norm" for part in ("actor", "critic") for layer in (0, 1)]
TABLE = {
    "question": "x", "methods": ["scratch"], "seeds": [0], "source": {"env": "hopper", "steps": 512},
    "target": {"envs": ["hopper"], "steps": 512}, "evaluation": {"every": 256, "episodes": 1},
}  # fmt: skip


def trained(run: TrainingRun, engine: engines.Engine) -> Policy:
    _, result = next(engines.train(engine, [run], [Unwatched()], [None]))
    assert not isinstance(result, Exception), result
    return result.policy


def job(seed: int, method: Method = SCRATCH, **more: Any) -> TrainingRun:
    values = {"hyperparameters": HOW, "steps": 256, "evaluation": EVALUATION} | more
    return TrainingRun(env="inverted-pendulum", seed=seed, method="own", definition=method, **values)


@pytest.mark.parametrize("engine", ["sb3", "cohort"])
def test_norms_are_trained_kept_copied_and_frozen(engine: engines.Engine, tmp_path: Path):
    source = trained(job(seed=1), engine)
    assert [name for name in source.components if name.endswith(".norm")] == NORMS
    moved = {name: source.components[name]["weight"] for name in NORMS}
    assert all(not torch.equal(weight, torch.ones(len(weight))) for weight in moved.values())
    read = load(source.save(tmp_path / "policy"))
    assert read.card.network.layer_norm
    assert read.digest == source.digest
    states = np.random.default_rng(0).normal(size=(20, 4))
    assert np.array_equal(read.predict(states)[0], source.predict(states)[0])
    method = Method(copy=COPIED, log_std="copied", freeze=("actor.trunk.:1", "critic.trunk.1.norm"))
    target = trained(job(seed=2, method=method, source=read), engine)
    for name in NORMS:
        frozen = name in ("actor.trunk.0.norm", "critic.trunk.1.norm")
        assert torch.equal(target.components[name]["weight"], moved[name]) == frozen


def test_a_source_without_norms_does_not_pass_for_one_with_them():
    source = trained(job(seed=1, steps=128, hyperparameters=msgspec.structs.replace(HOW, layer_norm=False)), "cohort")
    method = Method(copy=COPIED, log_std="copied")
    run = job(seed=2, method=method, source=source)
    [(_, refusal)] = engines.train("sb3", [run], [Unwatched()], [None])
    assert isinstance(refusal, InputError)
    assert "the target has actor.trunk.0.norm and the source has not" in str(refusal)


def test_what_has_no_normalised_layers_says_so(tmp_path: Path):
    policy = trained(job(seed=1, steps=128), "cohort")
    with pytest.raises(InputError, match=r"layer_norm.*policy\.onnx"):
        policy.to_sb3(tmp_path / "policy.zip")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"algorithm": "crossq", "crossq": {"layer_norm": True}}, "layer_norm: the layers of crossq normalise"),
        ({"ppo": {"layer_norm": True}, "methods": ["scratch", "progressive"]}, "columns side by side"),
        ({"ppo": {"layer_norm": "yes"}}, "layer_norm"),
    ],
)
def test_what_cannot_be_normalised_is_refused_when_the_file_is_read(more: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        experiment_file.read(TABLE | more)


def test_an_experiment_asks_for_them_and_others_keep_their_digests():
    normed, plain_spec = (
        grid.run_specs(experiment_file.read(TABLE | {"ppo": table}).experiment)[-1].specification["hyperparameters"]
        for table in ({"layer_norm": True}, {})
    )
    assert normed["layer_norm"] is True
    assert "layer_norm" not in plain_spec

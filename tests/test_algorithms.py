"""Every algorithm is a descriptor, and nothing else asks which one it is."""

import re
from pathlib import Path

import numpy as np
import pytest

from trl_suite.algorithms.registry import DESCRIPTORS, find
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.networks import store
from trl_suite.networks.formats.zip_import import load
from trl_suite.training import settings
from trl_suite.training.cohort.cohort_key import obstacle
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.sb3.loop import train
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
    **{name: OFF_POLICY for name in ("sac", "td3", "tqc")},
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


@pytest.mark.parametrize("algorithm", ["a2c", "tqc"])
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


@pytest.mark.parametrize("algorithm", ["a2c", "tqc"])
def test_every_shipped_finetuning_runs(algorithm):
    source = train(run(algorithm), Unwatched()).policy
    finetune = methods.find("finetune")
    outcome = train(run(algorithm, source=source, method="finetune", definition=finetune, seed=3), Unwatched())
    assert outcome.finished

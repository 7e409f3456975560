"""Trainings on the simulated device give the CPU's bits: algorithms, mechanisms, both engines of physics, resuming."""

import pytest
from msgspec.structs import replace

from tests.cuda.beside import HYPERPARAMETERS, compare, runs, trained
from tests.cuda.runtime import simulated
from tests.mechanisms.test_every_mechanism import USING, using
from tests.training.cohort.small import EVALUATION, Keeping, job, numbers, same
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import LowRank
from trl_suite.mechanisms.methods import Method
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.warp import warp_library

pytestmark = pytest.mark.xdist_group("cuda")
warp = pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
STEPS = {"ppo": 4 * 128, "a2c": 14 * 64, "sac": 112, "td3": 112}  # of env, after which every stage has been captured


def every_mechanism(algorithm: str) -> list[TrainingRun]:
    """Return a training for each key of a method that cohorts of the algorithm have, and one without any."""
    (first,) = runs(algorithm, ["finetune"])
    definitions = {key: using(key) for key in USING} | {"none": Method()}
    able = {key: one for key, one in definitions.items() if not methods.refusal("cohort", one, algorithm)}
    assert {"distillation", "weight_regularizer", "thaw", "reset", "rate"} <= able.keys()
    return [
        job(
            seed,
            key,
            definition=one,
            hyperparameters=first.hyperparameters,
            source=first.source,
            steps=STEPS[algorithm],
        )
        for seed, (key, one) in enumerate(able.items())
        if one.adapter is None
    ]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", STEPS)
def test_every_mechanism_learns_what_it_learns_on_the_cpu(algorithm):
    compare(every_mechanism(algorithm))


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        ("ppo", {"activation": "relu", "normalise_observation": False, "normalise_reward": False}),
        pytest.param("ppo", {"n_epochs": 12}, marks=pytest.mark.slow),
        ("sac", {"normalise_observation": True, "normalise_reward": True}),
        pytest.param("sac", {"train_freq": 8, "gradient_steps": 5, "ent_coef": 0.1}, marks=pytest.mark.slow),
        pytest.param("td3", {"train_freq": 4, "gradient_steps": 3}, marks=pytest.mark.slow),
        pytest.param("a2c", {"use_rms_prop": False}, marks=pytest.mark.slow),
    ],
)
def test_other_hyperparameters_too(algorithm, changes):
    compare(
        runs(replace(HYPERPARAMETERS[algorithm], **changes), ["scratch", "kickstart", "l2sp"], steps=STEPS[algorithm])
    )


@pytest.mark.slow
def test_low_rank_products_too():
    low_rank = Method(copy=("*",), adapter=LowRank())
    (first,) = runs("ppo", ["finetune"])
    compare([job(seed, "lora", definition=low_rank, source=first.source) for seed in range(2)])


@pytest.mark.slow
def test_an_update_that_may_stop_early_runs_uncaptured():
    jobs = runs(replace(HYPERPARAMETERS["ppo"], target_kl=0.01), ["scratch", "finetune"])
    on_cpu = trained(jobs, "cpu")
    with simulated() as device:
        on_cuda = trained(jobs, "cuda")
    assert all(same(numbers(one), numbers(other)) for one, other in zip(on_cpu, on_cuda, strict=True))
    assert not device.count["captures"]


@warp
@pytest.mark.slow
@pytest.mark.xdist_group("warp")
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_physics_on_warp_too(algorithm):
    names = ["scratch", "kickstart", "gradual-unfreeze"]
    device = compare(
        runs(algorithm, names, steps=STEPS[algorithm], evaluation=replace(EVALUATION, stochastic=True)), "warp"
    )
    assert device.count["warp graph launches"] > 4 * device.count["warp captures"] > 0


@pytest.mark.parametrize(
    ("algorithm", "physics"),
    [
        ("ppo", "mujoco"),
        pytest.param("sac", "mujoco", marks=pytest.mark.slow),
        pytest.param("ppo", "warp", marks=[warp, pytest.mark.slow]),
    ],
)
def test_a_training_goes_on_from_its_checkpoint(algorithm, physics):
    jobs = runs(algorithm, ["scratch", "gradual-unfreeze"], steps=STEPS[algorithm])
    with simulated() as device:
        whole = [Keeping(keep=True) for _ in jobs]
        first = trained(jobs, "cuda", physics, whole)
        middle = [Keeping(resume=watcher.snapshots[len(watcher.snapshots) // 2]) for watcher in whole]
        again = trained(jobs, "cuda", physics, middle)
    assert all(same(numbers(one), numbers(other)) for one, other in zip(first, again, strict=True))
    assert [watcher.curve[-1] for watcher in whole] == [watcher.curve[-1] for watcher in middle]
    assert not device.faults, device.faults

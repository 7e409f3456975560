"""Reset: named components are as in the paired scratch run again, their optimizer state with them, on both engines."""

import numpy as np
import pytest
import torch

from tests.training.cohort.small import Keeping, run
from tests.training.cohort.small import job as cohort_job
from tests.training.conftest import EVERYTHING, HOW, LESS, prepared, sources  # noqa: F401
from trl_suite.errors import InputError
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.reset import Reset
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.rates import optimisers


def resetting(*components: str, at: tuple[float, ...] = (0.5,), **more) -> Method:
    return Method(copy=EVERYTHING, log_std="copied", reset=Reset(components=components, at=at), **more)


def numbers(model) -> dict[str, torch.Tensor]:
    components = sb3.components_of(model)
    return {f"{name}.{key}": v.detach().clone() for name, tensors in components.items() for key, v in tensors.items()}


@pytest.mark.parametrize("algorithm", ["ppo", "sac", pytest.param("td3", marks=pytest.mark.slow)])
def test_on_sb3_a_reset_component_is_the_scratch_runs_and_has_no_optimizer_state(algorithm, sources):  # noqa: F811
    model, callbacks, _ = prepared(algorithm, sources[algorithm], resetting("actor.head", "critic"), steps=256)
    model.learn(128)
    before = numbers(model)
    callbacks.advance(127)
    assert all(torch.equal(value, before[name]) for name, value in numbers(model).items()), "nothing is due yet"
    callbacks.advance(128)
    after, scratch = numbers(model), numbers(sb3.build(LESS, HOW[algorithm], 3))
    reset = {name for name in after if name.removeprefix("target.").startswith(("actor.head", "critic."))}
    assert reset >= {"actor.head.weight"}
    for name, value in after.items():
        assert torch.equal(value, (scratch if name in reset else before)[name]), name
    known = {parameter for optimizer in optimisers(model) for parameter in optimizer.state}
    components = sb3.components_of(model)
    assert components["actor.head"]["weight"] not in known
    assert components["actor.trunk.0"]["weight"] in known
    model.learn(64, reset_num_timesteps=False)
    learned = numbers(model)
    callbacks.advance(192)
    assert all(torch.equal(value, learned[name]) for name, value in numbers(model).items()), "once is once"


def test_in_a_cohort_a_reset_member_is_as_at_its_first_step_and_the_others_are_not():
    everything = Method(reset=Reset(components=("actor", "critic", "log_std"), at=(0.5, 0.75)))
    jobs = [cohort_job(seed=1, method="own", definition=everything), cohort_job(seed=1)]
    watchers = [Keeping(keep=True) for _ in jobs]
    run(jobs, watchers)
    for watcher, equal in zip(watchers, (True, False), strict=True):
        first = watcher.snapshots[0]
        for snapshot in watcher.snapshots:
            if snapshot.step in (256, 384):
                same = np.array_equal(snapshot.arrays["parameters.policy"], first.arrays["parameters.policy"])
                assert same == equal
                assert (not snapshot.arrays["mean.policy"].any()) == equal
                layers = snapshot.arrays["count.policy"][:, :3]  # the last is the deviation, which a critic has not
                assert (not layers.any()) == equal


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (resetting("normaliser"), "normaliser.observation is no layer"),
        (resetting("actor.haed"), "no component 'actor.haed'"),
        (resetting("actor.trunk", freeze=("actor.trunk.0",)), "actor.trunk.0 is frozen then"),
        (
            resetting("actor.trunk", freeze=("actor.trunk.0",), thaw={"actor.trunk.0": 0.6}),
            "actor.trunk.0 is frozen then",
        ),
    ],
)
def test_what_cannot_be_reset_is_refused_by_name(method, message, sources):  # noqa: F811
    with pytest.raises(InputError, match=message):
        prepared("ppo", sources["ppo"], method)


def test_a_layer_may_be_reset_once_it_is_thawed(sources):  # noqa: F811
    method = resetting("actor.trunk", freeze=("actor.trunk.0",), thaw={"actor.trunk.0": 0.25})
    _, callbacks, _ = prepared("ppo", sources["ppo"], method)
    callbacks.advance(64)
    callbacks.advance(128)
    assert callbacks.proof().holds

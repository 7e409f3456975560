import msgspec
import pytest
import torch

from tests.conftest import random_components
from trl_suite.errors import InputError
from trl_suite.mechanisms import freeze_schedule

FROZEN = ("actor.trunk.0", "actor.trunk.1", "normaliser.observation")


@pytest.fixture
def components():
    return random_components(3, 2, (4, 4), torch.Generator().manual_seed(0), learning=True)


def test_what_is_held_has_no_gradient_and_is_counted(components):
    freeze_schedule.hold(components, FROZEN)
    seal = freeze_schedule.sealed(components, FROZEN)
    assert not components["actor.trunk.0"]["weight"].requires_grad
    assert components["actor.head"]["weight"].requires_grad
    held = 4 * 3 + 4 + 4 * 4 + 4
    assert seal.total - seal.trainable == held
    assert set(seal.before) == set(FROZEN)


def test_holding_other_components_releases_the_former(components):
    freeze_schedule.hold(components, FROZEN)
    freeze_schedule.hold(components, ("critic.head",))
    assert components["actor.trunk.0"]["weight"].requires_grad
    assert not components["critic.head"]["bias"].requires_grad


def test_a_proof_names_what_moved(components):
    seal = freeze_schedule.sealed(components, FROZEN)
    assert freeze_schedule.proved(seal, components).holds
    with torch.no_grad():
        components["actor.trunk.1"]["bias"][2] += 1e-7
    components["normaliser.observation"]["count"] += 1
    with pytest.raises(freeze_schedule.FreezeBrokenError, match=r"actor.trunk.1, normaliser.observation"):
        freeze_schedule.proved(seal, components)


def test_a_proof_that_does_not_hold_says_so(components):
    seal = freeze_schedule.sealed(components, FROZEN)
    assert not msgspec.structs.replace(seal, after={**seal.before, "actor.trunk.0": "0"}).holds


def test_freezing_all_that_learns_is_refused(components):
    everything = tuple(name for name in components if not name.startswith("normaliser"))
    with pytest.raises(InputError, match="every component is frozen"):
        freeze_schedule.check(components, everything)
    freeze_schedule.check(components, everything[:-1])

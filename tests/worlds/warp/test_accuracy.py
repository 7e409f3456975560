"""Physics on Warp is MuJoCo's, within what single precision leaves: on the CPU, and on CUDA under the mark gpu."""

import numpy as np
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.env import built
from trl_suite.worlds.warp.merge import device_model, structure

pytestmark = pytest.mark.xdist_group("warp")
QUICK = ("half-cheetah", "ant")
OTHERS = [name for name in content.names("envs") if name != "hopper"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in content.names("envs") if name not in QUICK]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_step_from_equal_states_is_mujocos(name: str, device: str, beside):
    """Over 1,024 states. A contact that opens or closes within rounding is another step, in few of them."""
    found = beside([name] * 32, device).single_steps(32)
    assert np.quantile(found.position, 0.99) < 2e-5
    assert np.quantile(found.velocity, 0.99) < 1e-3
    switched = (found.position > 1e-3) | (found.velocity > 1e-2)
    assert switched.mean() <= 0.005
    assert np.median(found.observation) < 5e-5
    assert np.quantile(found.observation, 0.99) < 2e-3
    assert np.quantile(found.reward, 0.99) < 1e-4
    assert found.ends.mean() <= 0.005


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_ten_steps_stay_together_and_a_hundred_stay_finite(name: str, device: str, beside):
    both = beside([name] * 16, device)
    both.match()
    rng, going = np.random.default_rng(1), np.ones(16, dtype=bool)
    for step in range(100):
        found = both.step(both.actions(rng))
        going &= np.array([one.data.time != 0.0 for one in both.alone])  # one that has ended began anew
        if step == 9 and going.any():
            assert np.median(found.position[going]) < 1e-4
    assert both.batch._observation.isfinite().all()
    assert both.batch.overflown() == 0


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_a_step_with_play_is_mujocos(device: str, beside):
    both = beside(["quadruped.backlash-0.02"] * 8, device)
    differences = both.single_steps(40)
    assert max(one.data.ncon for one in both.alone) >= 3
    assert np.quantile(differences.position, 0.99) < 2e-5
    assert np.quantile(differences.velocity, 0.99) < 1e-3
    assert np.quantile(differences.observation, 0.99) < 2e-3
    assert np.quantile(differences.reward, 0.99) < 1e-3
    assert differences.ends.mean() <= 0.005
    assert both.batch.overflown() == 0


def test_uneven_ground_is_refused_by_name():
    """Of states in contact, nearly half went elsewhere in a step: at the cells' edges Warp finds other contacts."""
    model = built(Address.parse('quadruped?terrain={"height":0.05,"extent":[4,4]}'))[1]
    with pytest.raises(InputError, match="contacts with the height field 'floor' are not MuJoCo's; physics = 'mujoco'"):
        device_model(model)


@pytest.mark.parametrize("name", ["hopper", *(pytest.param(one, marks=pytest.mark.slow) for one in OTHERS)])
def test_every_variant_goes_the_way_of_its_own_model(name: str, beside):
    """All variants of an env that one batch can hold, ten steps; each is nearer to its own model than to the env's."""
    table, nominal, task, _ = built(Address.parse(name))
    slots, shape = task.interface, structure(nominal)
    addresses = [name]
    for variant in table.variants:
        own, model, other, variation = built(Address.parse(f"{name}.{variant}"))
        alike = (
            not model.nhfield
            and other.interface == slots
            and structure(model) == shape
            and own.frame_skip == table.frame_skip
        )
        if alike and not variation.control_range and "noise" not in variant:
            addresses.append(f"{name}.{variant}")
    both = beside(addresses, "cpu")
    for one in both.alone:
        one.reset(seed=0)
    both.match()
    rng, apart = np.random.default_rng(3), []
    for _ in range(5):
        actions = np.repeat(both.actions(rng)[:1], len(addresses), 0)
        found = both.step(actions)
        apart.append(found.position)
    assert np.quantile(apart[-1], 0.9) < 1e-3
    changed = [
        address
        for address, one in zip(addresses, both.alone, strict=True)
        if np.abs(one.data.qpos - both.alone[0].data.qpos).max() > 1e-2
    ]
    assert len(changed) >= 4
    own = [found.position[addresses.index(address)] for address in changed]
    assert np.median(own) < 1e-3

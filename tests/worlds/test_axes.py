"""Every axis changes the compiled model, nothing but what it explains, and the motion."""

import mujoco
import numpy as np
import pytest

from trl_suite import content
from trl_suite.worlds.env import World, make
from trl_suite.worlds.model import compiled
from trl_suite.worlds.spec import load
from trl_suite.worlds.variation import Change, Gear, Gravity, Mass, Variation

INERTIAL = {"body_mass", "body_inertia", "body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0"}
INERTIAL |= {"actuator_acc0", "tendon_invweight0", "cam_poscom0", "light_poscom0"}
EXPLAINED = {
    "gravity": {"opt.gravity"},
    "mass": INERTIAL | {"actuator_acc0", "stat.meanmass", "stat.meaninertia"},
    "friction": {"geom_friction"},
    "gear": {"actuator_gear", "actuator_acc0"},
}
PLANAR = ["half-cheetah", "hopper", "walker2d"]
ALL = [*PLANAR, "inverted-pendulum"]


def fields(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    found |= {f"opt.{name}": getattr(model.opt, name) for name in dir(model.opt) if not name.startswith("_")}
    found |= {f"stat.{name}": getattr(model.stat, name) for name in dir(model.stat) if not name.startswith("_")}
    return {name: np.asarray(v) for name, v in found.items() if isinstance(v, np.ndarray | float | int)}


def changed(first: mujoco.MjModel, second: mujoco.MjModel) -> set[str]:
    left, right = fields(first), fields(second)
    return {name for name in left if not np.array_equal(left[name], right[name])}


def moved(first: World, second: World, steps: int = 100) -> float:
    """Run both from the same state under the same controls; return how far their states part."""
    first.reset(seed=0)
    second.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        action = rng.uniform(first.action_space.low, first.action_space.high).astype(np.float32)
        first.step(action)
        second.step(action)
    return float(np.abs(first.data.qpos - second.data.qpos).max())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("axis", ["gravity", "mass", "friction", "gear"])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_an_axis_changes_its_fields_and_the_motion(name: str, axis: str, scale: float):
    if (name, axis) == ("inverted-pendulum", "friction"):
        pytest.skip("refused: test_bad_input")
    base, varied = World(name), World(name, **{axis: scale})
    difference = changed(base.model, varied.model)
    assert difference
    assert difference <= EXPLAINED[axis]
    assert moved(base, varied) > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_a_scale_of_one_is_the_identity(name: str):
    table = load(name)
    base = compiled(table, Variation())
    for axis in ("gravity", "mass", "gear"):
        assert changed(base, compiled(table, Variation(**{axis: 1.0}))) <= {"body_iquat"}, axis


@pytest.mark.parametrize(
    "address", [f"{name}.{variant}" for name in content.names("envs") for variant in load(name).variants]
)
def test_every_named_variant_is_another_world(address: str):
    base, varied = make(address.split(".")[0]).unwrapped, make(address).unwrapped
    if address.endswith("backwards"):
        assert not changed(base.model, varied.model)
        base.reset(seed=0)
        varied.reset(seed=0)
        action = base.action_space.high
        assert base.step(action)[4]["reward_forward"] == -varied.step(action)[4]["reward_forward"]
    else:
        assert changed(base.model, varied.model)
        assert moved(base, varied) > 1e-3


@pytest.mark.parametrize("name", content.names("envs"))
def test_no_two_variants_compile_to_the_same_model(name: str):
    table = load(name)
    models = {variant: compiled(table, change) for variant, change in table.variants.items() if not change.direction}
    names = sorted(models)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert changed(models[one], models[other]), (one, other)


@pytest.mark.parametrize("name", ALL)
def test_mass_takes_inertia_along(name: str):
    table = load(name)
    base, heavy = compiled(table, Variation()), compiled(table, Variation(mass=1.5))
    assert np.allclose(heavy.body_mass, 1.5 * base.body_mass, rtol=1e-12)
    assert np.allclose(heavy.body_inertia, 1.5 * base.body_inertia, rtol=1e-12)
    assert np.isclose(heavy.body_subtreemass[0], 1.5 * base.body_subtreemass[0])


def test_the_cheetahs_total_mass_does_not_undo_a_scale():
    base = World("half-cheetah").model
    assert base.body_mass.sum() == pytest.approx(14.0)
    assert World("half-cheetah", mass=1.5).model.body_mass.sum() == pytest.approx(21.0)
    torso = World("half-cheetah", mass={"body": "torso", "scale": 2}).model
    others = np.arange(base.nbody) != base.body("torso").id
    assert np.array_equal(torso.body_mass[others], base.body_mass[others])
    assert torso.body("torso").mass == 2 * base.body("torso").mass
    assert np.allclose(torso.body("torso").inertia, 2 * base.body("torso").inertia)


@pytest.mark.parametrize("name", PLANAR)
def test_friction_changes_what_a_contact_gets(name: str):
    """MuJoCo takes the larger of two frictions: a scale of the robot alone may do nothing at all."""

    def at_contact(world: World) -> float:
        world.reset(seed=0)
        for _ in range(200):
            world.step(np.zeros(world.action_space.shape, np.float32))
            if world.data.ncon:
                return float(world.data.contact[0].friction[0])
        raise AssertionError("no contact")

    base = at_contact(World(name))
    for scale in (0.1, 0.5, 2.0):
        assert at_contact(World(name, friction=scale)) == pytest.approx(scale * base)


def test_values_take_the_place_of_the_nominal():
    table = load("hopper")
    assert list(compiled(table, Variation(gravity=Gravity(value=(0.0, 1.0, -3.7)))).opt.gravity) == [0.0, 1.0, -3.7]
    heavy = compiled(table, Variation(mass=Mass(body="torso", value=7.0)))
    assert heavy.body("torso").mass == pytest.approx(7.0)
    smooth = compiled(table, Variation(friction=Change(value=0.3)))
    assert set(smooth.geom_friction[:, 0]) == {0.3}
    geared = compiled(table, Variation(gear=Gear(actuator="leg_joint", value=50.0)))
    assert list(geared.actuator_gear[:, 0]) == [200.0, 50.0, 200.0]


def test_changes_of_several_bodies_and_axes_combine():
    table = load("hopper")
    base = compiled(table, Variation())
    both = (Mass(body="torso", scale=2.0), Mass(body="foot", scale=0.5))
    varied = compiled(table, Variation(gravity=0.5, mass=both, gear=2.0))
    ratio = varied.body_mass[1:] / base.body_mass[1:]
    assert np.allclose(ratio, [2.0, 1.0, 1.0, 0.5])
    assert varied.opt.gravity[2] == 0.5 * base.opt.gravity[2]
    assert np.array_equal(varied.actuator_gear, 2 * base.actuator_gear)


def test_the_severities_of_an_axis_are_ordered():
    """Heavier, the cheetah's motors accelerate it less."""
    table = load("half-cheetah")
    strength = [compiled(table, Variation(mass=scale)).actuator_acc0.sum() for scale in (0.5, 1.0, 1.5, 2.0)]
    assert strength == sorted(strength, reverse=True)

"""Robots whose shape is a number."""

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.certificate import fields_of
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.stepping.env import RobotEnv, make

TWINS = {
    "link-swimmer": "swimmer",
    "link-reacher": "reacher",
    "legged-ant": "ant",
    "pole-cart": "inverted-double-pendulum",
}
PHYSICS = (
    "body_mass",
    "body_inertia",
    "dof_damping",
    "dof_armature",
    "jnt_range",
    "actuator_gear",
    "qpos0",
    "body_pos",
)


@pytest.mark.parametrize(("name", "twin"), TWINS.items())
def test_the_member_that_gymnasium_has_is_its_twin(name: str, twin: str):
    ours, theirs = RobotEnv(name), RobotEnv(twin)
    assert ours.interface == theirs.interface
    left, right = fields_of(ours.model), fields_of(theirs.model)
    for field in PHYSICS:
        assert left[field] == pytest.approx(right[field], rel=1e-9, abs=1e-9), field
    ours.reset(seed=0)
    theirs.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):  # a rounding apart at first; chaos does the rest
        action = rng.uniform(-1, 1, ours.model.nu).astype(np.float32)
        one, other = ours.step(action), theirs.step(action)
        assert one[0] == pytest.approx(other[0], rel=1e-5, abs=1e-5)
        assert one[1] == pytest.approx(other[1], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "number", "counts"),
    [
        ("link-swimmer", "links", range(2, 13)),
        ("link-reacher", "links", range(1, 9)),
        ("legged-ant", "legs", range(3, 7)),
        ("pole-cart", "poles", range(2, 5)),
        ("quadruped", "pairs", range(2, 4)),
        ("arm-reach", "joints", range(3, 8)),
        ("arm-push", "joints", range(3, 8)),
        ("arm-lift", "joints", range(5, 8)),
        ("hand-turn", "fingers", range(2, 6)),
    ],
)
def test_every_member_is_a_robot_with_named_slots(name: str, number: str, counts: range):
    seen = {}
    for count in counts:
        world = make(name, shape={number: count}).unwrapped
        observation, _ = world.reset(seed=0)
        world.action_space.seed(0)
        for _ in range(20):
            observation, reward, *_, info = world.step(world.action_space.sample())
            assert np.isfinite(observation).all()
            assert np.isfinite(reward)
            assert "sim_unstable" not in info
        names = world.interface.observation_names
        assert len(set(names)) == len(names) == len(observation)
        model = world.model
        for total, element in ((model.nbody, model.body), (model.njnt, model.joint), (model.ngeom, model.geom)):
            assert len({element(index).name for index in range(total)} - {""}) == total
        seen[count] = set(names)
    for less, more in zip(counts, list(counts)[1:], strict=False):
        assert seen[less] < seen[more]


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("legged-ant", {"legs": 2}, "legs is from 3 to 6, not 2"),
        ("legged-ant", {"leg": 4}, "unknown number 'leg' (did you mean 'legs'?)"),
        ("link-reacher", {"links": 9}, "links is from 1 to 8, not 9"),
        ("hopper", {"links": 3}, "shape does not apply: gymnasium:hopper.xml is not built from numbers"),
        ("legged-ant", {"legs": 0}, "shape"),
    ],
)
def test_a_shape_that_does_not_exist_is_refused(name: str, shape: dict, message: str):
    with pytest.raises(InputError) as caught:
        RobotEnv(name, shape=shape)
    assert message in str(caught.value)


def test_families_have_variants_of_their_shape():
    for name in TWINS:
        assert any(variant.shape for variant in load(name).variants.values())

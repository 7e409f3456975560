"""Models that differ in numbers become one whose worlds have each their own; those that differ in more are refused."""

import mujoco
import numpy as np
import pytest
import torch

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.address import Address
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.stepping.env import built
from trl_suite.worlds.warp.limits import limits
from trl_suite.worlds.warp.merge import merged, solvable, structure
from trl_suite.worlds.warp.simulation import Simulation, StartControls

pytestmark = pytest.mark.xdist_group("warp")
OTHERS = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in content.names("envs")
    if name not in ("pusher", "link-reacher")
]
OTHER_ELEMENTS = ("shape", "backlash")  # axes whose variants have more links or joints


@pytest.mark.parametrize("name", ["pusher", "link-reacher", *OTHERS])
def test_all_variants_of_a_robot_are_of_one_structure(name: str):
    digests = {}
    for variant in ("", *load(name).variants):
        model = built(Address.parse(f"{name}.{variant}" if variant else name))[1]
        if not model.nhfield:  # refused: see test_accuracy
            digests.setdefault(structure(model), []).append(variant)
    alike = max(digests.values(), key=len)
    assert "" in alike
    variants = load(name).variants
    apart = [variant for found in digests.values() if found is not alike for variant in found]
    assert [variant for variant in apart if not set(OTHER_ELEMENTS) & dict(variants[variant].axes()).keys()] == []


XML = """
<mujoco>
  <option solver="{solver}"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 1" euler="0 {tilt} 0" friction="{friction} 0.01 0.01"/>
    <body pos="0 0 {height}">
      <joint name="slide" type="slide" axis="0 0 1" limited="{limited}" range="-1 1" damping="{damping}"/>
      <joint name="turn" type="hinge" axis="0 1 0"/>
      <geom type="capsule" size="0.1 0.3" density="{density}" contype="{contype}" friction="{friction} 0.01 0.01"/>
      {more}
    </body>
  </worldbody>
  <actuator><motor joint="turn" gear="100"/></actuator>
</mujoco>
"""
PLAIN = {
    "solver": "Newton", "tilt": "0", "height": "0.35", "limited": "true", "damping": "1", "density": "1000",
    "contype": "1", "friction": "1", "more": "",
}  # fmt: skip


def model(**changes: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(XML.format(**PLAIN | changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"contype": "2"}, "contype"),
        ({"limited": "false"}, "jnt_limited"),
        ({"solver": "CG"}, "opt.solver"),
        ({"more": '<geom size="0.01"/>'}, "ngeom"),
    ],
)
def test_what_is_no_number_per_world_is_refused_by_name(changes: dict[str, str], field: str):
    models = [model(), model(**changes)]
    with pytest.raises(InputError, match=f"other differs from plain in .*{field}"):
        merged(models, np.array([0, 1]), ["plain", "other"])
    assert structure(models[0]) != structure(models[1])


def test_pgs_becomes_newton_in_a_copy():
    asked = model(solver="PGS")
    assert solvable(asked).opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    assert asked.opt.solver == mujoco.mjtSolver.mjSOL_PGS
    assert solvable(model()).opt.solver == mujoco.mjtSolver.mjSOL_NEWTON


def test_every_world_has_the_numbers_and_the_floor_of_its_own_model():
    """A floor's place is written once, and a plane's tilt is a place."""
    models = [
        model(),
        model(tilt="20"),
        model(density="3000", damping="300"),
        model(height="0.6"),
        model(friction="0.1"),
    ]
    kinds = np.array([4, 0, 1, 2, 3, 1])
    still = StartControls(np.zeros((6, models[0].nu)), np.zeros((6, models[0].na)))
    made = Simulation(
        models,
        kinds,
        ["m"] * 5,
        frame_skip=5,
        fields=["qpos"],
        needed=limits(models, 5),
        contact_forces=False,
        start=still,
    )
    alone = [mujoco.MjData(models[kind]) for kind in kinds]
    every = torch.ones(len(kinds), dtype=torch.bool)
    state = np.array([[0.02, 0.3]] * len(kinds)), np.array([[-0.5, 0.5]] * len(kinds))
    made.write(every, *(torch.from_numpy(one.astype(np.float32)) for one in state))
    for data in alone:
        data.qpos[:], data.qvel[:] = state[0][0], state[1][0]
    for step in range(10):
        for kind, data in zip(kinds, alone, strict=True):
            data.ctrl[:] = np.sin(step)
            mujoco.mj_step(models[kind], data, 5)
        made.control.fill_(float(np.sin(step)))
        made.advance()
    theirs = np.array([data.qpos for data in alone])
    assert np.abs(made.position.numpy() - theirs).max() < 1e-3
    different = [np.abs(theirs[i] - theirs[j]).max() for i in range(5) for j in range(i)]
    assert min(different) > 1e-2

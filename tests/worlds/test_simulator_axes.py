"""Integrator, solver, cone and softness of contacts: the compiled model is the promised one, and nothing is idle."""

import mujoco
import numpy as np
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.axes.promises import breaches
from trl_suite.worlds.axes.simulator_axes import softened
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.stepping.env import RobotEnv

CHOICES = [
    *({"integrator": name} for name in ("Euler", "RK4", "implicit", "implicitfast")),
    *({"solver": name} for name in ("PGS", "CG", "Newton")),
    *({"cone": name} for name in ("pyramidal", "elliptic")),
    *({"contact_softness": scale} for scale in (0.9, 2.0)),
]


def compiled_or_refused(table, variation, axis):
    """The model; None where the axis is refused by its name."""
    try:
        return compiled(table, variation)
    except InputError as error:
        if axis not in str(error):
            raise
    return None


@pytest.mark.parametrize("axes", CHOICES, ids=str)
def test_each_choice_is_in_the_compiled_model_or_refused_by_name(axes):
    [(axis, choice)] = axes.items()
    taken = 0
    for name in content.names("envs"):
        table, variation = load(name), Variation(**axes)
        base = compiled(table, Variation())
        if (edited := compiled_or_refused(table, variation, axis)) is None:
            continue
        taken += 1
        assert not breaches(base, edited, variation, None)
        if axis == "contact_softness":
            assert np.allclose(edited.geom_solref[:, 0], base.geom_solref[:, 0] * choice)
        else:
            assert getattr(edited.opt, axis) != getattr(base.opt, axis)
    assert taken or choice in ("pyramidal",)


def test_a_planted_edit_is_found():
    table = load("hopper")
    base, edited = compiled(table, Variation()), compiled(table, Variation(cone="elliptic"))
    edited.opt.impratio = 7.0
    assert breaches(base, edited, Variation(cone="elliptic"), None) == ["opt.impratio of [0] is 7 instead of 1"]


def test_what_changes_nothing_is_refused():
    for axes, message in (
        ({"integrator": "RK4"}, "its integrator is RK4 already"),
        ({"contact_softness": 0.1}, r"0\.002 s, and MuJoCo lets none be shorter than 2 timesteps \(0\.004 s\)"),
    ):
        with pytest.raises(InputError, match=message):
            RobotEnv("hopper", **axes)
    with pytest.raises(InputError, match="implicitfast moves this model as its own integrator does"):
        RobotEnv("half-cheetah", integrator="implicitfast")
    with pytest.raises(InputError, match="no two of its geoms can touch"):
        RobotEnv("inverted-pendulum", cone="elliptic")
    with pytest.raises(InputError, match="'Verlet'"):
        RobotEnv("hopper", integrator="Verlet")


def test_a_softer_contact_gives_way_for_longer():
    """A ball on the floor, both forms of MuJoCo's reference: a time constant, and minus the stiffness and damping."""
    references = np.array([[0.02, 1.0], [-2500.0, -100.0]])
    assert np.allclose(softened(references, 2.0), [[0.04, 1.0], [-625.0, -50.0]])
    depths = []
    for solref in ("0.02 1", "0.04 1"):
        model = mujoco.MjModel.from_xml_string(
            f'<mujoco><default><geom solref="{solref}"/></default><worldbody><geom type="plane" size="1 1 1"/>'
            '<body pos="0 0 .1"><freejoint/><geom size=".1"/></body></worldbody></mujoco>'
        )
        data = mujoco.MjData(model)
        mujoco.mj_step(model, data, 2_000)
        depths.append(0.1 - data.qpos[2])
    assert depths[1] > 2 * depths[0]

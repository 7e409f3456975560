"""Uneven ground: it follows from its seed, is where it says, carries a robot, and is refused without a floor."""

import hashlib
from typing import Any

import mujoco
import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.axes.promises import breaches
from trl_suite.worlds.axes.terrain import floor_of, ground_of
from trl_suite.worlds.axes.variation import Gravity, Terrain, Variation
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.terms.sensors import reading

SMALL = Terrain(height=0.1, extent=(6.0, 4.0), seed=3)


def ground_at(change: Terrain, x: float, y: float) -> tuple[float, float]:
    """Lowest and highest corner of the cell at a place."""
    ground = ground_of(change)
    row, column = np.searchsorted(ground.y, y) - 1, np.searchsorted(ground.x, x) - 1
    corners = ground.heights[row : row + 2, column : column + 2]
    return float(corners.min()), float(corners.max())


@pytest.mark.parametrize("form", ["rolling", "steps"])
def test_the_ground_spans_its_height_and_is_flat_in_the_middle(form: Any):
    change = Terrain(height=0.06, form=form, flat=0.7)
    ground = ground_of(change)
    distance = np.hypot(ground.y[:, None], ground.x[None, :])
    assert np.ptp(ground.heights) == pytest.approx(0.06, abs=1e-12)
    assert not ground.heights[distance <= 0.7].any()
    assert ground.x[-1] == -ground.x[0] == pytest.approx(25.0)
    assert ground.heights.shape == (change.nodes[1], change.nodes[0])


def test_hills_are_smooth_and_blocks_are_level():
    hills, blocks = (ground_of(Terrain(height=0.06, form=form)).heights for form in ("rolling", "steps"))
    assert np.abs(np.diff(hills, axis=0)).max() < 0.015  # of neighbours 10 cm apart
    inside = np.arange(blocks.shape[1] - 1) % 8 != 7
    assert not np.diff(blocks, axis=1)[:, inside].any()
    assert np.abs(np.diff(blocks, axis=1)).max() > 0.03


def test_a_seed_is_the_same_ground_everywhere():
    text = np.round(ground_of(SMALL).heights * 1e6).astype(np.int64).tobytes()
    assert hashlib.sha256(text).hexdigest()[:16] == "9b68b587da0e068e"
    other = ground_of(Terrain(height=0.1, extent=(6.0, 4.0), seed=4)).heights
    assert np.abs(ground_of(SMALL).heights - other).max() > 0.02


@pytest.mark.parametrize("x", [-3.3, 2.1, 4.4])
def test_feet_rest_at_the_height_of_the_ground(x: float):
    """A robot that is put down somewhere touches the floor between the lowest and highest corner of the cell."""
    model = compiled(load("quadruped"), Variation(terrain=SMALL))
    assert model.geom("floor").type[0] == mujoco.mjtGeom.mjGEOM_HFIELD
    data = mujoco.MjData(model)
    data.qpos[:2], data.qpos[2] = (x, 1.7), 0.4
    for pattern, angle in (("*_thigh", 0.9), ("*_calf", -1.8)):
        data.qpos[reading(model, "position", [pattern]).indices] = angle
    mujoco.mj_step(model, data, 300)
    assert data.ncon >= 3
    for contact in data.contact:
        low, high = ground_at(SMALL, *contact.pos[:2])
        assert model.geom("floor").id in contact.geom
        assert low - 0.01 < contact.pos[2] < high + 0.01


def planted(change: Terrain, plant: Any = None) -> list[str]:
    """Breaches of a model with this ground, into which something was planted, against `SMALL`."""
    spec = load("quadruped")
    edited = compiled(spec, Variation(terrain=change))
    if plant:
        plant(edited)
    return breaches(compiled(spec, Variation()), edited, Variation(terrain=SMALL), None)


def test_another_ground_than_the_promised_one_is_found():
    assert not planted(SMALL)
    assert planted(Terrain(height=0.1, extent=(6.0, 4.0), seed=4))
    assert planted(Terrain(height=0.1, extent=(6.0, 4.8), seed=3))
    assert planted(Terrain(height=0.2, extent=(6.0, 4.0), seed=3))

    def raised(model: Any) -> None:
        model.hfield_data[500] += 0.1

    def shallow(model: Any) -> None:
        model.hfield_size[0, 2] *= 0.5

    def smooth(model: Any) -> None:
        model.geom_friction[floor_of(compiled(load("quadruped"), Variation()))] = 0.1

    assert planted(SMALL, raised) == ["the heights of floor 'floor' are not those of seed 3"]
    assert "of 'floor' is" in planted(SMALL, shallow)[0]
    assert "geom_friction of 'floor'" in planted(SMALL, smooth)[0]
    plain = compiled(load("quadruped"), Variation())
    assert breaches(plain, plain, Variation(terrain=SMALL), None)


def test_a_slope_and_hills_go_together():
    model = compiled(load("quadruped"), Variation(terrain=SMALL, gravity=Gravity(tilt=5.0)))
    assert model.nhfield == 1
    assert model.opt.gravity[0] < 0


def test_worlds_on_hills_and_on_the_plane_share_a_batch():
    variants = [None, {"terrain": {"height": 0.1, "extent": [6, 4], "seed": 3}}]
    batch = RobotVectorEnv(2, "quadruped", variants, autoreset_mode="Disabled")
    alone = [RobotEnv("quadruped", **(axes or {})) for axes in variants]
    observations, _ = batch.reset(seed=0)
    for seed, env in enumerate(alone):
        assert np.array_equal(env.reset(seed=seed)[0], observations[seed])
    rng = np.random.default_rng(0)
    for _ in range(10):
        actions = rng.uniform(-1, 1, (2, 12)).astype(np.float32)
        observations, rewards, *_ = batch.step(actions)
        for index, env in enumerate(alone):
            observation, reward, *_ = env.step(actions[index])
            assert np.array_equal(observation, observations[index])
            assert reward == rewards[index]


@pytest.mark.parametrize(
    ("env", "terrain", "message"),
    [
        ("quadruped", -0.03, "terrain: Expected `float` > 0"),
        ("quadruped", 2.0, "terrain: Expected `float` <= 1"),
        ("quadruped", {"height": 0.1, "hieght": 1}, "did you mean 'height'?"),
        ("quadruped", {"height": 0.1, "form": "hilly"}, "there is no 'hilly'; known: rolling, steps"),
        ("quadruped", {"height": 0.1, "size": 0.01}, "are more than 1,000,000: give a larger size or a smaller extent"),
        ("quadruped", {"height": 0.1, "extent": [0.4, 9]}, "leaves no hills in an extent of 0.4 m"),
        ("quadruped", {"height": 0.1, "flat": 0.2}, "it starts up to 0.35 m from the middle of its floor: give a"),
        ("half-cheetah", 0.05, "give a flat of 0.8 m"),
        ("inverted-pendulum", 0.05, "it has no floor: no plane of the world that can be touched"),
    ],
)  # fmt: skip
def test_ground_that_cannot_be_is_refused_in_one_line(env: str, terrain: Any, message: str):
    with pytest.raises(InputError) as caught:
        RobotEnv(env, terrain=terrain)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

"""An env whose ranges are drawn anew at each episode: alone, in a batch and under a schedule, by its own generator."""

import json

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_suite.errors import InputError
from trl_suite.worlds.address import Address
from trl_suite.worlds.axes.randomisation import draws
from trl_suite.worlds.axes.variation import Randomisation, RangeSchedule, Variation
from trl_suite.worlds.catalogue import described
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.identity import identity
from trl_suite.worlds.stepping.domain_pool import domain_pool
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.range_schedule import RangeSchedules
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp.merge import shared

RANGES = {"gravity": [0.5, 2.0], "gear": {"actuator": "foot_joint", "scale": [0.5, 1.5]}, "action_delay": [0, 2]}
ALWAYS_WIDER = {"widen": -1e9, "narrow": -2e9, "episodes": 1, "step": 0.5}
FALLING = {"ranges": {"gravity": [0.5, 2.0]}, "pool": 16, "schedule": ALWAYS_WIDER}


def actions_of(env: RobotVectorEnv, steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, *env.action_space.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("env", "randomise"),
    [
        ("hopper", {"ranges": RANGES, "pool": 4}),
        ("hopper", FALLING),
        ("ant", {"ranges": {"friction": [0.5, 2.0], "observation_noise": [0, 0.1]}, "pool": 3}),  # contact forces
        ("arm-reach", True),
        ("hopper", {"ranges": {"backlash": [0.01, 0.2]}, "pool": 4}),
        (
            "hopper",
            {"ranges": {"backlash": {"joint": "leg_joint", "value": [0.01, 0.2]}}, "pool": 4, "schedule": ALWAYS_WIDER},
        ),
    ],
)
def test_an_env_alone_and_one_of_a_batch_draw_and_act_alike(env: str, randomise):
    alone = RobotEnv(env, randomise=randomise)
    batch = RobotVectorEnv(2, env, randomise=randomise, autoreset_mode="Disabled")
    seen = set()
    for episode in range(8):
        first, _ = alone.reset(seed=3 if episode == 0 else None)
        mask = {"reset_mask": np.array([True, False])} if episode else None
        together, _ = batch.reset(seed=[3, 4] if episode == 0 else None, options=mask)
        assert alone.address == batch.addresses[0]
        assert alone.ranges() == batch.ranges(0)
        assert first.tolist() == together[0].tolist()
        seen.add(alone.address)
        for action in actions_of(batch, 120):
            one, many = alone.step(action[0]), batch.step(action)
            assert one[0].tolist() == many[0][0].tolist()
            assert one[1] == many[1][0]
            if one[2] or many[3][0]:
                break
    assert len(seen) > 1


def test_the_same_seed_draws_the_same_and_a_state_goes_on_exactly():
    first, second = (RobotEnv("hopper", randomise=FALLING) for _ in "ab")
    first.reset(seed=1), second.reset(seed=8)
    for env in (first, second):
        for _ in range(30):
            if env.step(np.ones(3, dtype=np.float32))[2]:
                env.reset()
    second.restore(first.state())
    for _ in range(6):
        assert first.address == second.address
        assert first.step(np.zeros(3))[0].tolist() == second.step(np.zeros(3))[0].tolist()
        assert first.reset()[0].tolist() == second.reset()[0].tolist()
        assert first.ranges() == second.ranges()


def test_a_pool_spreads_evenly_over_its_ranges_and_keeps_within_them():
    pool = draws(Randomisation(ranges=RANGES, pool=20), "here")
    scales = sorted(variation.gravity for variation in pool.variations)
    tenths = np.linspace(np.log(0.5), np.log(2.0), 11)
    assert (np.histogram(np.log(scales), tenths)[0] == 2).all()  # a Latin hypercube: as many in each tenth
    assert {variation.action_delay for variation in pool.variations} == {None, 1, 2}
    assert all(0.5 <= part.gear.scale <= 1.5 for part in pool.variations)
    assert pool.variations == draws(Randomisation(ranges=RANGES, pool=20), "elsewhere").variations
    assert pool.variations != draws(Randomisation(ranges=RANGES, pool=20, seed=1), "here").variations


def test_a_schedule_begins_at_the_env_as_it_stands():
    schedule = RangeSchedule(widen=0.8, narrow=0.2)
    pool = draws(Randomisation(ranges={"mass": [1.0, 3.0], "gravity": [0.5, 2.0]}, pool=9, schedule=schedule), "here")
    assert pool.variations[0] == Variation(mass=1.0, gravity=1.0)
    assert (pool.shares[:, 0] >= 0).all()  # nothing below the nominal mass
    assert {entry.name: entry.sides for entry in pool.ranges} == {"mass": (False, True), "gravity": (True, True)}


def test_play_is_drawn_per_joint_and_begins_at_the_least():
    plays = [{"joint": name, "value": ends} for name, ends in (("leg_joint", [0.01, 0.03]), ("foot_joint", [0.1, 0.2]))]
    pool = draws(Randomisation(ranges={"backlash": plays}, pool=12), "here")
    values = np.array([[part.value for part in variation.backlash] for variation in pool.variations])
    assert [entry.name for entry in pool.ranges] == ["backlash of leg_joint", "backlash of foot_joint"]
    assert ((values >= [0.01, 0.1]) & (values <= [0.03, 0.2])).all()
    assert len(np.unique(values[:, 0])) == 12
    schedule = RangeSchedule(widen=0.8, narrow=0.2)
    first = draws(Randomisation(ranges={"backlash": plays}, pool=12, schedule=schedule), "here").variations[0]
    assert [part.value for part in first.backlash] == [0.01, 0.1]


@given(
    low=st.floats(1e-6, 0.5), share=st.floats(0.0, 1.0), axis=st.sampled_from(["backlash", "gravity", "action_noise"])
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_every_draw_lies_in_its_range_however_narrow_that_is(low: float, share: float, axis: str):
    """Values once were rounded to four digits, and a narrow range to nothing."""
    high = low + share * (0.5 - low)
    pool = draws(Randomisation(ranges={axis: [low, high]}, pool=8), "here")
    values = [getattr(variation, axis) for variation in pool.variations]
    assert all(low <= value <= high for value in values)
    assert len(set(values)) >= 6 or high - low < 1e-9


def scheduled(**schedule) -> RangeSchedules:
    randomise = {"ranges": {"gravity": [0.5, 2.0]}, "pool": 32, "schedule": schedule}
    return RangeSchedules([domain_pool(Address.parse(f"hopper?randomise={json.dumps(randomise)}"))])


def test_ends_move_out_on_success_and_in_on_failure():
    schedules = scheduled(widen=0.8, narrow=0.2, episodes=2, at_end=1.0)
    rng = np.random.default_rng(0)
    for _ in range(100):
        schedules.draw(0, rng)
        schedules.finish(0, 1.0)
    assert schedules.reached(0) == {"gravity": (0.5, 2.0)}
    for _ in range(200):
        schedules.draw(0, rng)
        schedules.finish(0, 0.0)
    assert schedules.reached(0) == {"gravity": (1.0, 1.0)}
    for _ in range(10):
        schedules.draw(0, rng)
        schedules.finish(0, 0.5)  # neither
    assert schedules.reached(0) == {"gravity": (1.0, 1.0)}


def test_an_episode_at_an_end_is_of_the_outermost_world_inside_the_ranges():
    schedules = scheduled(widen=0.8, narrow=0.2, start=0.5, at_end=1.0)
    pool = schedules._pools[0]
    inside = pool.shares[(np.abs(pool.shares) <= 0.5).all(axis=1), 0]
    drawn = {float(pool.shares[schedules.draw(0, np.random.default_rng(seed)), 0]) for seed in range(20)}
    assert drawn == {float(inside.min()), float(inside.max())}


def test_envs_of_one_run_learn_their_ends_together_and_those_of_two_runs_apart():
    pool = scheduled(widen=0.8, narrow=0.2, episodes=1, at_end=1.0)._pools[0]
    schedules, rng = RangeSchedules([pool] * 4, [0, 0, 2, 2]), np.random.default_rng(0)
    for _ in range(4):
        schedules.draw(1, rng)
        schedules.finish(1, 1.0)
    assert schedules.reached(0) == schedules.reached(1) != schedules.reached(2) == schedules.reached(3)


@pytest.mark.parametrize(
    ("randomise", "message"),
    [
        ({"ranges": {"gravty": [0.5, 2.0]}}, r"unknown axis 'gravty' \(did you mean 'gravity'\?\)"),
        ({"ranges": {"reward": {"effort": [0.5, 2.0]}}}, "reward: not drawn for each episode; these are"),
        ({"ranges": {"timestep": [0.5, 1.0]}}, "timestep: not drawn for each episode"),
        (
            {"ranges": {"terrain": [0.01, 0.05]}},
            "terrain: not drawn for each episode; its height field is compiled: set",
        ),
        ({"ranges": {"terrain": {"height": [0.01, 0.05], "seed": 3}}}, "list several in source.variants"),
        ({"ranges": {"backlash": [0, 0.05]}}, "backlash: play is above 0 in every world, not 0: begin at 0.001"),
        ({"ranges": {"backlash": [0.1, 0.9]}}, "backlash: Expected `float` <= 0.5"),
        (
            {"ranges": {"backlash": {"joint": "leg", "value": [0.1, 0.2]}}},
            r"motor 'leg' \(did you mean 'leg_joint'\?\)",
        ),
        ({"ranges": {"backlash": {"joint": "leg_joint", "value": 0.1}}}, r"a range is two numbers, \[low, high\]"),
        ({"ranges": {"gravity": 0.5}}, r"gravity: 0.5: a range is two numbers, \[low, high\]"),
        ({"ranges": {"gravity": [2.0, 0.5]}}, "gravity: 2 is above 0.5"),
        ({"ranges": {"gravity": [0.0, 0.5]}}, "gravity: a scale must be above 0, not 0"),
        ({"ranges": {"gravity": {"tlt": [0, 5]}}}, "unknown key 'tlt'"),
        ({"ranges": {"action_delay": [0.5, 2]}}, "action_delay: control steps are whole numbers"),
        ({"ranges": {"action_delay": [-1, 2]}}, "action_delay"),
        ({"ranges": {}}, "ranges"),
        ({"ranges": RANGES, "pool": 1}, "pool"),
        ({"ranges": RANGES, "schedule": {"widen": 0.2, "narrow": 0.8}}, "narrow, 0.8, is not below widen, 0.2"),
        (
            {"ranges": {"mass": {"body": "foot", "value": [1, 2]}}, "schedule": {"widen": 1, "narrow": 0}},
            "mass of foot: a schedule begins at the nominal value",
        ),
        (True, r"the table of 'hopper' has no \[randomisation\]"),
    ],
)
def test_ranges_that_cannot_be_are_one_line(randomise, message: str):
    with pytest.raises(InputError, match=message) as caught:
        RobotEnv("hopper", randomise=randomise)
    assert "\n" not in str(caught.value)


def test_an_axis_is_not_drawn_and_set():
    with pytest.raises(InputError, match="gravity is set twice"):
        RobotEnv("hopper", gravity=2.0, randomise={"ranges": {"gravity": [0.5, 2.0]}})
    with pytest.raises(InputError, match="gravity is set twice"):
        RobotEnv("hopper", "gravity-0.5", randomise={"ranges": {"gravity": [0.5, 2.0]}})


def test_warp_refuses_to_draw_by_name():
    with pytest.raises(InputError, match="draws no models anew at each episode"):
        shared(f"hopper?randomise={json.dumps({'ranges': RANGES})}")


@pytest.mark.parametrize("env", ["arm-reach", "arm-push", "arm-lift", "hand-turn", "quadruped"])
def test_the_ranges_of_a_table_are_worlds_of_that_env(env: str):
    made = gymnasium.make(f"trl_suite/{''.join(map(str.title, env.split('-')))}-v0", randomise=True)
    assert made.reset(seed=0)[0].shape == made.observation_space.shape
    pool = domain_pool(Address.parse(f"{env}?randomise=true"))
    assert len(set(pool.addresses)) == len(pool.addresses) == 32
    assert described(Variation(randomise=load(env).randomisation)).startswith("drawn anew at each episode: ")


def test_the_ranges_that_a_table_offers_are_no_part_of_the_env_until_they_are_asked_for():
    plain, drawn = identity("arm-reach"), identity("arm-reach?randomise=true")
    assert "randomisation" not in plain["env"]
    assert drawn["variation"]["randomise"]["ranges"] == load("arm-reach").randomisation.ranges
    assert identity("arm-reach?randomise=false") == plain

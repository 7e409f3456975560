"""A world in a batch goes the way that it goes alone, to the last digit."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.stepping.env import make
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv

ENVS = content.names("envs")


def id_of(name: str) -> str:
    return f"trl_suite/{''.join(part[:1].upper() + part[1:] for part in name.split('-'))}-v0"


def batch_and_sync(name: str, variants: list, mode: AutoresetMode, limit: int, **kwargs):
    batch = gymnasium.make_vec(
        id_of(name),
        num_envs=len(variants),
        vectorization_mode="vector_entry_point",
        variants=variants,
        autoreset_mode=mode.value,
        max_episode_steps=limit,
        **kwargs,
    )

    def single(variant):
        own = {"variant": variant} if isinstance(variant, str) else variant or {}
        return lambda: gymnasium.make(id_of(name), max_episode_steps=limit, **own, **kwargs)

    return batch, SyncVectorEnv([single(one) for one in variants], autoreset_mode=mode)


def same_infos(left: dict, right: dict) -> None:
    assert set(left) == set(right)
    for key, value in right.items():
        if isinstance(value, dict):
            same_infos(left[key], value)
        elif value.dtype == object:
            for mine, theirs in zip(left[key], value, strict=True):
                assert np.array_equal(mine, theirs)
        else:
            assert np.array_equal(left[key], value), key


WAYS = [
    (AutoresetMode.NEXT_STEP, True),
    (AutoresetMode.SAME_STEP, False),
    (AutoresetMode.NEXT_STEP, False),
    (AutoresetMode.SAME_STEP, True),
]


@pytest.mark.parametrize(
    ("name", "mode", "warm_start"),
    [
        pytest.param(name, *way, marks=[] if place == index % len(WAYS) else [pytest.mark.slow])
        for index, name in enumerate(ENVS)
        for place, way in enumerate(WAYS)
    ],
)
def test_every_world_goes_as_it_goes_alone(name: str, mode: AutoresetMode, warm_start: bool):
    """All variants of the env with its slots in one batch, through terminations, truncations and resets."""
    spec = load(name)
    slots = make(name).unwrapped.interface
    variants = [None, *(v for v in spec.variants if make(f"{name}.{v}").unwrapped.interface == slots)]
    variants = [v for v in variants if not (v and (spec.variants[v].control_range))]
    played = [v for v in variants if v and spec.variants[v].backlash is not None]  # other joints: a batch of their own
    for alike in filter(None, ([v for v in variants if v not in played], played)):
        goes_as_alone(name, alike, mode, warm_start)


def goes_as_alone(name: str, variants: list[str | None], mode: AutoresetMode, warm_start: bool):
    batch, sync = batch_and_sync(name, variants, mode, limit=25, warm_start=warm_start)
    assert np.array_equal(batch.reset(seed=5)[0], sync.reset(seed=5)[0])
    rng = np.random.default_rng(0)
    for _ in range(60):
        scale = batch.single_action_space.high * rng.choice([0.05, 1.0])
        actions = (rng.uniform(-1, 1, batch.action_space.shape) * scale).astype(np.float32)
        left, right = batch.step(actions), sync.step(actions)
        for mine, theirs in zip(left[:4], right[:4], strict=True):
            assert np.array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
        same_infos(left[4], right[4])
    batch.close()


SENSING = [
    None,
    {"observation_noise": 0.1},
    {"observation_delay": 3, "action_delay": 2},
    {"action_noise": 0.2, "action_inversion": True},
    {"observation_mask": ["rootz.position"], "action_scale": 0.5, "observation_noise": {"std": 1.0}},
    {"target_speed": 2.0, "gravity": 0.5},
    {"timestep": 0.5},
    {"timestep": {"scale": 0.5, "frame_skip": 3}, "reward": {"effort": 3.0}},
    {"direction": -1},
]


@pytest.mark.parametrize("name", ["half-cheetah", "hopper", "walker2d"])
def test_worlds_of_all_kinds_mix(name: str):
    batch, sync = batch_and_sync(name, SENSING, AutoresetMode.NEXT_STEP, limit=30)
    assert np.array_equal(batch.reset(seed=1)[0], sync.reset(seed=1)[0])
    rng = np.random.default_rng(0)
    for _ in range(80):
        actions = rng.uniform(-1, 1, batch.action_space.shape).astype(np.float32)
        left, right = batch.step(actions), sync.step(actions)
        for mine, theirs in zip(left[:4], right[:4], strict=True):
            assert np.array_equal(mine, theirs)
        for key in right[4]:
            assert np.array_equal(left[4][key], right[4][key]), key


@pytest.mark.parametrize("name", ["half-cheetah", "ant"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_an_unstable_world_ends_and_the_others_go_on(name: str, mode: AutoresetMode):
    batch = RobotVectorEnv(3, name, autoreset_mode=mode)
    batch.reset(seed=0)
    calm = RobotVectorEnv(3, name, autoreset_mode=mode)
    calm.reset(seed=0)
    velocity = batch._physics._data[1].qvel if name == "ant" else batch._physics.field("qvel")[1]
    velocity[0] = 1e11
    zero = np.zeros(batch.action_space.shape, np.float32)
    observation, reward, terminated, truncated, infos = batch.step(zero)
    expected = calm.step(zero)
    assert terminated.tolist() == [False, True, False]
    assert not truncated.any()
    assert reward[1] == 0.0
    assert np.isfinite(observation).all()
    told = infos["final_info"] if mode == AutoresetMode.SAME_STEP else infos
    assert told["sim_unstable"].tolist() == [False, True, False]
    assert mode != AutoresetMode.SAME_STEP or not np.array_equal(infos["final_obs"][1], observation[1])
    if mode == AutoresetMode.DISABLED:
        batch.reset(options={"reset_mask": terminated})
    for _ in range(3):
        assert np.array_equal(observation[[0, 2]], expected[0][[0, 2]])
        assert np.array_equal(reward[[0, 2]], expected[1][[0, 2]])
        observation, reward, terminated, _, infos = batch.step(zero)
        expected = calm.step(zero)
        assert not terminated.any()
        assert "sim_unstable" not in infos


def test_seeds_are_gymnasiums():
    batch = RobotVectorEnv(3, "hopper")
    first = batch.reset(seed=7)[0]
    assert np.array_equal(first, batch.reset(seed=[7, 8, 9])[0])
    assert not np.array_equal(first, batch.reset()[0])
    for world in range(3):
        assert np.array_equal(first[world], make("hopper").reset(seed=7 + world)[0])


def test_a_mask_resets_some_worlds():
    batch = RobotVectorEnv(3, "hopper", autoreset_mode="Disabled")
    first = batch.reset(seed=0)[0]
    after = batch.step(np.zeros((3, 3), np.float32))[0]
    again = batch.reset(seed=0, options={"reset_mask": np.array([False, True, False])})[0]
    assert np.array_equal(again[1], first[1])
    assert np.array_equal(again[[0, 2]], after[[0, 2]])


def test_the_number_of_threads_changes_nothing():
    def trace(threads: int, name: str) -> np.ndarray:
        batch = RobotVectorEnv(5, name, threads=threads)
        batch.reset(seed=0)
        rng = np.random.default_rng(0)
        actions = rng.uniform(-1, 1, (20, *batch.action_space.shape)).astype(np.float32)
        return np.array([batch.step(action)[0] for action in actions])

    for name in ("half-cheetah", "ant"):
        assert np.array_equal(trace(1, name), trace(3, name))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"variants": ["gravity-1.5"]}, "1 variants for 2 worlds"),
        ({"variants": ["gravity-1.5", "nope"]}, "unknown variant 'nope'"),
        ({"variants": [None, {"gravty": 2}]}, "unknown key 'gravty'"),
        ({"variants": [None, {"observe": {"place": True}}]}, "has other slots than hopper"),
        ({"variants": [None, {"gravity": 2}], "gravity": 2}, "gravity is set twice"),
        ({"variants": [None, None], "variant": "gravity-1.5"}, "give either variant or variants"),
        ({"variants": [None, {"control_range": 0.5}]}, "control ranges differ"),
        ({"render_mode": "rgb_array"}, "draws no pictures"),
    ],
)
def test_a_bad_batch_names_what_is_wrong(kwargs: dict, message: str):
    with pytest.raises(InputError) as caught:
        RobotVectorEnv(2, "hopper", **kwargs)
    assert message in str(caught.value)


def test_bad_actions_are_refused():
    batch = RobotVectorEnv(2, "hopper")
    batch.reset(seed=0)
    with pytest.raises(InputError, match="actions have shape"):
        batch.step(np.zeros((2, 4)))
    with pytest.raises(FloatingPointError, match=r"world 1, hopper: .*leg_joint.control = nan"):
        batch.step(np.array([[0.0, 0.0, 0.0], [0.0, np.nan, 0.0]]))

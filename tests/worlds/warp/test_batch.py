"""A batch on Warp is the batch on MuJoCo: its modes, its bookkeeping, and one world's independence of the others."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from trl_suite.errors import InputError
from trl_suite.worlds.stepping import task
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp import initial_states
from trl_suite.worlds.warp.limits import Limits
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

pytestmark = pytest.mark.xdist_group("warp")


def made(worlds: int = 4, env: str = "hopper", variants=None, **kwargs) -> WarpVectorEnv:
    return WarpVectorEnv(worlds, env, variants, device="cpu", **kwargs)


def trace(batch: WarpVectorEnv, steps: int, worlds: int | None = None, seed: int = 0) -> torch.Tensor:
    """Return the observations (steps + 1, worlds, slots) under controls that depend on world and step alone."""
    found = [batch.reset(seed=seed)[0].clone()]
    rng = np.random.default_rng(1)
    shape = (steps, 64, *batch.single_action_space.shape)
    actions = torch.from_numpy(rng.uniform(-1, 1, shape).astype(np.float32))
    for action in actions[:, : batch.num_envs]:
        found.append(batch.step(action)[0].clone())
    return torch.stack(found)[:, :worlds]


VARIANTS = [
    None,
    {"gravity": 0.5},
    {"observation_delay": 3, "action_delay": 2},
    {"action_inversion": True, "action_scale": 0.5},
    {"observation_mask": ["rootz.position"]},
    {"direction": -1},
    {"target_speed": 2.0, "reward": {"effort": 3.0}},
    {"terminates": False},
    {"mass": {"body": "torso", "scale": 2}, "friction": 0.5},
]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_modes_terms_and_channels_are_those_of_the_batch_on_mujoco(mode: AutoresetMode, monkeypatch):
    """From equal first states, through terminations, truncations and resets, in the eyes of every variant."""
    # off the nominal pose: there Hopper's leg is at the very end of its range, and rounding says whether it is beyond
    monkeypatch.setattr(task, "_noise", lambda rng, spread, size: np.linspace(-0.004, 0.004, size))
    monkeypatch.setattr(
        initial_states._InitialNoise, "of", lambda self, drawn, width: torch.linspace(-0.004, 0.004, width)
    )
    ours = made(len(VARIANTS), variants=VARIANTS, autoreset_mode=mode, max_episode_steps=12)
    theirs = RobotVectorEnv(len(VARIANTS), "hopper", VARIANTS, autoreset_mode=mode, max_episode_steps=12)
    assert np.allclose(ours.reset(seed=0)[0], theirs.reset(seed=0)[0], atol=1e-5)
    rng, ended = np.random.default_rng(2), 0
    shown = np.ones(len(VARIANTS), dtype=bool)  # what is seen of a world that has ended means nothing until its reset
    for _ in range(30):
        actions = rng.uniform(-1, 1, theirs.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, infos = ours.step(torch.from_numpy(actions))
        wanted = theirs.step(actions)
        assert np.array_equal(terminated, wanted[2])
        assert np.array_equal(truncated, wanted[3])
        assert np.allclose(observation[shown], wanted[0][shown], atol=2e-3, rtol=1e-3)
        assert np.allclose(reward, wanted[1], atol=1e-3)
        same_infos(infos, wanted[4], wanted[2] | wanted[3])
        ended += int(terminated.sum() + truncated.sum())
        shown = ~(wanted[2] | wanted[3]) | (mode != AutoresetMode.DISABLED)
    assert ended > len(VARIANTS)
    assert ours.overflown() == 0


def same_infos(ours: dict, theirs: dict, ended: np.ndarray) -> None:
    final = theirs.get("final_info", {})
    for key, values in ours.items():
        if key.startswith("reward_"):
            wanted = np.where(ended, final[key], theirs.get(key, 0.0)) if key in final else theirs.get(key, 0.0)
            assert np.allclose(values, wanted, atol=1e-3), key
    if "final_obs" in theirs:
        assert np.array_equal(ours["_final_obs"], theirs["_final_obs"])
        for world in np.flatnonzero(theirs["_final_obs"]):
            assert np.allclose(ours["final_obs"][world], theirs["final_obs"][world], atol=2e-3, rtol=1e-3)


def test_the_same_seed_gives_the_same_to_the_bit():
    first, again = trace(made(), 20), trace(made(), 20)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], trace(made(), 0, seed=1)[0])


def test_a_world_does_not_depend_on_how_many_others_there_are():
    few, many = trace(made(3), 0), trace(made(7), 0, worlds=3)
    assert torch.equal(few, many)
    noisy = {"observation_noise": 0.1, "action_noise": 0.1}
    few, many = trace(made(3, **noisy), 10), trace(made(7, **noisy), 10, worlds=3)
    assert torch.allclose(few, many, atol=1e-4)


def test_graphs_change_nothing():
    """The same steps, captured and not: on Warp's CPU device too the physics is a graph from the third step on."""
    captured, plain = made(), made()
    plain._program._runs = 10**6  # past the step of the capture
    assert torch.equal(trace(captured, 12), trace(plain, 12))
    assert captured._program._graphs
    assert not plain._program._graphs


def test_tensors_are_the_simulators_own_memory():
    batch = made()
    first, _ = batch.reset(seed=0)
    before = batch._simulation.position.data_ptr()
    second = batch.step(torch.zeros(4, 3))[0]
    assert first.data_ptr() == second.data_ptr()
    assert batch._simulation.position.data_ptr() == before == batch._simulation._data.qpos.ptr


@pytest.mark.parametrize("name", ["hopper", "ant"])
def test_a_mask_resets_some_worlds_and_leaves_the_others_to_the_bit(name: str):
    ours, untouched = (made(env=name, autoreset_mode="Disabled") for _ in range(2))
    trace(ours, 5), trace(untouched, 5)
    kept, mask = ours._observation.clone(), torch.tensor([False, True, False, True])
    again = ours.reset(options={"reset_mask": mask})[0].clone()
    assert torch.equal(again[~mask], kept[~mask])
    assert not torch.isclose(again[mask], kept[mask]).all(1).any()
    action = torch.full(ours.action_space.shape, 0.1)
    assert torch.equal(ours.step(action)[0][~mask], untouched.step(action)[0][~mask])


@pytest.mark.parametrize(
    ("name", "mode"), [*(("half-cheetah", mode) for mode in AutoresetMode), ("ant", AutoresetMode.SAME_STEP)]
)
def test_a_world_that_is_no_longer_finite_ends_and_the_others_go_on(name: str, mode: AutoresetMode):
    batch, calm = (made(3, name, autoreset_mode=mode) for _ in range(2))
    trace(batch, 3), trace(calm, 3)
    batch._simulation.velocity[1, 0] = torch.nan
    zero = torch.zeros(batch.action_space.shape)
    for step in range(4):
        observation, reward, terminated, truncated, infos = batch.step(zero)
        wanted = calm.step(zero)
        assert observation.isfinite().all()
        assert torch.equal(observation[[0, 2]], wanted[0][[0, 2]])
        assert torch.equal(reward[[0, 2]], wanted[1][[0, 2]])
        assert infos["sim_unstable"].tolist() == [False, step == 0, False]
        assert bool(terminated[1]) == (step == 0)
        assert not truncated.any()
        if step == 0:
            assert reward[1] == 0.0
            if mode == AutoresetMode.DISABLED:
                batch.reset(options={"reset_mask": terminated})


def test_an_action_that_is_no_number_ends_its_own_episode_alone():
    batch = made(3, autoreset_mode="SameStep")
    batch.reset(seed=0)
    actions = torch.zeros(3, 3)
    actions[2, 0] = torch.nan
    observation, _, terminated, _, infos = batch.step(actions)
    assert terminated.tolist() == infos["sim_unstable"].tolist() == [False, False, True]
    assert observation.isfinite().all()
    assert not batch.step(torch.zeros(3, 3))[2].any()


def test_what_does_not_fit_is_counted_and_refused(monkeypatch):
    monkeypatch.setattr("trl_suite.worlds.warp.warp_env.limits", lambda models, skip: Limits(8, 3))
    batch = made(4, "half-cheetah")
    trace(batch, 60)
    assert batch.overflown() > 0
    with pytest.raises(InputError, match=r"half-cheetah: physics on Warp: contacts or constraints of \d of 4 worlds"):
        batch.refuse_overflow()


def test_noise_has_its_deviation():
    batch = made(64, variants=[{"observation_noise": 0.5}] * 32 + [None] * 32)
    calm = made(64)
    apart = batch.reset(seed=0)[0] - calm.reset(seed=0)[0]
    assert 0.4 < float(apart[:32].std()) < 0.6
    assert not apart[32:].any()


@pytest.mark.parametrize(
    ("worlds", "kwargs", "message"),
    [
        (2, {"variants": ["gravity-1.5"]}, "1 variants for 2 worlds"),
        (2, {"variants": [None, {"timestep": 0.5}]}, "4, 8 physics steps per control step cannot share"),
        (2, {"render_mode": "rgb_array"}, "draws no pictures"),
        (2, {"variants": [None, {"observe": {"place": True}}]}, "has other slots than hopper"),
        (2000, {}, "worlds at most"),
    ],
)
def test_a_bad_batch_names_what_is_wrong(worlds: int, kwargs: dict, message: str, monkeypatch):
    if worlds > 2:
        monkeypatch.setattr("trl_suite.machine_resources.available_bytes", lambda: 10**7)
    with pytest.raises(InputError) as caught:
        made(worlds, **kwargs)
    assert message in str(caught.value)


def test_actions_of_another_shape_are_refused():
    batch = made(2)
    batch.reset(seed=0)
    with pytest.raises(InputError, match=r"actions have shape \(2, 3\) on cpu, not \(2, 4\)"):
        batch.step(torch.zeros(2, 4))

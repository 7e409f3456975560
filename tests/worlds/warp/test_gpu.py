"""What only a CUDA device can show: both libraries' graphs on one stream, and a step that asks nothing of the host."""

import pytest
import torch

from trl_suite.worlds.warp.warp_env import WarpVectorEnv

pytestmark = pytest.mark.gpu
VARIANTS = [None, "gravity-1.5", {"direction": -1}, {"observation_noise": 0.1, "action_delay": 2}]


def made(name: str = "ant", **kwargs) -> WarpVectorEnv:
    return WarpVectorEnv(256, name, VARIANTS * 64, device="cuda", autoreset_mode="SameStep", **kwargs)


def trace(batch: WarpVectorEnv, steps: int) -> torch.Tensor:
    generator = torch.Generator("cuda").manual_seed(0)
    found = [batch.reset(seed=0)[0].clone()]
    for _ in range(steps):
        actions = 2.0 * torch.rand(batch.action_space.shape, generator=generator, device="cuda") - 1.0
        found.append(batch.step(actions)[0].clone())
    return torch.stack(found)


@pytest.mark.parametrize("name", ["half-cheetah", "ant"])
def test_a_step_asks_nothing_of_the_host(name: str):
    batch = made(name)
    trace(batch, 5)
    actions = torch.zeros(batch.action_space.shape, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            batch.step(actions)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_graphs_change_nothing_within_rounding():
    captured, plain = made(max_episode_steps=6), made(max_episode_steps=6)
    plain._program._runs = 10**6  # past the step of the capture
    left, right = trace(captured, 12), trace(plain, 12)
    assert float((left - right).abs().median()) < 1e-4
    assert left.isfinite().all()
    assert captured._program._graphs


def test_first_states_are_those_of_the_cpu():
    on_cpu = WarpVectorEnv(256, "ant", VARIANTS * 64, device="cpu").reset(seed=0)[0]
    assert float((trace(made(), 0)[0].cpu() - on_cpu).abs().max()) < 1e-4


def test_a_caller_on_another_stream_is_waited_for():
    batch, other = made("half-cheetah"), torch.cuda.Stream()
    alone = trace(batch, 10)
    with torch.cuda.stream(other):
        beside = trace(made("half-cheetah"), 10)
    torch.cuda.synchronize()
    assert float((alone - beside).abs().median()) < 1e-4

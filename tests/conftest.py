"""What every test may use."""

from collections.abc import Callable

import pytest
import torch

from trl_suite.interface import Interface, Slot
from trl_suite.networks.card import Card, Network, Normaliser, Training
from trl_suite.networks.policy import Policy

torch.set_num_threads(1)  # as every run does


def interface(observation: list[str], action: list[str]) -> Interface:
    return Interface(
        observation=tuple(Slot(name, "rad") for name in observation), action=tuple(Slot(name, "1") for name in action)
    )


@pytest.fixture
def make_policy() -> Callable[..., Policy]:
    """A random policy of two tanh layers over named slots, as a source."""

    def make(observation: list[str], action: list[str], hidden: tuple[int, ...] = (4, 4), seed: int = 0) -> Policy:
        return Policy(
            card=card(interface(observation, action), hidden),
            components=random_components(len(observation), len(action), hidden, torch.Generator().manual_seed(seed)),
        )

    return make


def card(slots: Interface, hidden: tuple[int, ...]) -> Card:
    actions = len(slots.action)
    return Card(
        algorithm="ppo",
        network=Network(
            actor=hidden, critic=hidden, activation="tanh", action_low=(-1.0,) * actions, action_high=(1.0,) * actions
        ),
        interface=slots,
        training=Training(env="test", seed=0, steps=0),
        normaliser=Normaliser(
            observation=True, reward=True, clip_observation=10.0, clip_reward=10.0, epsilon=1e-8, gamma=0.99
        ),
    )


def random_components(
    observations: int, actions: int, hidden: tuple[int, ...], generator: torch.Generator, learning: bool = False
) -> dict[str, dict[str, torch.Tensor]]:
    """Components of a PPO learner; as parameters where `learning`."""

    def numbers(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator)
        return torch.nn.Parameter(values) if learning else values

    found: dict[str, dict[str, torch.Tensor]] = {}
    for part, outputs in (("actor", actions), ("critic", 1)):
        inputs = observations
        for layer, width in enumerate(hidden):
            found[f"{part}.trunk.{layer}"] = {"weight": numbers(width, inputs), "bias": numbers(width)}
            inputs = width
        found[f"{part}.head"] = {"weight": numbers(outputs, inputs), "bias": numbers(outputs)}
    found["log_std"] = {"value": numbers(actions)}
    for name, shape in (("normaliser.observation", (observations,)), ("normaliser.return", ())):
        found[name] = {
            "mean": torch.randn(shape, generator=generator, dtype=torch.float64),
            "var": torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5,
            "count": torch.tensor(5000.0, dtype=torch.float64),
        }
    return found

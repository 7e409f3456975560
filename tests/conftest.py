"""What every test may use."""

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trl_suite.interface import Interface, Slot
from trl_suite.networks.card import Card, Network, Normaliser, Training
from trl_suite.networks.policy import Policy

torch.set_num_threads(1)  # as every run does


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their module go to one worker, which makes it once."""
    for item in items:
        if isinstance(item, pytest.Function) and not item.get_closest_marker("xdist_group") and shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def shares_a_fixture(item: pytest.Function) -> bool:
    return any(named[-1].scope == "module" for named in item._fixtureinfo.name2fixturedefs.values())


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


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout; tests that share it carry the mark `xdist_group("wheel")`."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=Path(__file__).parent.parent, check=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """An environment outside of the checkout that holds the wheel, and lends its dependencies from this one."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python, lent = folder / "bin/python", sysconfig.get_path("purelib")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(f"{lent}\n")  # its own .pth files, the editable checkout's among them, are not read
    return folder


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

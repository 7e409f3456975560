"""Fresh components of a learner: the numbers that Stable-Baselines3 draws for the same seed, without its model.

A linear layer draws weight and bias as torch does; on policy all are then drawn anew, orthogonally (Saxe et al. 2014),
in the order in which SB3's policy goes through its layers. `tests/networks/test_fresh_networks.py` compares the bits.
"""

import torch
from torch import nn

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.networks.card import Normaliser
from trl_suite.networks.components import (
    LOG_STD,
    NORM,
    OBSERVATION_STATISTICS,
    OPTIMISER,
    RETURN_STATISTICS,
    TARGET,
    TEMPERATURE,
    Components,
)
from trl_suite.networks.policy_memory import MOMENTS, STEP, owner

TWINS = 2  # critics of an off-policy learner
HEAD_GAINS = {"actor.head": 0.01, "critic.head": 1.0}  # of the orthogonal weights; trunks have the root of 2
INITIAL_COUNT = 1e-4  # SB3's prior of the running statistics: as if so many samples had been seen

FreshComponents = dict[str, dict[str, torch.Tensor]]


def fresh_networks(hyperparameters: Hyperparameters, slots: int, actions: int, seed: int) -> FreshComponents:
    """Networks and temperature of a fresh learner, parameters that want a gradient; in the order of SB3's own.

    The global generator is left as it was. Call it with one thread of torch: on their number depend the last bits of
    orthogonal weights.

    Args:
        hyperparameters: of an algorithm whose layers do not normalise their inputs.
        slots: numbers of an observation.
        actions: numbers of an action.
        seed: of the learner, as SB3 takes it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        on_policy = find(hyperparameters.algorithm).on_policy
        components = (_on_policy if on_policy else _off_policy)(hyperparameters, slots, actions)
    return _with_norms(components) if hyperparameters.layer_norm else components


def fresh_statistics(normaliser: Normaliser | None, slots: int) -> FreshComponents:
    """Running statistics of a learner that has seen nothing, for what it normalises."""
    statistics: FreshComponents = {}
    shapes = {OBSERVATION_STATISTICS: (slots,), RETURN_STATISTICS: ()}
    for name, normalised in ((OBSERVATION_STATISTICS, "observation"), (RETURN_STATISTICS, "reward")):
        if normaliser is not None and getattr(normaliser, normalised):
            statistics[name] = {
                "mean": torch.zeros(shapes[name], dtype=torch.float64),
                "var": torch.ones(shapes[name], dtype=torch.float64),
                "count": torch.tensor(INITIAL_COUNT, dtype=torch.float64),
            }
    return statistics


def fresh_moments(components: Components) -> FreshComponents:
    """Adam's moments and steps before its first, `optimiser.actor` and the like, of all that an optimiser moves."""
    states: FreshComponents = {}
    for component, tensors in components.items():
        if component.startswith((TARGET, "normaliser.")):
            continue
        state = states.setdefault(owner(component), {})
        for tensor, value in tensors.items():
            name = f"{component}.{tensor}"
            state |= {f"{name}.{key}": torch.zeros_like(value.detach()) for key in MOMENTS}
            state[f"{name}.{STEP}"] = torch.tensor(0.0)
    names = (OPTIMISER + part for part in ("actor", "critic", TEMPERATURE))
    return {name: states[name] for name in names if name in states}


def _on_policy(hyperparameters: Hyperparameters, slots: int, actions: int) -> FreshComponents:
    widths = hyperparameters.hidden
    trunks = _trunk("actor", slots, widths) | _trunk("critic", slots, widths)
    features = widths[-1] if widths else slots
    layers = trunks | {"actor.head": nn.Linear(features, actions), "critic.head": nn.Linear(features, 1)}
    for name, layer in layers.items() if getattr(hyperparameters, "ortho_init", True) else ():
        nn.init.orthogonal_(layer.weight, gain=HEAD_GAINS.get(name, 2**0.5))
        nn.init.zeros_(layer.bias)
    log_std = torch.ones(actions) * getattr(hyperparameters, "log_std_init", 0.0)
    components: FreshComponents = {LOG_STD: {"value": nn.Parameter(log_std)}}
    return components | {name: _tensors(layer) for name, layer in layers.items()}


def _off_policy(hyperparameters: Hyperparameters, slots: int, actions: int) -> FreshComponents:
    algorithm = find(hyperparameters.algorithm)
    components: FreshComponents = {}
    for part, draw in (("actor", _actor), ("critic", _critics)):
        drawn = draw(hyperparameters, slots, actions)
        components |= drawn
        if part in algorithm.targets:
            draw(hyperparameters, slots, actions)  # SB3 draws the copy too, before it makes both equal
            components |= {TARGET + name: _copied(tensors) for name, tensors in drawn.items()}
    if algorithm.temperature and getattr(hyperparameters, "ent_coef", "") == "auto":
        components[TEMPERATURE] = {"value": torch.zeros(1).requires_grad_()}  # log 1
    return components


def _actor(hyperparameters: Hyperparameters, slots: int, actions: int) -> FreshComponents:
    layers = _network("actor", slots, hyperparameters.hidden, actions)
    if find(hyperparameters.algorithm).log_std == "head":
        layers[LOG_STD] = nn.Linear(layers["actor.head"].in_features, actions)
    return {name: _tensors(layer) for name, layer in layers.items()}


def _critics(hyperparameters: Hyperparameters, slots: int, actions: int) -> FreshComponents:
    outputs = find(hyperparameters.algorithm).critic_outputs
    components: FreshComponents = {}
    for net in range(TWINS):
        for name, layer in _network("critic", slots + actions, hyperparameters.hidden, outputs).items():
            components.setdefault(name, {}).update(_tensors(layer, f"q{net}_"))
    return components


def _network(part: str, inputs: int, widths: tuple[int, ...], outputs: int) -> dict[str, nn.Linear]:
    trunk = _trunk(part, inputs, widths)
    return trunk | {f"{part}.head": nn.Linear(widths[-1] if widths else inputs, outputs)}


def _trunk(part: str, inputs: int, widths: tuple[int, ...]) -> dict[str, nn.Linear]:
    sizes = (inputs, *widths)
    return {f"{part}.trunk.{layer}": nn.Linear(sizes[layer], width) for layer, width in enumerate(widths)}


def _tensors(layer: nn.Linear, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}weight": layer.weight, f"{prefix}bias": layer.bias}


def _with_norms(components: FreshComponents) -> FreshComponents:
    """Return the components with a norm behind each trunk layer, which draws nothing: scales of 1, shifts of 0."""
    normed: FreshComponents = {}
    for name, tensors in components.items():
        normed[name] = tensors
        if ".trunk." in name:
            biases = {tensor: value for tensor, value in tensors.items() if tensor.endswith("bias")}
            pairs = {tensor.replace("bias", "weight"): torch.ones_like(value) for tensor, value in biases.items()}
            pairs |= {tensor: torch.zeros_like(value) for tensor, value in biases.items()}
            normed[name + NORM] = {tensor: nn.Parameter(value) for tensor, value in pairs.items()}
    return normed


def _copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: nn.Parameter(value.detach().clone()) for name, value in tensors.items()}

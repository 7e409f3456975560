"""A policy on its own: named components, the interface they belong to, and the actions they give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from trl_suite import content
from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.html_tables import html_table
from trl_suite.interface import Deployment, Interface
from trl_suite.networks import composition, policy_memory, store
from trl_suite.networks.activation_functions import ACTIVATIONS, hidden
from trl_suite.networks.adapted_layers import Plain, corrected
from trl_suite.networks.card import Card
from trl_suite.networks.components import (
    BY_FEATURE,
    LOG_STD,
    LOG_STD_RANGE,
    OBSERVATION_STATISTICS,
    SOURCE_PREFIX,
    STATE_VARIANCE,
    Components,
)
from trl_suite.networks.exchange import onnx_export
from trl_suite.networks.formats import zip_export
from trl_suite.networks.input_norms import normalized_inputs

FOREIGN_SUFFIXES = (".zip", ".pkl", ".pt", ".pth", ".onnx")
Array = npt.NDArray[np.float64] | npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, repr=False)
class Policy:
    """A trained policy. `predict` gives the same bits as the SB3 model that it was taken from."""

    card: Card
    components: Components
    memory: Components = field(default_factory=dict[str, dict[str, torch.Tensor]])  # beside the weights, where kept
    earlier_tasks: tuple[str, ...] = ()  # addresses of the stages before, of which its memory keeps something

    def __repr__(self) -> str:
        """Return a line: algorithm, env, steps, and how many numbers go in and out."""
        card, slots = self.card, self.interface
        sizes = f"{len(slots.observation)} observations, {len(slots.action)} actions"
        return f"<Policy: {card.algorithm.upper()} of {card.training.env}, {card.training.steps:,} steps, {sizes}>"

    def _repr_html_(self) -> str:
        """Return the card's main lines for a notebook."""
        network, training, slots = self.card.network, self.card.training, self.interface
        widths = " x ".join(map(str, network.actor))
        rows = [
            ("algorithm", self.card.algorithm.upper()),
            ("env", training.env),
            ("env steps", f"{training.steps:,}"),
            ("seed", training.seed),
            ("actor", f"{widths} {network.activation}".strip()),
            ("observation", f"{len(slots.observation)} slots: {', '.join(slot.name for slot in slots.observation)}"),
            ("action", f"{len(slots.action)} slots: {', '.join(slot.name for slot in slots.action)}"),
            ("weights", f"sha256 {self.digest[:16]}"),
        ]
        return html_table(repr(self).strip("<>"), (), rows)

    @property
    def interface(self) -> Interface:
        """The slots that the policy sees and moves."""
        return self.card.interface

    @property
    def digest(self) -> str:
        """The sha256 of the weights."""
        return store.digest(self.components)

    def predict(
        self, observation: Array, deterministic: bool = True, generator: torch.Generator | None = None
    ) -> tuple[npt.NDArray[np.float32], None]:
        """Return (actions, None), as SB3's `predict` does; the None stands for a recurrent state.

        Args:
            observation: (slots,) or (batch, slots), unnormalised.
            deterministic: the mean action; otherwise one is drawn.
            generator: where draws come from; needed unless deterministic.

        Raises:
            InputError: an action is to be drawn without a generator, or the observation has the wrong size.
        """
        self._check(observation)
        with torch.no_grad():
            action, log_std = self.gaussian(torch.as_tensor(self.normalised(observation)), self.components)
            if not deterministic and self.card.network.actor_only:
                raise InputError("predict(deterministic=False): an actor alone, as of an ONNX file, has no deviation")
            if not deterministic and log_std is not None:
                action = self._drawn(action, log_std, generator)
        return self._bounded(action), None

    def gaussian(
        self, normalized_obs: torch.Tensor, components: Components
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return mean and log standard deviation of the actions, before any bound; TD3's policy has no deviation.

        Args:
            normalized_obs: (batch, slots).
            components: the policy's own, or others of the same shapes: the gradient may be taken through them.
        """
        attended = self.attended(normalized_obs, components)
        features = self._features(attended.inputs if attended else normalized_obs, components)
        mean = self._mean(features, components)
        if attended:
            mean = mean + attended.proposal
        if LOG_STD not in components:
            return mean, None
        return mean, _log_std(features, components[LOG_STD]).expand_as(mean)

    def attended(self, normalized_obs: torch.Tensor, components: Components) -> composition.Attended | None:
        """Return the trunk's inputs and the proposal of a composed policy; None for any other.

        Args:
            normalized_obs: (batch, slots).
            components: as for `gaussian`.
        """
        composed = self.card.network.composed
        if composed is None:
            return None
        modules = [composition.module_of(index, components) for index in range(composed.modules)]
        before = composition.outputs(normalized_obs, modules, ACTIVATIONS[self.card.network.activation].apply)
        return composition.attend(normalized_obs, before, components)

    def save(self, folder: str | Path) -> Path:
        """Write `card.toml` and `weights.safetensors` into the folder, each at once or not at all; return it.

        `memory.safetensors` is written too where the policy keeps its replay, moments or something of earlier stages.
        """
        stored = policy_memory.save(Path(folder), self.memory, self.earlier_tasks)
        return store.save(Path(folder), msgspec.structs.replace(self.card, memory=stored), self.components)

    def to_sb3(self, path: str | Path) -> list[Path]:
        """Write a zip that SB3 opens, with `NAME.vecnormalize.pkl` beside it where the policy normalises; return both.

        `PPO.load("NAME.zip").predict` gives the same actions, on observations that came through
        `VecNormalize.load("NAME.vecnormalize.pkl", env)`. SB3 unpickles both files: load only your own that way.
        The zip has the hyperparameters that the card knows, and SB3's defaults for the others.
        """
        return zip_export.save(Path(path), self.card, self.components)

    def to_onnx(self, path: str | Path, deployment: Deployment | None = None, stochastic: bool = False) -> Path:
        """Write an ONNX graph, NAME.onnx, that gives the actions of `predict` for raw observations; return its path.

        Input `obs` (batch, slots), output `actions` (batch, actions), float32. Slots, units, bounds and digest are its
        metadata. Residual policies are one graph too.

        Args:
            path: the file.
            deployment: control rate, scales, default pose and gains, for the metadata; `trl_suite.deployment_of(env)`.
            stochastic: whether a second input `noise` (batch, actions), standard normal, draws the action.

        Raises:
            InputError: the name does not end in .onnx, or the policy has no deviation to draw from.
            NotInstalledError: the package onnx is missing.
        """
        facts = deployment or Deployment()
        return onnx_export.save(Path(path), self.card, self.components, self.digest, facts, stochastic)

    def _check(self, observation: Array) -> None:
        expected = len(self.interface.observation)
        if observation.ndim not in (1, 2) or observation.shape[-1] != expected:
            raise InputError(f"observation of shape {observation.shape}: ({expected},) or (batch, {expected}) expected")

    def normalised(self, observation: Array) -> npt.NDArray[np.float32]:
        """Return the normalised observation: statistics applied in float64, in VecNormalize's order, to the bit."""
        normaliser = self.card.normaliser
        if normaliser is None or not normaliser.observation:
            return np.asarray(observation, dtype=np.float32)
        statistics = self.components[OBSERVATION_STATISTICS]
        mean, var = statistics["mean"].numpy(), statistics["var"].numpy()
        scaled = (observation - mean) / np.sqrt(var + normaliser.epsilon)
        return np.clip(scaled, -normaliser.clip_observation, normaliser.clip_observation).astype(np.float32)

    def _features(self, features: torch.Tensor, components: Components) -> torch.Tensor:
        activation = ACTIVATIONS[self.card.network.activation].apply
        for layer in range(len(self.card.network.actor)):
            features = hidden(features, components, f"actor.trunk.{layer}", activation)
        return normalized_inputs(features, components["actor.head"])

    def _mean(self, features: torch.Tensor, components: Components) -> torch.Tensor:
        head, bound = components["actor.head"], self.card.network.residual
        if bound is None:
            return _linear(features, head)
        source = components[f"{SOURCE_PREFIX}actor.head"]
        return corrected(features, Plain(**source), Plain(**head), bound)

    def _drawn(self, mean: torch.Tensor, log_std: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        if generator is None:
            raise InputError("predict(deterministic=False) needs a torch.Generator to draw from")
        return mean + log_std.exp() * torch.randn(mean.shape, generator=generator)

    def _bounded(self, action: torch.Tensor) -> npt.NDArray[np.float32]:
        """Clip as PPO does, or squash into the bounds as SAC and TD3 do."""
        bounds = self.card.network
        low, high = (np.asarray(bound, dtype=np.float32) for bound in (bounds.action_low, bounds.action_high))
        if find(self.card.algorithm).on_policy:
            return np.clip(action.numpy(), low, high)
        squashed: npt.NDArray[np.float32] = torch.tanh(action).numpy()
        return low + (0.5 * (squashed + 1.0) * (high - low)).astype(np.float32)


def _log_std(features: torch.Tensor, spread: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Log standard deviation of the actions: a number each, by the state (gSDE), or of a head of its own."""
    if "value" in spread:
        return spread["value"]
    if BY_FEATURE in spread:
        # the noise is z(s) theta with theta_ij ~ N(0, sigma_ij^2), so var_j(s) = sum_i z_i(s)^2 sigma_ij^2 (Raffin et
        # al. 2022, eq. 5); SB3 takes no gradient through the features z
        variance = features.detach().square() @ (2 * spread[BY_FEATURE]).exp()
        return 0.5 * (variance + STATE_VARIANCE).log()
    return _linear(features, spread).clamp(*LOG_STD_RANGE)


def _linear(features: torch.Tensor, layer: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return functional.linear(features, layer["weight"], layer["bias"])


def load(where: str | Path) -> Policy:
    """Return the policy in a folder, or the one of that name in the workspace or the suite; nothing is executed.

    Raises:
        InputError: there is none, or `store.load` refuses it.
    """
    folder = Path(where)
    if folder.suffix in FOREIGN_SUFFIXES and not folder.is_dir():
        raise InputError(
            f"{where}: not a policy folder; trl_suite.load_policy(..., env=...) or trl-suite import ... --env ... "
            "reads ONNX files, checkpoints and the zips of SB3, and runs nothing in them"
        )
    if not folder.is_dir():
        folder = content.find("policies", str(where))
    card, components = store.load(folder)
    tasks = card.memory.tasks if card.memory else ()
    return Policy(card=card, components=components, memory=policy_memory.load(folder, card), earlier_tasks=tasks)

"""The knowledge base of progress & compress on SB3: distilled from the active column in the last share of a budget.

In that phase the learner's own update is replaced: the model collects as before, and nothing of it learns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trl_suite.errors import InputError
from trl_suite.mechanisms.compress_phase import Compress
from trl_suite.mechanisms.distillation import BATCH_STATES, divergence
from trl_suite.mechanisms.weight_regularizer import regularize
from trl_suite.networks.components import SOURCE_PREFIX, TARGET, Components
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import STAGE_IMPORTANCE, acts
from trl_suite.training.acting.source_states import importance
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.methods.learner_actions import distribution, normalized, recent_states
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.learners import Model, is_on_policy
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.stepping import rng_state

PREFIX = "knowledge."  # opens its arrays in a snapshot


class KnowledgeBase:
    """The policy of the stage before, which learns in the compress phase of this one. Made after the transplant.

    Args:
        model: the learner, whose frozen column it is.
        run: its run.
        compress: the phase.

    Raises:
        InputError: the run has no source, or its budget is too short for two phases.
    """

    def __init__(self, model: Model, run: TrainingRun, compress: Compress) -> None:
        if run.source is None:
            raise InputError(f"method '{run.method}': compress needs a source policy; none was given")
        self._model, self._source, self._passes = model, run.source, 1
        if is_on_policy(model):
            self._passes = int(getattr(run.hyperparameters, "passes", 1))
        self._begun_at: int | None = None
        self._begins = compress.begins(run.steps, run.hyperparameters.rollout, f"method '{run.method}'")
        self._components = _parameters(run.source, sb3.components_of(model))
        self._generator = np.random.default_rng(seed_for(run.seed, "compress"))
        self._states = recent_states(model, self._generator)
        self._optimizer = torch.optim.Adam(self._learned(), lr=float(model.lr_schedule(1.0)))
        regularizer = compress.regularizer
        weights = importance(run.source, run.source, regularizer, run.alias, run.seed)
        regularize([self._optimizer], self._components, regularizer, tuple(self._components), weights)
        self.hands_on: dict[str, dict[str, torch.Tensor]] = {STAGE_IMPORTANCE: weights} if compress.carry else {}

    def advance(self, step: int) -> None:
        """Begin the compress phase, where it is due: from now on the model's updates are the knowledge base's."""
        if self._begun_at is None and step >= self._begins:
            self._begin(step)

    def steps(self, total: int) -> int:
        """Return how many of so many env steps lie in the compress phase."""
        return 0 if self._begun_at is None else max(0, total - self._begun_at)

    def deployed(self, policy: Policy) -> Policy:
        """Return the policy of the stage: the model's own, and the knowledge base from the compress phase on."""
        if self._begun_at is None:
            return policy
        actor = {name: _copied(tensors) for name, tensors in self._components.items()}
        followed = [name for name in actor if TARGET + name in policy.components]
        actor |= {TARGET + name: _copied(actor[name]) for name in followed}
        network = msgspec.structs.replace(policy.card.network, actor=self._source.card.network.actor)
        card = msgspec.structs.replace(policy.card, network=network)
        return replace(policy, card=card, components={**policy.components, **actor})

    def state(self) -> tuple[dict[str, npt.NDArray[np.generic]], int | None]:
        """Return the arrays that a snapshot needs, and the env step at which the phase began."""
        arrays: dict[str, npt.NDArray[np.generic]] = {f"{PREFIX}draws": rng_state.pack_rng([self._generator])}
        arrays |= {PREFIX + name: value.detach().numpy().copy() for name, value in self._named()}
        for index, state in self._optimizer.state_dict()["state"].items():
            arrays |= {f"{PREFIX}adam.{index}.{key}": value.numpy().copy() for key, value in state.items()}
        return arrays, self._begun_at

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], begun_at: int | None) -> None:
        """Take up a snapshot's state."""
        rng_state.restore_rng(self._generator, arrays[f"{PREFIX}draws"][0])
        with torch.no_grad():
            for name, value in self._named():
                value.copy_(torch.tensor(arrays[PREFIX + name]))
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, values in arrays.items():
            if name.startswith(f"{PREFIX}adam."):
                index, _, key = name.removeprefix(f"{PREFIX}adam.").partition(".")
                states.setdefault(int(index), {})[key] = torch.tensor(values)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": states, "param_groups": groups})
        if begun_at is not None:
            self._begin(begun_at)

    def _begin(self, step: int) -> None:
        self._begun_at = step
        setattr(self._model, "train", self._update)  # noqa: B010 (a method of SB3's, on this one object)

    def _update(self, gradient_steps: int | None = None, batch_size: int | None = None) -> None:
        """Do the update of one rollout, as SB3 calls it: as many passes over the rollout, or as many gradient steps."""
        rollout = self._model.n_steps * self._model.n_envs if is_on_policy(self._model) else 0
        updates = gradient_steps if gradient_steps is not None else self._passes * -(-rollout // BATCH_STATES)
        for _ in range(updates):
            self._distil()

    def _distil(self) -> None:
        """Follow the gradient of KL(active column || knowledge base) for one step."""
        normalized_obs = normalized(self._model, self._states())
        with torch.no_grad():
            active = distribution(self._model, normalized_obs)
        base = self._source.gaussian(normalized_obs, self._components)
        # without a deviation, the squared distance of the actions, whichever of the two has the gradient
        loss = divergence(base, active) if active[1] is None else divergence(active, base)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def _named(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensors in self._components.items():
            for tensor, value in tensors.items():
                yield f"{name}.{tensor}", value

    def _learned(self) -> list[torch.Tensor]:
        return [value for _, value in self._named()]


def _parameters(source: Policy, learner: Components) -> dict[str, dict[str, nn.Parameter]]:
    """Return the source's actor as parameters of its own: trunks as they stand beside the learner's column."""
    names = [name for name in source.components if acts(name)]
    actor = {name: learner.get(SOURCE_PREFIX + name, source.components[name]) for name in names}
    return {
        name: {key: nn.Parameter(value.detach().clone()) for key, value in tensors.items()}
        for name, tensors in actor.items()
    }


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}

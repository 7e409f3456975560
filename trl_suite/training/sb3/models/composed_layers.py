"""An actor of SB3 that is composed: frozen modules and attention stand before its trunk, a proposal behind it."""

from collections.abc import Mapping

import torch
from torch import nn

from trl_suite.mechanisms.adapters import Added
from trl_suite.networks.activation_functions import ACTIVATIONS
from trl_suite.networks.adapted_layers import FrozenLayer
from trl_suite.networks.components import INPUT_ATTENTION, LOG_STD, MODULE_PREFIX, OUTPUT_ATTENTION, TARGET
from trl_suite.networks.composition import Activate, Layer, attend, count_modules, module_of, outputs
from trl_suite.training.sb3.models.layers import exchange, layers
from trl_suite.training.sb3.models.learners import Model
from trl_suite.training.sb3.models.sb3_model import activation_of


class FrozenModules(nn.Module):
    """The earlier modules, as buffers: `0.actor.trunk.0.weight` and so on."""

    def __init__(self, added: Added) -> None:
        super().__init__()
        self.parts = [module_of(index, added) for index in range(count_modules(added))]
        for index, part in enumerate(self.parts):
            for name, tensors in part.items():
                _place(self, f"{index}.{name}", FrozenLayer(tensors))


class AttentionHeads(nn.Module):
    """The two heads, whose maps learn: `output.query_weight` and so on."""

    def __init__(self, output: Layer, taken_in: Layer) -> None:
        super().__init__()
        self.output, self.input = (nn.ParameterDict(dict(head)) for head in (output, taken_in))

    def components(self) -> dict[str, Layer]:
        """Return the heads by component."""
        return {OUTPUT_ATTENTION: dict(self.output.items()), INPUT_ATTENTION: dict(self.input.items())}


class ComposedHead(nn.Linear):
    """A head behind a composed trunk, which hands it features and proposal: adds the proposal, or leaves it out."""

    def __init__(self, head: nn.Linear, actions: int, adds: bool) -> None:
        super().__init__(head.in_features, head.out_features)
        self.weight, self.bias = head.weight, head.bias
        self._actions, self._adds = actions, adds

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return own output + proposal."""
        features, proposal = input[..., : -self._actions], input[..., -self._actions :]
        output = super().forward(features)
        return output + proposal if self._adds else output


class ComposedTrunk(nn.Sequential):
    """SB3's layers of an actor, under their names, behind frozen modules and attention."""

    def __init__(
        self, trunk: nn.Sequential, before: FrozenModules, attention: AttentionHeads, activate: Activate
    ) -> None:
        super().__init__(*trunk)
        self.before, self.attention = before, attention
        self._activate = activate
        self._own = [str(index) for index in range(len(trunk))]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return features and proposal, or the actions where the head is one of the layers (TD3)."""
        means = outputs(input, self.before.parts, self._activate)
        features, proposal = attend(input, means, self.attention.components())
        headed = False
        for name in self._own:
            layer = self.get_submodule(name)
            if isinstance(layer, ComposedHead):
                features, headed = torch.cat([features, proposal], dim=-1), True
            features = layer(features)
        return features if headed else torch.cat([features, proposal], dim=-1)


def compose(model: Model, added: Added) -> None:
    """Put frozen modules and attention into the model's actor; see `mechanisms.self_composing.composed`.

    Optimisers are to be made anew.
    """
    before = FrozenModules({name: tensors for name, tensors in added.items() if name.startswith(MODULE_PREFIX)})
    trunks: dict[str, str] = {}  # prefix of the network -> path of its trunk
    for place, linear in list(layers(model, nn.Linear)):
        prefix = TARGET if place.component.startswith(TARGET) else ""
        component = place.component.removeprefix(TARGET)
        if component == "actor.trunk.0":
            trunks[prefix] = place.path.rpartition(".")[0]
            exchange(model, place, _widened(linear, added[place.component]))
        elif component in ("actor.head", LOG_STD):
            actions = linear.out_features
            exchange(model, place, ComposedHead(linear, actions, adds=component == "actor.head"))
    for prefix, path in trunks.items():
        heads = AttentionHeads(added[prefix + OUTPUT_ATTENTION], added[prefix + INPUT_ATTENTION])
        parent, _, name = path.rpartition(".")
        trunk = model.policy.get_submodule(path)
        assert isinstance(trunk, nn.Sequential)
        composed = ComposedTrunk(trunk, before, heads, ACTIVATIONS[activation_of(model)].apply)
        setattr(model.policy.get_submodule(parent), name, composed)


def _widened(layer: nn.Linear, begin: Mapping[str, torch.Tensor]) -> nn.Linear:
    """Return a layer of more inputs with these weights."""
    wide = nn.Linear(begin["weight"].shape[1], layer.out_features)
    with torch.no_grad():
        wide.weight.copy_(begin["weight"])
        wide.bias.copy_(begin["bias"])
    return wide


def _place(root: nn.Module, path: str, layer: nn.Module) -> None:
    """Put a layer below a module, under a path of names."""
    *above, name = path.split(".")
    for step in above:
        if step not in dict(root.named_children()):
            root.add_module(step, nn.Module())
        root = root.get_submodule(step)
    root.add_module(name, layer)

"""`trl_suite.transplant`: a source policy's components into any SB3 model that a reader goes on training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.mechanisms import freeze_schedule, methods
from trl_suite.mechanisms.copy import transplant as copy_components
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer, regularize
from trl_suite.networks.align import Alias
from trl_suite.networks.card import Normaliser, Training
from trl_suite.networks.components import Components, select
from trl_suite.networks.input_norms import is_running
from trl_suite.networks.policy import Policy
from trl_suite.record import Transplant
from trl_suite.training.acting.source_states import importance
from trl_suite.training.policy_import import load_policy
from trl_suite.training.preparation import ReplayRoom, prepare, source_acts
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.lasting_freeze import persist, remembered
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.composed_layers import compose
from trl_suite.training.sb3.models.layers import adapt, hold_input_norms
from trl_suite.training.sb3.models.learners import ActsFirst, Model, algorithm_of, is_on_policy
from trl_suite.training.sb3.models.model_inputs import check_inputs
from trl_suite.training.sb3.models.rates import optimisers, renew_optimisers

Source = Policy | Model | str | Path | None


def transplant(
    source: Source,
    into: Model,
    method: str | dict[str, Any] | Method = "finetune",
    alias: Alias | None = None,
    seed: int = 0,
    env: str | None = None,
) -> Transplant:
    """Copy components of the source into the model, freeze what the method freezes, and return the record of all.

    The model is changed in place and trains on with `learn`. Its optimisers are made anew: a moment estimated for other
    weights would move these. What is frozen stays so where SB3 saves and loads the model; after loading, `hold` makes
    it cost nothing. A regularizer towards the source's weights and rates of single layers are lost by a save.

    An SB3 SAC or TD3 draws uniform actions for its first `learning_starts` steps, whatever was copied: set
    `model.learning_starts = 0` to let the source act. The record's notes say so.

    Args:
        source: a `Policy`, an SB3 model, or whatever `trl_suite.load_policy` takes: a name, a folder, an SB3 zip.
        into: an SB3 model of an algorithm in `trl_suite/algorithms/`, with an MlpPolicy; as fresh as a scratch run.
        method: the name of one of the suite's methods, a table of a method's keys, or a `Method`.
        alias: names of slots or joints in the target -> in the source, where they differ.
        seed: of what the method draws, such as a permutation.
        env: address of the env that a zip was trained in, where its name does not tell it.

    Raises:
        TypeError: an argument is of a kind that it cannot be.
        InputError: the interfaces do not match, a layer's shape differs, source and model normalise differently,
            a wrapper or features extractor changes what the model sees, nothing would be left to learn, or the method
            goes on acting during training, which only an experiment can give it. The model is untouched then.
    """
    _check_model("into", into)
    name, definition = _method_of(method)
    if why := methods.refusal("transplant", definition, algorithm_of(into)):
        raise InputError(f"method '{name}': {why}")
    policy = _policy_of(source, env)
    check_inputs(into)
    record = implant(policy, into, name, definition, alias, seed)
    if definition.weight_regularizer:
        regularize_copied(policy, into, definition.weight_regularizer, record, alias, seed)
    persist(into, sb3.components_of(into), record.frozen)
    return msgspec.structs.replace(record, notes=_notes(into, record))


def hold_frozen(model: Model, frozen: Sequence[str] | None = None) -> tuple[str, ...]:
    """Hold components of a loaded model again, so that no gradient is taken for them, and return their names.

    Without it, what `transplant` froze stays frozen in a model that SB3 has loaded. But its gradients are computed,
    and count in the norm by which SB3 clips all gradients.

    Args:
        model: an SB3 model; its VecNormalize, if it has one, is to be set already.
        frozen: selectors of what is held (`actor.trunk.0`, `actor`); () releases everything. As the model's zip says
            where None.

    Raises:
        TypeError: it is no SB3 model.
        InputError: a component does not exist, all that learns would be held, or nothing says what was frozen.
    """
    _check_model("model", model)
    names = remembered(model) if frozen is None else tuple(frozen)
    if names is None:
        raise InputError("nothing in this model says what was frozen in it: give frozen=, the names of components")
    components = _everything(model)
    selected = select(names, components, "hold")
    freeze_schedule.check(components, selected)
    for statistics in sb3.statistics_of(model).values():
        sb3.restore_count(statistics)
    hold(model, components, selected)
    persist(model, components, selected)
    return selected


def _check_model(name: str, model: object) -> None:
    """Refuse what is no model that can be transplanted.

    Raises:
        TypeError: it is no SB3 model.
        InputError: it is one of another algorithm.
    """
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"{name} is an SB3 model (PPO, SAC, TD3, ...), not a {type(model).__name__}")
    algorithm_of(cast("Model", model))


def _method_of(method: object) -> tuple[str, Method]:
    """Return a method and its name."""
    if isinstance(method, str):
        return method, methods.find(method)
    if isinstance(method, Method):
        return "own", method
    if isinstance(method, dict):
        return "own", methods.read({"own": method}, "transplant")["own"]
    raise TypeError(
        "method is the name of one of the suite's methods, a table of a method's keys, or a trl_suite.Method, not a "
        f"{type(method).__name__}"
    )


def _policy_of(source: object, env: str | None) -> Policy | None:
    """Return the source as a policy.

    Raises:
        TypeError: it is nothing of which a policy could be had.
        InputError: the policy cannot be loaded, or an env is given beside what has one.
    """
    if isinstance(source, str | Path):
        return load_policy(source, env=env)
    if env is not None:
        raise InputError("env is of a zip; this source says itself which env it was trained in")
    if source is None or isinstance(source, Policy):
        return source
    if isinstance(source, BaseAlgorithm):
        _check_model("source", source)
        model = cast("Model", source)
        check_inputs(model)
        seed = source.seed if isinstance(source.seed, int) and source.seed >= 0 else -1
        training = Training(env=sb3.address_of(model), seed=seed, steps=model.num_timesteps)
        return sb3.policy_of(model, training)
    raise TypeError(
        "source is a trl_suite.Policy, an SB3 model, or the name, folder or zip of a policy, not a "
        f"{type(source).__name__}"
    )


def _notes(model: Model, record: Transplant) -> tuple[str, ...]:
    """Return the notes that the reader of a record needs besides it."""
    notes: list[str] = []
    if any(is_running(tensor) for name in record.frozen for tensor in sb3.components_of(model).get(name, {})):
        notes.append(
            "a model that SB3 loads lets the running statistics of frozen layers follow its batches again: "
            "trl_suite.hold(model) holds them"
        )
    waits = int(getattr(model, "learning_starts", 0)) - model.num_timesteps
    acts = any(component.startswith("actor.") for component in record.copied)
    if not isinstance(model, ActsFirst) and not is_on_policy(model) and waits > 0 and acts:
        notes.append(
            f"SB3 draws uniform actions for the first {waits} steps: set learning_starts = 0 to let the source act"
        )
    return tuple(notes)


class _PreparedModel:
    """An SB3 model as a method is prepared for it."""

    def __init__(self, model: Model) -> None:
        self.algorithm: str = algorithm_of(model)
        self.keeps_given = source_memory.keeps_given(model)
        self._model = model

    def activation(self) -> Activation:
        return sb3.activation_of(self._model)

    def interface(self) -> Interface:
        return sb3.interface_of_model(self._model)

    def normaliser(self) -> Normaliser | None:
        return sb3.normaliser_of(self._model)

    def replay_room(self) -> ReplayRoom:
        return source_memory.replay_room(self._model)


def implant(
    source: Policy | None, into: Model, name: str, method: Method, alias: Alias | None, seed: int
) -> Transplant:
    """Do what a method does before training; see `transplant`."""
    generator = torch.Generator().manual_seed(seed)
    components, learner = _everything(into), _PreparedModel(into)
    alignment, added, transitions = prepare(source, learner, components, method, f"method '{name}'", alias, generator)
    if method.adapter:
        adapt(into, method.adapter, added)
        renew_optimisers(into, {}, {})  # the old ones hold layers that were exchanged
        components = _everything(into)
    if method.composition:
        compose(into, added)
        renew_optimisers(into, {}, {})
        components = _everything(into)
    record = copy_components(source, components, alignment, name, method, generator)
    sb3.write_statistics(into, components)
    source_memory.fill(into, transitions)
    hold(into, components, record.frozen)
    renew_optimisers(into, components, method.rate)
    source_memory.write_optimizer_state(into, components, record.copied)
    if isinstance(into, ActsFirst):
        into.acts_first = source_acts(record)
    return record


def hold(model: Model, components: Components, frozen: tuple[str, ...]) -> None:
    """Hold exactly the named components: parameters, statistics and temperature."""
    freeze_schedule.hold(components, frozen)
    hold_input_norms(model)
    sb3.hold_statistics(model, frozen)
    sb3.hold_temperature(model, frozen)
    source_memory.hold_replay(model, frozen)


def regularize_copied(
    source: Policy | None,
    model: Model,
    regularizer: WeightRegularizer,
    record: Transplant,
    alias: Alias | None,
    seed: int,
    whole: bool = False,
) -> dict[str, torch.Tensor]:
    """Pull what was copied back to where it is now, and return its importance; see `mechanisms.weight_regularizer`.

    `whole` asks for the importance in the source's own policy, of which the model has only a part.
    """
    learner = (source if whole else sb3.policy_of(model, source.card.training)) if source else None
    weights = importance(source, learner, regularizer, alias, seed) if source and learner else {}
    regularize(optimisers(model), sb3.components_of(model), regularizer, record.copied, weights)
    return weights


def _everything(model: Model) -> dict[str, dict[str, torch.Tensor]]:
    """Return all of the model that a method may name."""
    return sb3.components_of(model) | source_memory.empty(model)

"""What a method goes on doing during training: thawing, pulling, guiding."""

import gymnasium
import numpy as np

from trl_suite.errors import InputError
from trl_suite.networks import freeze
from trl_suite.networks.actor import SourceActor, source_actor
from trl_suite.networks.align import align
from trl_suite.networks.components import Components, select
from trl_suite.record import Freeze, Transplant
from trl_suite.training.guided import Guided
from trl_suite.training.home import home_states
from trl_suite.training.job import Job
from trl_suite.training.sb3 import memory
from trl_suite.training.sb3 import model as sb3
from trl_suite.training.sb3.learners import Model
from trl_suite.training.sb3.pull import SEEN, among, own_states, pull_behaviour
from trl_suite.training.sb3.rates import warm_up
from trl_suite.training.sb3.transplant import hold, pull_copied
from trl_suite.training.seeds import seed_for


class Course:
    """The method of one run while it trains. Made after the transplant, before the first step."""

    def __init__(self, model: Model, job: Job, record: Transplant) -> None:
        self._model, self._job = model, job
        self._frozen = set(record.frozen)
        self._seal = freeze.sealed(self._components(), record.frozen)
        self._released: dict[str, str] = {}  # component -> its hash when it was released
        self._released_at: dict[str, int] = {}
        self._due = self._thaws(record)
        self._guides: list[Guided] = []
        self._guided = 0
        method = job.definition
        if method.weights:
            pull_copied(job.source, model, method.weights, record, job.alias, job.seed)
        if method.behaviour or method.guide:
            self._accompany(self._source())

    def advance(self, step: int) -> None:
        """Release what is due before the next rollout; what is released is proved unmoved so far."""
        due = {name for name, at in self._due.items() if at <= step and name in self._frozen}
        if not due:
            return
        components = self._components()
        self._released |= freeze.hashes(components, tuple(due))
        self._released_at |= dict.fromkeys(due, step)
        self._frozen -= due
        hold(self._model, components, tuple(self._frozen))
        warm_up(self._model, {name: components[name] for name in due})

    def guided_steps(self) -> int:
        """Return the env steps that the source has made since this was last asked."""
        total = sum(guide.guided_steps for guide in self._guides)
        new, self._guided = total - self._guided, total
        return new

    def proof(self) -> Freeze:
        """Return the proof that nothing moved while it was frozen.

        Raises:
            FreezeBrokenError: a component did; it is named.
        """
        return freeze.proved(self._seal, self._components(), self._released, self._released_at)

    def _components(self) -> Components:
        """Return all that can be frozen."""
        return sb3.components_of(self._model) | memory.given(self._model)

    def _thaws(self, record: Transplant) -> dict[str, int]:
        """Return the env step after which each frozen component learns."""
        where = f"method '{self._job.method}'"
        shares = self._job.definition.thaw
        due = {name: share for pattern, share in shares.items() for name in select((pattern,), record.frozen, where)}
        return {name: round(share * self._job.steps) for name, share in due.items()}

    def _progress(self) -> float:
        return self._model.num_timesteps / self._job.steps

    def _source(self) -> SourceActor:
        source = self._job.source
        if source is None:
            raise InputError(f"method '{self._job.method}' needs a source policy; none was given")
        interface = sb3.interface_of_model(self._model)
        return source_actor(source, interface, align(source.interface, interface, self._job.alias))

    def _accompany(self, source: SourceActor) -> None:
        if pull := self._job.definition.behaviour:
            generator = np.random.default_rng(seed_for(self._job.seed, "pull"))
            states = own_states(self._model, generator)
            if pull.states == "source":
                home = home_states(source.policy, SEEN, seed_for(self._job.seed, "home"))
                states = among(source.placed(home), generator)
            pull_behaviour(self._model, pull, source, states, self._progress)
        if self._job.definition.guide:
            self._guides = [self._guided_world(source, index) for index in range(self._model.n_envs)]

    def _guided_world(self, source: SourceActor, index: int) -> Guided:
        """Put the guide around one of the model's worlds, innermost, where the time limit counts its steps too."""
        monitor = sb3.world_of(self._model, index)
        world: gymnasium.Env = monitor.env
        generator = np.random.default_rng(seed_for(self._job.seed, "guide", index))
        limit = world.spec.max_episode_steps if world.spec and world.spec.max_episode_steps else 1000
        guided = Guided(world, source.predict, lambda: self._longest(limit), generator)
        monitor.env = guided
        return guided

    def _longest(self, limit: int) -> int:
        guide = self._job.definition.guide
        if guide is None or guide.until <= 0:
            return 0
        return int(guide.opening * limit * max(0.0, 1 - self._progress() / guide.until))

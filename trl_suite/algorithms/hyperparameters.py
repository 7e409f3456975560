"""Hyperparameters that several algorithms share, with SB3's names and checked ranges."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(gt=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Discount = Annotated[float, msgspec.Meta(gt=0, le=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]
SampleFrequency = Annotated[int, msgspec.Meta(ge=-1)]  # 0 draws as seldom as -1
Activation = Literal["tanh", "relu", "elu", "silu", "leaky_relu"]  # with torch's default constants
Schedule = Literal["constant", "linear"]  # linear: falls to 0 at the end of the budget
# keys that came after the first records: a table holds them where they act, so that older runs keep their digests
_YOUNGER = (
    "learning_rate_schedule", "clip_range_schedule", "ortho_init", "layer_norm", "use_sde", "sde_sample_freq",
    "n_sampled_goal",
)  # fmt: skip


class Hyperparameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters of every algorithm; defaults are SB3's unless a comment says otherwise."""

    algorithm: ClassVar[str] = ""
    by_member: ClassVar[tuple[str, ...]] = ()  # keys by which members of one cohort may differ

    n_envs: Count = 1
    learning_rate: Positive = 3e-4
    learning_rate_schedule: Schedule = "constant"
    gamma: Discount = 0.99
    hidden: tuple[Count, ...] = (64, 64)  # of actor and critic each
    activation: Activation = "tanh"
    layer_norm: bool = False  # SB3 has none: each trunk layer is normalised before its activation (Ba et al. 2016)
    normalise_observation: bool = True
    normalise_reward: bool = True

    @property
    def minibatch(self) -> int:
        """Transitions of one gradient step."""
        raise NotImplementedError

    @property
    def has_moments(self) -> bool:
        """Whether its optimisers are Adam's, with two moments of each gradient."""
        return True

    @property
    def rollout(self) -> int:
        """Env steps between two updates."""
        raise NotImplementedError

    def table(self) -> dict[str, Any]:
        """All keys and values, as a record holds them; a key of the younger ones stands there only if it acts."""
        defaults = msgspec.structs.asdict(type(self)())
        values: dict[str, Any] = msgspec.to_builtins(self)
        return {key: value for key, value in values.items() if key not in _YOUNGER or value != defaults[key]}


class OnPolicyHyperparameters(Hyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters of PPO and A2C."""

    by_member: ClassVar[tuple[str, ...]] = (
        "learning_rate", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm", "log_std_init", "ortho_init",
    )  # fmt: skip

    n_envs: Count = 16
    n_steps: Count = 128  # per env and update
    gae_lambda: Fraction = 0.95
    ent_coef: NotNegative = 0.0
    vf_coef: NotNegative = 0.5
    max_grad_norm: Positive = 0.5
    log_std_init: float = 0.0
    ortho_init: bool = True  # orthogonal initial weights; else PyTorch's
    use_sde: bool = False  # generalised state-dependent exploration, gSDE (Raffin et al. 2022); on SB3 alone
    sde_sample_freq: SampleFrequency = -1  # env steps between two draws of its noise; -1: once a rollout

    @property
    def minibatch(self) -> int:
        """Transitions of one gradient step: the whole rollout."""
        return self.n_envs * self.n_steps

    @property
    def rollout(self) -> int:
        """Env steps between two updates."""
        return self.n_envs * self.n_steps

    @property
    def passes(self) -> int:
        """Passes of an update over its rollout."""
        return 1

    @property
    def largest_divergence(self) -> float | None:
        """Divergence from the rollout's policy at which an update ends; None never ends it."""
        return None


class OffPolicyHyperparameters(Hyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters of the algorithms that learn from a replay."""

    buffer_size: Count = 1_000_000
    learning_starts: Whole = 10_000  # SB3: 100; as RL Zoo for MuJoCo. A transferred policy acts itself meanwhile
    batch_size: Count = 256
    train_freq: Count = 1
    gradient_steps: int = 1
    n_sampled_goal: Whole = 0  # hindsight goals for each that was meant (HER; SB3: 4); on SB3 alone
    hidden: tuple[Count, ...] = (256, 256)  # of actor and critics each
    activation: Activation = "relu"
    normalise_observation: bool = False
    normalise_reward: bool = False

    @property
    def minibatch(self) -> int:
        """Transitions of one gradient step."""
        return self.batch_size

    @property
    def rollout(self) -> int:
        """Env steps between two updates."""
        return self.n_envs * self.train_freq


class TargetNetworkHyperparameters(OffPolicyHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters of the algorithms whose critics have copies that follow them slowly."""

    tau: Fraction = 0.005

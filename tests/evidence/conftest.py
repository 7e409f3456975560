"""Experiments made up of closed-form curves, written as the ledger would write them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from trl_suite.record import SOURCE_METHOD, Freeze, Plan, PlannedRun, RunRecord, Transplant, encode

ENV = "half-cheetah.gravity-1.5"
STEPS = np.arange(0, 100_001, 10_000)
COMPONENTS = ("actor.trunk.0", "actor.trunk.1", "actor.head", "critic.trunk.0", "critic.head", "log_std", "normaliser")


def saturating(start: float, end: float, time: float, seed: int, noise: float = 40.0) -> np.ndarray:
    """A curve that falls towards its end with time constant `time`, with noise that the seed decides."""
    generator = np.random.default_rng([seed, int(abs(start) + end)])
    return end + (start - end) * np.exp(-STEPS / time) + generator.normal(0, noise, len(STEPS))


CURVES: dict[str, Callable[[int], np.ndarray]] = {
    "scratch": lambda seed: saturating(-250 + 10 * seed, 1200 + 30 * seed, 60_000, seed),
    "finetune": lambda seed: saturating(430, 1400 + 30 * seed, 40_000 + 5_000 * seed, seed),
    "feature-extraction": lambda seed: saturating(-120, 1100, 45_000, seed),
    "random-frozen": lambda seed: saturating(-260, 500, 60_000, seed),
}


def write_run(
    folder: Path,
    run: RunRecord,
    returns: Sequence[float] | np.ndarray,
    steps: np.ndarray = STEPS,
    stochastic: Sequence[float] | np.ndarray | None = None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_bytes(encode(run))
    write_evaluations(folder / "evaluations.csv", returns, steps, stochastic)


def write_evaluations(path: Path, returns: Any, steps: np.ndarray = STEPS, stochastic: Any = None) -> None:
    lines = ["step,episode,return,length" + (",mode" if stochastic is not None else "")]
    for i, (step, value) in enumerate(zip(steps, returns, strict=False)):
        mode = ",deterministic" if stochastic is not None else ""
        lines += [f"{step},{episode},{value + 5 * (episode - 0.5)},1000{mode}" for episode in range(2)]
        if stochastic is not None:
            lines += [f"{step},{episode},{stochastic[i]},1000,stochastic" for episode in range(2)]
    path.write_text("\n".join(lines) + "\n")


COPIED = {
    "finetune": COMPONENTS,
    "partial-freeze-1": COMPONENTS,
    "partial-freeze-2": COMPONENTS,
    "feature-extraction": (*COMPONENTS[:2], COMPONENTS[3], "normaliser"),
    "actor-only": (*COMPONENTS[:3], "log_std", "normaliser"),
    "critic-only": (*COMPONENTS[3:5], "normaliser"),
}
FROZEN = {
    "feature-extraction": COMPONENTS[:2],
    "random-frozen": COMPONENTS[:2],
    "partial-freeze-1": COMPONENTS[:1],
    "partial-freeze-2": COMPONENTS[:2],
}


def describe(planned: PlannedRun, **changes: Any) -> RunRecord:
    method, source = planned.method, planned.source
    copied, frozen = COPIED.get(method, ()), FROZEN.get(method, ())
    hashes = {name: f"{abs(hash_of(name, planned.seed)):064x}" for name in frozen}
    fresh = tuple(name for name in COMPONENTS if name not in copied)
    role = planned.role
    run = RunRecord(
        experiment="quickstart", role=role, env=planned.env, method=method, algorithm="ppo", seed=planned.seed,
        steps=400_000 if role == "source" else 100_000, digest=f"{planned.seed:016x}", specification={}, status="done",
        source=source, started="2026-03-01T09:00:00Z", seconds=31.0 + planned.seed, commit="16e9b74c0ffee", dirty=False,
        command=("trl-suite", "run", "experiments/quickstart"),
        versions={"trl_suite": "0.1.0", "mujoco": "4.0.0", "torch": "2.13.0", "python": "3.12.4"},
        machine={"cpu": "AMD EPYC, 2 cores", "system": "Linux 6.8"},
        transplant=None if role == "source" else Transplant(
            method=method, source="9f" * 32 if source else "", copied=copied, fresh=fresh, frozen=frozen),
        freeze=None if role == "source" else Freeze(before=hashes, after=hashes, trainable=5_000 if frozen else 10_254,
                                                    total=10_254),
    )  # fmt: skip
    return msgspec.structs.replace(run, **changes)


def hash_of(name: str, seed: int) -> int:
    return int.from_bytes(f"{name}{seed}".encode(), "little")


class Experiment:
    """A folder with a plan and its runs, all done; a test then spoils what it is about."""

    def __init__(self, root: Path, seeds: int = 5, methods: Sequence[str] = tuple(CURVES), env: str = ENV, **more: Any):
        self.root = root / "quickstart"
        self.planned = [self.source(seed) for seed in range(seeds)]
        self.planned += [self.target(method, seed, env) for method in methods for seed in range(seeds)]
        self.write_plan(**more)
        for planned in self.planned:
            self.write(planned)

    def source(self, seed: int) -> PlannedRun:
        return PlannedRun(folder=f"half-cheetah/source/seed-{seed}", role="source", env="half-cheetah",
                       method=SOURCE_METHOD, seed=seed)  # fmt: skip

    def target(self, method: str, seed: int, env: str = ENV) -> PlannedRun:
        source = f"half-cheetah/source/seed-{seed}" if method in COPIED else ""
        return PlannedRun(folder=f"{env}/{method}/seed-{seed}", role="target", env=env, method=method, seed=seed,
                       source=source)  # fmt: skip

    def write_plan(self, **changes: Any) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        plan = Plan(
            name="quickstart", command="trl-suite run experiments/quickstart", runs=tuple(self.planned), every=10_000,
            episodes=2, specification={},
            question="A cheetah that runs at normal gravity: how much sooner does it learn to run at 1.5 g?",
        )  # fmt: skip
        (self.root / "plan.json").write_bytes(encode(msgspec.structs.replace(plan, **changes)))

    def write(
        self,
        planned: PlannedRun,
        returns: Any = None,
        steps: np.ndarray = STEPS,
        stochastic: Any = None,
        **changes: Any,
    ) -> None:
        if returns is None:
            returns = CURVES.get(planned.method, CURVES["finetune"])(planned.seed)
        write_run(self.root / planned.folder, describe(planned, **changes), returns, steps, stochastic)

    def add(self, *planned: PlannedRun, **options: Any) -> None:
        """Plan more runs and make them."""
        self.planned += planned
        self.write_plan()
        for one in planned:
            self.write(one, **options)

    def folder(self, method: str, seed: int, env: str = ENV) -> Path:
        return self.root / env / method / f"seed-{seed}"


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(tmp_path)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Experiment]:
    """Makes an experiment of other seeds, methods or envs."""
    return lambda **options: Experiment(tmp_path, **options)


GAIN = {"scratch": 0.0, "finetune": 0.9, "partial-freeze-1": 1.0, "partial-freeze-2": 0.6, "feature-extraction": 0.15,
        "actor-only": 0.4, "critic-only": 0.1, "random-frozen": -0.3}  # fmt: skip


def shifted(method: str, seed: int, value: float, source: str) -> np.ndarray:
    """A curve that starts higher and rises sooner the more its method gains; the gain falls with the distance."""
    generator = np.random.default_rng([seed, len(method), int(100 * value), len(source)])
    gain = GAIN[method] * np.exp(-abs(np.log2(value))) * (0.35 if source == "hopper" else 1) + generator.normal(0, 0.06)
    start, time = -250 + 600 * max(gain, 0), 50_000 / (1 + 1.5 * max(gain, -0.5))
    return 1200 + (start - 1200) * np.exp(-STEPS / time) + generator.normal(0, 40, len(STEPS))


class Grid(Experiment):
    """All that a plan can hold: several sources, shifts along two axes, freeze depths, both ways of evaluating."""

    TARGETS = (
        "half-cheetah.gravity-0.5",
        "half-cheetah.gravity-1.5",
        "half-cheetah.gravity-2.0",
        "half-cheetah.mass-2.0",
    )

    def __init__(self, root: Path, seeds: int = 6, methods: Sequence[str] = tuple(GAIN)):
        self.root = root / "grid"
        self.planned = [self.source(seed) for seed in range(seeds)]
        self.planned += [
            msgspec.structs.replace(self.source(seed), folder=f"hopper/source/seed-{seed}", env="hopper")
            for seed in range(seeds)
        ]
        targets = [self.target(m, seed, env) for env in self.TARGETS for m in methods for seed in range(seeds)]
        self.planned += targets
        self.planned += [
            msgspec.structs.replace(p, folder=f"{p.folder}-hopper", source=f"hopper/source/seed-{p.seed}")
            for p in targets
            if p.method == "finetune"
        ]
        self.write_plan(name="grid", question="What of a cheetah's policy carries over to other gravities and masses?")
        for planned in self.planned:
            self.write_shifted(planned)

    def write_shifted(self, planned: PlannedRun) -> None:
        if planned.role == "source":
            self.write(planned, seconds=120.0)
            return
        value = float(planned.env.rsplit("-", 1)[1])
        curve = shifted(planned.method, planned.seed, value, planned.source.split("/")[0])
        noise = 0.5 if planned.method == "partial-freeze-1" else 0.8  # its stochastic policy is worse than its mean
        self.write(planned, curve, stochastic=-250 + noise * (curve + 250))


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    return Grid(tmp_path)


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """A grid that no test writes into, made once."""
    return Grid(tmp_path_factory.mktemp("standing"))


@pytest.fixture(scope="session")
def reported(standing: Grid, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that can be written about that grid, written once."""
    from trl_suite.evidence.results.experiment_results import load

    return load(standing.root).report(tmp_path_factory.mktemp("reported") / "all")


@pytest.fixture
def unillustrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without pictures, for tests of their words: drawing takes most of a page's time."""
    monkeypatch.setattr("trl_suite.evidence.figures.gallery.across", lambda *_: [])
    monkeypatch.setattr("trl_suite.evidence.figures.gallery.of_target", lambda *_: [])

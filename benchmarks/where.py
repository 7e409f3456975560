"""CPU time of cohorts by phase, beside the floor that is counted for the same work on the same core.

    python benchmarks/where.py                         the figures of experiments/benchmarks/, some ten minutes
    python benchmarks/where.py --resume                the rows that a stopped run of the same commit has not written
    python benchmarks/where.py --cases "SAC 256-256" --members 1 8
    python benchmarks/where.py --page                  writes the committed figures into that folder's README

Each cohort trains on HalfCheetah in one process with one torch thread. Every phase is the median over chunks of steps:
of a rollout with its update for PPO, 32 steps in sixteen worlds; of sixteen env steps with updates for SAC and TD3.
Evaluations are left out. A phase has the CPU time of its functions without that of others inside them: products within
acting are acting's.

The floor is the counted products at the speed of a single one of 256 x 256 x 256, and what MuJoCo took. That speed is
measured before and after every chunk, for a machine that others use slows both down. `rest` is everything that no other
phase has: Python, and the small operations of the losses.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cohort import README, operations_per_epoch, write
from off_policy import operations

from trl_suite import provenance
from trl_suite.algorithms.hyperparameters import Hyperparameters, OffPolicyHyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.training import settings
from trl_suite.training.cohort import cohort_training
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.cohort.collecting.rollout import Collector
from trl_suite.training.cohort.learning import critics, td3_update
from trl_suite.training.cohort.learning.off_policy import OffPolicyLearner
from trl_suite.training.cohort.learning.on_policy import OnPolicyLearner
from trl_suite.training.cohort.learning.ppo_update import PPOUpdate
from trl_suite.training.cohort.learning.replay_rings import ReplayRings
from trl_suite.training.cohort.stacked import network_block
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.training_run import TrainingRun, Unwatched
from trl_suite.worlds.stepping import physics

ROBOT = "half-cheetah"
MEMBERS = (1, 8, 32)
STEPS = 32  # of a PPO rollout in each world: a quarter of the default's, so that a chunk takes seconds
PROBES = 11  # products that the speed is measured by
_MM = torch.mm
WARM_CHUNKS = 1  # chunks before the first that counts: buffers and plans are made in them
RECORD = README.with_name("where.json")
BETWEEN = re.compile(r"(<!-- where: [^\n]*-->\n).*?(<!-- /where -->)", re.DOTALL)
PHASES = (
    "products", "activations", "Adam", "targets", "sampling", "acting", "physics", "envs", "rest",
)  # fmt: skip
AIMS: dict[tuple[str, int], float] = {  # shares of the floor
    ("SAC 256-256", 1): 0.6,
    ("SAC 256-256", 8): 0.75,
    ("TD3 256-256", 1): 0.6,
    ("TD3 256-256", 8): 0.75,
    ("PPO 256-256, 64", 32): 0.8,
    ("PPO 256-256, 256", 32): 0.8,
}
CASES: dict[str, Hyperparameters] = {
    **{
        f"PPO {width}-{width}, {batch}": PPOHyperparameters(hidden=(width, width), batch_size=batch, n_steps=STEPS)
        for width in (64, 256)
        for batch in (64, 256)
    },
    "SAC 256-256": SACHyperparameters(hidden=(256, 256), learning_starts=32),
    "TD3 256-256": TD3Hyperparameters(hidden=(256, 256), learning_starts=32),
    "TD3 400-300": TD3Hyperparameters(hidden=(400, 300), learning_starts=32),
}


@dataclass
class PhaseClock:
    """CPU seconds by phase; a phase within another takes its time out of that one's."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    _open: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])  # phase, seconds of inner ones
    _opaque: int = 0  # open phases that have all that is inside them

    def wrap(self, call: Callable[..., Any], phase: str, opaque: bool = False) -> Callable[..., Any]:
        """Return the call with its time counted; of an opaque phase what is inside counts as its own."""

        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self._opaque:
                return call(*arguments, **keywords)
            self._opaque += opaque
            self._open.append((phase, 0.0))
            start = time.process_time()
            try:
                return call(*arguments, **keywords)
            finally:
                spent = time.process_time() - start
                _, inner = self._open.pop()
                self._opaque -= opaque
                self.seconds[phase] = self.seconds.get(phase, 0.0) + spent - inner
                if self._open:
                    above, before = self._open[-1]
                    self._open[-1] = (above, before + spent)

        return timed

    def taken(self) -> dict[str, float]:
        """Return the seconds since this was last asked."""
        seconds, self.seconds = self.seconds, {}
        return seconds


@contextmanager
def patched(clock: PhaseClock) -> Generator[None]:
    """Count the time of the phases' functions meanwhile."""
    clear = [(owner, name, phase, False) for phase, owner, names in _PHASE_CALLS for name in names]
    opaque = [(owner, name, "acting", True) for owner, name in _ACTING]
    before = [(owner, name, getattr(owner, name)) for owner, name, *_ in clear + opaque]
    activations = dict(network_block.LAYER_ACTIVATIONS)
    try:
        for owner, name, phase, hides in clear + opaque:
            setattr(owner, name, clock.wrap(getattr(owner, name), phase, hides))
        network_block.LAYER_ACTIVATIONS = {
            name: activation._replace(
                forward=clock.wrap(activation.forward, "activations"),
                backward=clock.wrap(activation.backward, "activations"),
            )
            for name, activation in activations.items()
        }
        yield
    finally:
        network_block.LAYER_ACTIVATIONS = activations
        for owner, name, call in before:
            setattr(owner, name, call)


_PHASE_CALLS: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("products", torch, ("bmm", "baddbmm", "mm", "addmm")),
    ("Adam", Adam, ("step",)),
    ("Adam", PPOUpdate, ("_clip",)),
    ("targets", critics, ("follow",)),
    ("targets", td3_update, ("follow",)),
    ("sampling", OffPolicyLearner, ("_drawn",)),
    ("sampling", ReplayRings, ("at",)),
    ("sampling", torch.Tensor, ("index_select",)),
    ("sampling", OnPolicyLearner, ("_permuted",)),
    ("physics", physics.MujocoBatch, ("advance", "restart")),
    ("physics", physics.ThreadPoolBatch, ("advance", "restart")),
    ("envs", OffPolicyLearner, ("_act",)),
    ("envs", Collector, ("collect",)),
    ("rest", Cohort, ("iterate",)),
)
_ACTING: tuple[tuple[Any, str], ...] = ((OffPolicyLearner, "_actions"), (Collector, "_decide"))


class Chunk(NamedTuple):
    """Some steps with their updates."""

    updates: int  # of one member
    seconds: dict[str, float]  # by phase
    gflops: float  # of a single product, around it


@dataclass
class ChunkLog:
    """The chunks of a training."""

    clock: PhaseClock
    chunks: list[Chunk] = field(default_factory=list[Chunk])

    def watch(self, iterate: Callable[..., Any]) -> Callable[..., Any]:
        """Return `Cohort.iterate` with each of its calls logged."""

        def logged(cohort: Cohort, *arguments: Any) -> Any:
            before, speed = _updates(cohort), gflops()
            self.clock.taken()
            metrics = iterate(cohort, *arguments)
            seconds = self.clock.taken()
            self.chunks.append(Chunk(_updates(cohort) - before, seconds, (speed + gflops()) / 2.0))
            return metrics

        return logged

    def counted(self) -> list[Chunk]:
        """Return the chunks that count."""
        return [chunk for chunk in self.chunks if chunk.updates][WARM_CHUNKS:]


def _updates(cohort: Cohort) -> int:
    """Return how many steps the first member's optimiser of the policy, or of the critics, has made."""
    optimisers = cohort.algorithm.optimisers
    return int(optimisers.get("critic", next(iter(optimisers.values()))).count[0, 0].max())


def profile(hyperparameters: Hyperparameters, members: int, chunks: int) -> list[Chunk]:
    """Return the chunks of a cohort's training."""
    torch.set_num_threads(1)
    on_policy = isinstance(hyperparameters, PPOHyperparameters)
    each = hyperparameters.n_envs * hyperparameters.n_steps if on_policy else OffPolicyLearner.most
    steps = each * (chunks + WARM_CHUNKS + (0 if on_policy else 2))
    runs = [
        TrainingRun(
            env=ROBOT, hyperparameters=hyperparameters, seed=seed, steps=steps,
            evaluation=settings.Evaluation(every=steps, episodes=1),
        )
        for seed in range(members)
    ]  # fmt: skip
    clock = PhaseClock()
    log, measure = ChunkLog(clock), Cohort.measure
    with patched(clock):
        iterate = Cohort.iterate
        Cohort.iterate = log.watch(iterate)
        Cohort.measure = lambda self, stopping: [[] for _ in self.members]  # an evaluation is no part of an update
        try:
            for _, result in cohort_training.train(
                runs, [Unwatched() for _ in runs], [None] * members, torch.device("cpu")
            ):
                if isinstance(result, Exception):
                    raise result
        finally:
            Cohort.iterate, Cohort.measure = iterate, measure
    return log.counted()


def flops(hyperparameters: Hyperparameters) -> float:
    """Return the floating-point operations of one member's update, products alone; of acting none."""
    if isinstance(hyperparameters, PPOHyperparameters):
        per_epoch = operations_per_epoch(ROBOT, hyperparameters)
        return per_epoch * hyperparameters.batch_size
    assert isinstance(hyperparameters, OffPolicyHyperparameters)
    return operations(hyperparameters)


def gflops() -> float:
    """Return the speed of a single product of 256 x 256 x 256 on this core, in GFLOP/s: the median of some."""
    left, right, out = torch.randn(256, 256), torch.randn(256, 256), torch.empty(256, 256)
    times: list[float] = []
    for _ in range(PROBES):
        start = time.process_time()
        _MM(left, right, out=out)
        times.append(time.process_time() - start)
    return 2 * 256**3 / statistics.median(times) / 1e9


def measure(requested: argparse.Namespace) -> None:
    """Write a row for each case and number of members, each as soon as it is there."""
    rows: dict[tuple[str, int], dict[str, Any]] = measured(requested.out) if requested.resume else {}
    for case, members in itertools.product(requested.cases, requested.members):
        if (case, members) in rows:
            continue
        start = time.monotonic()
        chunks = profile(CASES[case], members, requested.chunks)
        row = {"case": case, "members": members} | figures(CASES[case], members, chunks)
        rows[case, members] = row | {"load": round(os.getloadavg()[0], 1), "seconds": round(time.monotonic() - start)}
        print(rows[case, members], flush=True)
        in_order = [
            rows[key] for key in itertools.product(CASES, sorted({*MEMBERS, *requested.members})) if key in rows
        ]
        write(requested.out, "where", {"chunks": requested.chunks, "rows": in_order})


def measured(record: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows of a record that was begun at this commit, by case and members; none of another's."""
    begun = json.loads(record.read_text()) if record.exists() else {}
    same = begun.get("commit") == provenance.commit()[0]
    return {(row["case"], row["members"]): row for row in begun["rows"]} if same else {}


def figures(hyperparameters: Hyperparameters, members: int, chunks: list[Chunk]) -> dict[str, Any]:
    """Return the medians over chunks: microseconds for one update of one member, speeds, and the share of the floor."""
    counted = flops(hyperparameters)

    def median(value: Callable[[Chunk], float]) -> float:
        return statistics.median(map(value, chunks))

    def us(chunk: Chunk, phase: str) -> float:
        return 1e6 * chunk.seconds.get(phase, 0.0) / (chunk.updates * members)

    def total(chunk: Chunk) -> float:
        return sum(us(chunk, phase) for phase in PHASES)

    def floor(chunk: Chunk) -> float:
        return counted / chunk.gflops / 1e3 + us(chunk, "physics")

    return {
        "phases_us": {phase: round(median(lambda chunk, phase=phase: us(chunk, phase)), 1) for phase in PHASES},
        "cpu_us": round(median(total), 1),
        "floor_us": round(median(floor), 1),
        "share_of_floor": round(median(lambda chunk: floor(chunk) / total(chunk)), 2),
        "gflops": round(median(lambda chunk: chunk.gflops), 1),
        "products_gflops": round(median(lambda chunk: counted / us(chunk, "products") / 1e3), 1),
    }


def table(record: dict[str, Any]) -> str:
    """Return the page's table of a record."""
    lines = [
        f"| update | members | {' | '.join(PHASES)} | in all, us | floor | share | GFLOP/s in products |",
        f"|---|--:|{'--:|' * (len(PHASES) + 4)}",
    ]
    for row in record["rows"]:
        phases = " | ".join(f"{row['phases_us'][phase]:,.0f}" for phase in PHASES)
        lines.append(
            f"| {row['case']} | {row['members']} | {phases} | {row['cpu_us']:,.0f} | {row['floor_us']:,.0f} "
            f"| {row['share_of_floor']:.2f} | {row['products_gflops']:.0f} of {row['gflops']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def aims(record: dict[str, Any]) -> str:
    """Return the page's table of the aims: by how much a record misses each, and by which phases."""
    lines = [
        "| update | members | aim | share | missed by, us | above the floor, us |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in record["rows"]:
        if (aim := AIMS.get((row["case"], row["members"]))) is None:
            continue
        missed = max(0.0, row["cpu_us"] - row["floor_us"] / aim)
        largest = sorted(above_floor(row).items(), key=lambda phase: -phase[1])[:3]
        phases = ", ".join(f"{phase} {us:,.0f}" for phase, us in largest)
        lines.append(
            f"| {row['case']} | {row['members']} | {aim} | {row['share_of_floor']:.2f} | {missed:,.0f} | {phases} |"
        )
    return "\n".join(lines) + "\n"


def above_floor(row: dict[str, Any]) -> dict[str, float]:
    """Return the microseconds of each phase above the floor, which has physics and the counted products."""
    phases = row["phases_us"]
    counted = row["floor_us"] - phases["physics"]
    return {phase: us - counted * (phase == "products") for phase, us in phases.items() if phase != "physics"}


def page(text: str) -> str:
    """Return the README's text with the table as the committed record says."""
    record = json.loads(RECORD.read_text())
    return BETWEEN.sub(lambda match: f"{match[1]}{table(record)}\n{aims(record)}{match[2]}", text)


def main() -> None:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--members", type=int, nargs="+", default=list(MEMBERS))
    parser.add_argument("--chunks", type=int, default=5, help="of steps that are measured, at the least")
    parser.add_argument("--resume", action="store_true", help="leave the rows that were measured at this commit")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--page", action="store_true", help="measure nothing, write the README's table")
    requested = parser.parse_args()
    if requested.page:
        README.write_text(page(README.read_text()))
        return
    measure(requested)


if __name__ == "__main__":
    main()

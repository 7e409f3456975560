"""Training steps per second of PPO cohorts beside Stable-Baselines3 in one process per core, in one run.

    python benchmarks/cohort.py                                  the figures of experiments/benchmarks/, some half hour
    python benchmarks/cohort.py --robots half-cheetah --batch-sizes 256 --members 1 8 32 --rounds 1
    python benchmarks/cohort.py --page                           writes the committed figures into that folder's README
    python benchmarks/cohort.py --device cuda --out gpu.json     learning on a GPU, physics on all cores
    python benchmarks/cohort.py --device cuda --physics warp --out gpu.json     physics on the GPU as well

Every contender makes the same trainings: the same hyperparameters, ten rollouts of 2,048 steps, an evaluation of two
episodes before and after. Members are shared out to one process per core with one torch thread each; SB3 trains one run
in each of as many processes, and so does SBX, where it is installed (see `sbx_contender.py`). All processes of a
contender start together, and the rate is all their steps over the time until the last one ends. Contenders take turns,
and the figure is the median of the rounds.

On a GPU that clock has set-up, captures and evaluations in it, which at ten rollouts are most of the time: what making,
collecting, updating and measuring take there is told apart by `benchmarks/gpu_first.py`.

The floor is what MuJoCo itself took in that run plus the arithmetic, counted, at rates measured here: products at the
speed of the largest one, activations and Adam at that of a single pass.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import re
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sbx_contender
import torch

from trl_suite import provenance
from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.training import engines, settings
from trl_suite.training.cohort.cohort_key import bytes_of
from trl_suite.training.cohort.collecting.cohort_envs import Physics
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.parameter_layout import ParameterLayout, on_policy
from trl_suite.training.cohort.stacked.stack import Stack
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.training_run import TrainingRun, Unwatched
from trl_suite.worlds.stepping import physics

CORES = len(os.sched_getaffinity(0))
ROLLOUTS = 10
MEMBERS = (1, 8, 32, 128)
RECORD = Path(__file__).parent.parent / "experiments" / "benchmarks" / "cohort.json"
README = RECORD.with_name("README.md")
# a table "cohorts-256" is of cohort-256.json
BETWEEN = re.compile(r"(<!-- (cohorts(?:-\d+)?): [^\n]*-->\n).*?(<!-- /\2 -->)", re.DOTALL)
EPISODES = 2


Contender = engines.Engine | Literal["sbx"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One contender's trainings in one process."""

    engine: Contender
    robot: str
    hyperparameters: Hyperparameters
    steps: int  # env steps of one training
    warm: int  # env steps of a training before the clock starts
    seeds: tuple[int, ...] = ()
    device: engines.Device = "cpu"
    physics: Physics = "mujoco"
    episodes: int = EPISODES

    @property
    def evaluation(self) -> settings.Evaluation:
        """Before and after."""
        return settings.Evaluation(every=self.steps, episodes=self.episodes)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one process took."""

    start: float  # on the machine's clock
    stop: float
    cpu: float  # seconds
    physics: float  # seconds in MuJoCo
    grown: int  # bytes


def train(trial: Trial, ready: Barrier) -> Measured:
    """Make the trainings of one process, together with those of the others."""
    torch.set_num_threads(1)
    jobs = [
        TrainingRun(
            env=trial.robot,
            hyperparameters=trial.hyperparameters,
            seed=seed,
            steps=trial.steps,
            evaluation=trial.evaluation,
        )
        for seed in trial.seeds
    ]
    work = _prepared(trial, jobs)
    spent, before = _timed_physics(), _resident()
    ready.wait()
    start, cpu = time.time(), time.process_time()
    work()
    cpu = time.process_time() - cpu
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return Measured(start=start, stop=time.time(), cpu=cpu, physics=spent[0], grown=grown)


def _prepared(trial: Trial, jobs: list[TrainingRun]) -> Callable[[], None]:
    """Return what makes the trainings, after a short one: what libraries load when first used is no part of a speed."""
    if trial.engine == "sbx":
        return sbx_contender.prepared(jobs[0], trial.warm, trial.seeds[0])
    engine = trial.engine

    def work(runs: list[TrainingRun]) -> None:
        watchers = [Unwatched() for _ in runs]
        for _, result in engines.train(engine, runs, watchers, [None] * len(runs), trial.device, trial.physics):
            if isinstance(result, Exception):
                raise result

    work([replace(jobs[0], steps=trial.warm)])
    return partial(work, jobs)


def others() -> list[tuple[Contender, int]]:
    """Return who trains one run on each core: Stable-Baselines3 first, and SBX where it is installed."""
    return [("sb3", CORES), *([("sbx", CORES)] if sbx_contender.installed() else [])]


def _timed_physics() -> list[float]:
    """Return where the seconds that MuJoCo takes from now on are added up."""
    spent = [0.0]
    for kind in (physics.MujocoBatch, physics.ThreadPoolBatch):
        for name in ("advance", "restart"):
            setattr(kind, name, _timed(getattr(kind, name), spent))
    return spent


def _timed(call: Any, spent: list[float]) -> Any:
    def timed(*arguments: Any, **keywords: Any) -> Any:
        start = time.process_time()
        try:
            return call(*arguments, **keywords)
        finally:
            spent[0] += time.process_time() - start

    return timed


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def contend(trial: Trial, members: int) -> dict[str, Any]:
    """Return what a contender made: its members shared out to processes that run at the same time."""
    processes = 1 if trial.device == "cuda" else min(CORES, members)
    shares = np.array_split(np.arange(members), processes)
    trials = [replace(trial, seeds=tuple(int(seed) for seed in share)) for share in shares]
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(processes) as pool:
        ready = manager.Barrier(processes)
        found = pool.starmap(train, [(trial, ready) for trial in trials], chunksize=1)
    steps = members * trial.steps
    return {
        "steps_per_second": steps / (max(one.stop for one in found) - min(one.start for one in found)),
        "cpu_us": 1e6 * sum(one.cpu for one in found) / steps,
        "physics_us": 1e6 * sum(one.physics for one in found) / steps,
        "bytes": max(one.grown for one in found),
        "share": len(shares[0]),
    }


def arithmetic(robot: str, hyperparameters: PPOHyperparameters) -> float:
    """Return how many microseconds of arithmetic a training step takes at the least, on one core of this machine."""
    layout = _layout(robot, hyperparameters)
    forward = 2 * sum(_layers(layout))  # actor and critic
    products = forward + hyperparameters.n_epochs * operations_per_epoch(robot, hyperparameters)
    activations = 2 * sum(hyperparameters.hidden)
    rates = _rates(hyperparameters.batch_size, layout)
    per_update = (
        rates["adam_us"]
        * hyperparameters.n_epochs
        * (hyperparameters.n_envs * hyperparameters.n_steps / hyperparameters.batch_size)
    )
    return (
        products / rates["flops_per_us"]
        + activations
        * ((1 + hyperparameters.n_epochs) * rates["activation_us"] + hyperparameters.n_epochs * rates["slope_us"])
        + per_update / (hyperparameters.n_envs * hyperparameters.n_steps)
    )


def operations_per_epoch(robot: str, hyperparameters: PPOHyperparameters) -> float:
    """Return the floating-point operations of one transition's share in an epoch, products alone."""
    layers = _layers(_layout(robot, hyperparameters))
    return 3 * 2 * sum(layers) - 2 * layers[0]  # actor and critic; the first layer passes no slope on


def _layers(layout: ParameterLayout) -> list[float]:
    widths = (layout.inputs, *layout.hidden, layout.outputs)
    return [2.0 * below * above for below, above in itertools.pairwise(widths)]


def _layout(robot: str, hyperparameters: PPOHyperparameters) -> ParameterLayout:
    place = spaces_of(robot)
    return on_policy(len(place.interface.observation), len(place.interface.action), hyperparameters.hidden)


def _rates(batch: int, layout: ParameterLayout) -> dict[str, float]:
    members, width = 8, layout.hidden[0]
    left, right = torch.randn(2 * members, batch, width), torch.randn(2 * members, width, width)
    out = torch.empty_like(left)
    stack = Stack.zeros(layout, members, torch.device("cpu"))
    adam = Adam(stack, stack.zeros_like(), 3e-4, 1e-5)
    backward = torch.ops.aten.tanh_backward.grad_input
    return {
        "flops_per_us": 2 * left.numel() * width / fastest(lambda: torch.bmm(left, right, out=out)),
        "activation_us": fastest(lambda: torch.sigmoid(left, out=out)) / left.numel(),
        "slope_us": fastest(lambda: backward(left, out, grad_input=out)) / left.numel(),
        "adam_us": fastest(adam.step) / members,
    }


def fastest(call: Any, times: int = 200) -> float:
    """Return the microseconds of CPU that a call takes at its best."""
    torch.set_num_threads(1)
    found: list[float] = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return 1e6 * min(found[times // 10 :])


def measure(given: argparse.Namespace, robot: str, batch_size: int) -> list[dict[str, Any]]:
    """Return a row per contender, Stable-Baselines3 first."""
    contenders: list[tuple[Contender, int]] = [*others(), *(("cohort", size) for size in given.members)]
    hyperparameters = PPOHyperparameters(batch_size=batch_size, hidden=(given.width, given.width))
    rollout = hyperparameters.n_envs * hyperparameters.n_steps

    def trial(engine: Contender) -> Trial:
        is_cohort = engine == "cohort"
        return Trial(
            engine=engine,
            robot=robot,
            hyperparameters=hyperparameters,
            steps=given.rollouts * rollout,
            warm=rollout,
            device=given.device if is_cohort else "cpu",
            physics=given.physics if is_cohort else "mujoco",
        )

    rounds = [[contend(trial(engine), size) for engine, size in contenders] for _ in range(given.rounds)]
    floor = arithmetic(robot, hyperparameters)
    rows: list[dict[str, Any]] = []
    for index, (engine, size) in enumerate(contenders):
        own = {key: statistics.median(one[index][key] for one in rounds) for key in rounds[0][index]}
        reference = [one[0]["steps_per_second"] for one in rounds]
        alone = [one[0]["cpu_us"] for one in rounds]
        speeds = [one[index]["steps_per_second"] for one in rounds]
        rows.append(
            {"robot": robot, "width": given.width, "batch_size": batch_size, "engine": engine, "members": size}
            | {key: round(value, 1) for key, value in own.items()}
            | {
                "ratio": round(statistics.median(a / b for a, b in zip(speeds, reference, strict=True)), 2),
                "cpu_ratio": round(
                    statistics.median(b / one[index]["cpu_us"] for b, one in zip(alone, rounds, strict=True)), 2
                ),
                "floor_us": round(own["physics_us"] + floor, 1),
                "share_of_floor": round((own["physics_us"] + floor) / own["cpu_us"], 2),
            }
        )
        print(_line(rows[-1]), flush=True)
    return rows


def _memory(rows: list[dict[str, Any]], row: dict[str, Any]) -> float | None:
    """Return what each member more takes, beside the count; None for the smallest cohort, which has what is shared."""
    first = next(one for one in rows if (one["robot"], one["batch_size"]) == (row["robot"], row["batch_size"])
                 and one["engine"] == "cohort")  # fmt: skip
    if row["engine"] != "cohort" or row["share"] <= first["share"]:
        return None
    hyperparameters, evaluation = (
        PPOHyperparameters(batch_size=row["batch_size"], hidden=(row.get("width", 64),) * 2),
        settings.Evaluation(episodes=EPISODES),
    )
    counted = bytes_of(
        TrainingRun(env=row["robot"], hyperparameters=hyperparameters, seed=0, steps=1, evaluation=evaluation)
    )
    return (row["bytes"] - first["bytes"]) / (row["share"] - first["share"]) / counted


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['robot']}, minibatches of {row['batch_size']}, {row['engine']} x {row['members']}: "
        f"{row['steps_per_second']:,.0f} steps/s, {row['ratio']:.2f}x SB3 ({row['cpu_ratio']:.2f}x by CPU time), "
        f"{row['cpu_us']:.1f} us of CPU a step, of which MuJoCo {row['physics_us']:.1f}; "
        f"{row['share_of_floor']:.2f} of the floor"
    )


def table(record: dict[str, Any]) -> str:
    """Return the page's table of a record."""
    lines = [
        "| robot | minibatch | engine x runs | steps/s | beside SB3 | by CPU time | CPU us a step | of which MuJoCo "
        "| of the floor | memory, counted |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in record["rows"]:
        memory = _memory(record["rows"], row)
        lines.append(
            f"| {row['robot']} | {row['batch_size']} | {row['engine']} x {row['members']} "
            f"| {row['steps_per_second']:,.0f} | {row['ratio']:.1f} | {row['cpu_ratio']:.1f} | {row['cpu_us']:.0f} "
            f"| {row['physics_us']:.0f} | {row['share_of_floor']:.2f} | {'' if memory is None else f'{memory:.2f}'} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the README's text with the tables as the committed records say."""

    def written(found: re.Match[str]) -> str:
        record = RECORD.with_stem(found[2].replace("cohorts", "cohort"))
        return found[1] + table(json.loads(record.read_text())) + found[3]

    return BETWEEN.sub(written, text)


def main() -> None:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", nargs="+", default=["half-cheetah", "hopper"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--width", type=int, default=64, help="of both layers of the networks")
    parser.add_argument("--members", type=int, nargs="+", default=list(MEMBERS))
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help="of each training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--physics", choices=["mujoco", "warp"], default="mujoco", help="of cohorts")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--page", action="store_true", help="measure nothing, write the README's table")
    given = parser.parse_args()
    if given.page:
        README.write_text(page(README.read_text()))
        return
    given.device = engines.device(given.device)
    rows = [row for robot in given.robots for size in given.batch_sizes for row in measure(given, robot, size)]
    write(given.out, "cohort", {"rollouts": given.rollouts, "episodes": EPISODES, "rounds": given.rounds, "rows": rows})


def write(path: Path, benchmark: str, found: dict[str, Any]) -> None:
    """Write what was found, with the machine and the versions that it was found with."""
    commit, dirty = provenance.commit()
    record = {
        "benchmark": benchmark,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": commit,
        "dirty": dirty,
        "load": os.getloadavg(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record | found, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()

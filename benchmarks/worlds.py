"""Environment steps per second of the batch, beside what else there is, in one run on one machine.

    python benchmarks/worlds.py                  everything, the figures of experiments/benchmarks/
    python benchmarks/worlds.py --seconds 0.3 --worlds 1 64 --robots half-cheetah --only batch limit
    python benchmarks/worlds.py --page           puts the committed figures into the README there

Each contender is measured several times in turns, so that a change of the machine's load meets all alike; the figure is
the median. `limit` is raw `mj_step` on every core at once, under the same controls, with nothing observed.
EnvPool and Gymnasium's and SB3's worker processes are left out where they cannot run, as are those of robots that
Gymnasium does not have. `randomised` draws each env's model anew at each episode, from the ranges of the robot's table;
`mixed` has the same models and draws none, so that their CPU times tell the cost of drawing.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from trl_suite.worlds.address import Address
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.registration import gymnasium_id
from trl_suite.worlds.stepping.domain_pool import domain_pool
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv

ROBOTS = ("half-cheetah", "hopper", "ant", "humanoid", "arm-reach", "quadruped")
WORLDS = (1, 16, 64, 256)
CORES = len(os.sched_getaffinity(0))
ROUNDS = 5
FOLDER = Path(__file__).parents[1] / "experiments/benchmarks"
README, RECORD = FOLDER / "README.md", FOLDER / "worlds-x86_64-2-cores.json"
BETWEEN = re.compile(r"(<!-- worlds: [^\n]*-->\n).*?(<!-- /worlds -->)", re.DOTALL)
COLUMNS = (  # of the page: what the batch is compared with, at how many worlds
    ("limit", "limit", 64), ("EnvPool", "envpool", 64), ("EnvPool", "envpool", 256),
    ("AsyncVectorEnv", "gymnasium_async", 64), ("DummyVecEnv", "sb3_dummy", 64),
)  # fmt: skip
PACKAGES = ("mujoco", "gymnasium", "stable-baselines3", "numpy", "envpool")
Step = Callable[[np.ndarray], Any]


class Contender(NamedTuple):
    """A way to step worlds: made for (robot, worlds), it gives a step and what closes it."""

    make: Callable[[str, int], tuple[Step, Callable[[], None]]]


def batch(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """The suite's batch."""
    made = RobotVectorEnv(worlds, robot)
    made.reset(seed=0)
    return made.step, made.close


def batch_without_warm_start(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """The suite's batch, whose solver starts anew at each control step."""
    made = RobotVectorEnv(worlds, robot, warm_start=False)
    made.reset(seed=0)
    return made.step, made.close


def randomised(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """The suite's batch, whose models are drawn anew at each episode; episodes end one after another."""
    made = RobotVectorEnv(worlds, robot, randomise=True)
    return _staggered(made)


def mixed(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """The suite's batch of the models that `randomised` draws from, each env with one of its own."""
    pool = domain_pool(Address.parse(f"{robot}?randomise=true")).addresses
    axes = [dict(pool[index % len(pool)].axes.axes()) for index in range(worlds)]
    return _staggered(RobotVectorEnv(worlds, robot, axes))


def _staggered(made: RobotVectorEnv) -> tuple[Step, Callable[[], None]]:
    """A batch of which one env after the other is started, so that episodes do not end all at once."""
    made.reset(seed=0)
    actions = np.zeros(made.action_space.shape, dtype=np.float32)
    for index in range(made.num_envs):
        for _ in range(max(1, made.table.episode_steps // made.num_envs)):
            made.step(actions)
        made.reset(options={"reset_mask": np.arange(made.num_envs) == index})
    return made.step, made.close


def single(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """The suite's single env, one after another."""
    return _one_by_one([gymnasium.make(gymnasium_id(robot, load(robot))) for _ in range(worlds)])


def gymnasium_single(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """Gymnasium's own env, one after another."""
    return _one_by_one([gymnasium.make(load(robot).equals) for _ in range(worlds)])


def _one_by_one(envs: list[gymnasium.Env]) -> tuple[Step, Callable[[], None]]:
    for index, env in enumerate(envs):
        env.reset(seed=index)

    def step(actions: np.ndarray) -> None:
        for env, action in zip(envs, actions, strict=True):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return step, lambda: [env.close() for env in envs]


def gymnasium_sync(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """Gymnasium's SyncVectorEnv of its own env."""
    return _vector(gymnasium.make_vec(load(robot).equals, num_envs=worlds, vectorization_mode="sync"))


def gymnasium_async(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """Gymnasium's AsyncVectorEnv of its own env."""
    return _vector(gymnasium.make_vec(load(robot).equals, num_envs=worlds, vectorization_mode="async"))


def _vector(made: gymnasium.vector.VectorEnv) -> tuple[Step, Callable[[], None]]:
    made.reset(seed=0)
    return made.step, made.close


def sb3_dummy(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """SB3's DummyVecEnv of Gymnasium's env."""
    made = DummyVecEnv([lambda: gymnasium.make(load(robot).equals)] * worlds)
    made.reset()
    return made.step, made.close


def sb3_subproc(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """SB3's SubprocVecEnv of Gymnasium's env."""
    made = SubprocVecEnv([lambda: gymnasium.make(load(robot).equals)] * worlds, start_method="fork")
    made.reset()
    return made.step, made.close


def envpool(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """EnvPool, as many threads as cores."""
    import envpool as package

    made = package.make_gymnasium(load(robot).equals.replace("-v5", "-v4"), num_envs=worlds, num_threads=CORES)
    made.reset()
    return lambda actions: made.step(actions.astype(np.float64)), made.close


def limit(robot: str, worlds: int) -> tuple[Step, Callable[[], None]]:
    """Raw `mj_step` on every core at once: a process per core, worlds in turn, controls drawn before."""
    pipes: list[Any] = []
    context = multiprocessing.get_context("fork")
    for core in range(CORES):
        here, there = context.Pipe()
        process = context.Process(target=_raw, args=(there, robot, _share(worlds, core)), daemon=True)
        process.start()
        pipes.append((here, process))

    def step(actions: np.ndarray) -> None:
        for here, _ in pipes:
            here.send(len(actions))
        for here, _ in pipes:
            here.recv()

    step.steps = 20  # type: ignore[attr-defined]  a message's cost is spread over this many control steps
    return step, lambda: [process.terminate() for _, process in pipes]


def _share(worlds: int, core: int) -> int:
    return worlds // CORES + (core < worlds % CORES)


def _raw(pipe: Any, robot: str, worlds: int) -> None:
    world, limits = RobotEnv(robot), load(robot).episode_steps
    model, skip, rng = world.model, world.table.frame_skip, np.random.default_rng(0)
    controls = rng.uniform(*model.actuator_ctrlrange.T, (1024, model.nu))
    every = [mujoco.MjData(model) for _ in range(worlds)]
    ages, clock = [0] * worlds, 0
    while pipe.recv():
        for _ in range(20):
            for index, data in enumerate(every):
                clock += 1
                ages[index] += 1
                # what falls starts anew, as in an episode: a robot on the ground is another load
                if ages[index] > limits or _fallen(robot, data):
                    mujoco.mj_resetData(model, data)
                    ages[index] = 0
                data.ctrl[:] = controls[clock % 1024]
                mujoco.mj_step(model, data, skip)
        pipe.send(True)


def _fallen(robot: str, data: mujoco.MjData) -> bool:
    heights = {"hopper": (1, 0.7, 9.0), "ant": (2, 0.2, 1.0), "humanoid": (2, 1.0, 2.0), "quadruped": (2, 0.12, 9.0)}
    if robot not in heights:
        return False
    index, low, high = heights[robot]
    return not low < data.qpos[index] < high or (robot == "hopper" and abs(data.qpos[2]) > 0.2)


CONTENDERS = {
    one.__name__: Contender(one)
    for one in (
        limit,
        batch,
        batch_without_warm_start,
        randomised,
        mixed,
        single,
        gymnasium_single,
        gymnasium_sync,
        gymnasium_async,
        sb3_dummy,
        sb3_subproc,
        envpool,
    )
}


class Rate(NamedTuple):
    """Steps per second, and microseconds of this process's CPU time per step, all its threads together."""

    steps_per_second: float
    cpu_us: float


def measure(robot: str, worlds: int, names: list[str], seconds: float) -> dict[str, Rate]:
    """Return rates by contender: medians over rounds in which all take turns."""
    rng = np.random.default_rng(0)
    space = RobotEnv(robot).action_space
    actions = rng.uniform(space.low, space.high, (64, worlds, *space.shape)).astype(np.float32)
    found: dict[str, list[Rate]] = {}
    with _made(robot, worlds, names) as contenders:
        for _ in range(ROUNDS):
            for name, step in contenders.items():
                found.setdefault(name, []).append(_rate(step, actions, seconds / ROUNDS))
    return {name: Rate(*map(statistics.median, zip(*rates, strict=True))) for name, rates in found.items()}


@contextmanager
def _made(robot: str, worlds: int, names: list[str]) -> Iterator[dict[str, Step]]:
    steps: dict[str, Step] = {}
    closing: list[Callable[[], None]] = []
    for name in names if load(robot).equals else [name for name in names if name in OWN]:
        if worlds > 64 and name in ("gymnasium_async", "sb3_subproc"):
            continue  # a process per world: 256 of them fill the memory of a small machine
        try:
            steps[name], close = CONTENDERS[name].make(robot, worlds)
        except Exception as error:
            print(f"  {name}: left out: {type(error).__name__}: {str(error)[:80]}")
            continue
        closing.append(close)
    try:
        yield steps
    finally:
        for close in closing:
            with suppress(Exception):
                close()


def _rate(step: Step, actions: np.ndarray, seconds: float) -> Rate:
    each = getattr(step, "steps", 1) * actions.shape[1]
    step(actions[0])
    done, start, worked = 0, time.perf_counter(), time.process_time()
    while (spent := time.perf_counter() - start) < seconds:
        step(actions[done % len(actions)])
        done += 1
    return Rate(done * each / spent, (time.process_time() - worked) * 1e6 / (done * each))


def main() -> None:
    """Measure, print ratios, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="per contender")
    parser.add_argument("--worlds", type=int, nargs="+", default=list(WORLDS))
    parser.add_argument("--robots", nargs="+", default=list(ROBOTS))
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--out", type=Path, default=Path("experiments/benchmarks"))
    parser.add_argument("--resume", action="store_true", help="keep the rows that the file has, and measure the others")
    parser.add_argument("--page", action="store_true", help="put the committed figures into the README")
    given = parser.parse_args()
    if given.page:
        README.write_text(page(README.read_text()))
        return
    warnings.simplefilter("ignore")
    path = given.out / f"worlds-{platform.machine()}-{CORES}-cores.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if given.resume and path.exists() else []
    there = {(row["robot"], row["worlds"]) for row in rows}
    for robot in given.robots:
        for worlds in (count for count in given.worlds if (robot, count) not in there):
            found = measure(robot, worlds, given.only, given.seconds)
            rows.append(_row(robot, worlds, found) | {"load": os.getloadavg()})
            print(_line(rows[-1]))
            write(path, rows)
    print(path)


IN_PROCESS = (
    "batch",
    "batch_without_warm_start",
    "randomised",
    "mixed",
    "single",
    "gymnasium_single",
    "gymnasium_sync",
    "sb3_dummy",
    "envpool",
)
OWN = ("limit", "batch", "batch_without_warm_start", "randomised", "mixed", "single")  # of every robot
RATIOS = (("batch", "limit"), ("batch", "envpool"), ("batch", "gymnasium_async"), ("single", "gymnasium_single"))


def _row(robot: str, worlds: int, found: dict[str, Rate]) -> dict[str, Any]:
    speed = {name: round(rate.steps_per_second) for name, rate in found.items()}
    drawing = {}
    if {"randomised", "mixed"} <= found.keys():
        drawing["CPU time of randomised / mixed"] = round(found["randomised"].cpu_us / found["mixed"].cpu_us, 3)
    return {
        "robot": robot,
        "worlds": worlds,
        "steps_per_second": speed,
        "cpu_us_per_step": {name: round(rate.cpu_us, 1) for name, rate in found.items() if name in IN_PROCESS},
        "ratios": {f"{a} / {b}": round(speed[a] / speed[b], 2) for a, b in RATIOS if a in speed and b in speed}
        | drawing,
    }


def _line(row: dict[str, Any]) -> str:
    figures = ", ".join(f"{name} {speed:,}" for name, speed in row["steps_per_second"].items())
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
    return f"{row['robot']}, {row['worlds']} worlds: {figures}\n  {ratios}"


def page(text: str) -> str:
    """Return the README's text with the committed figures."""
    rows = {(row["robot"], row["worlds"]): row["steps_per_second"] for row in json.loads(RECORD.read_text())["rows"]}
    head = [f"batch / {title}, {worlds} worlds" for title, _, worlds in COLUMNS]
    lines = [f"| robot | {' | '.join(head)} |", f"|---|{'--:|' * len(head)}"]
    for robot in (robot for robot in ROBOTS if (robot, COLUMNS[0][2]) in rows):
        speeds = [(rows[robot, worlds], name) for _, name, worlds in COLUMNS]
        ratios = [
            f"{row['batch'] / row[name]:.2f}" if name in row else "" for row, name in speeds
        ]  # of no other package
        lines.append(f"| {robot} | {' | '.join(ratios)} |")
    return BETWEEN.sub(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], text)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the figures with machine and versions."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    record = {
        "benchmark": "worlds",
        "cpu": cpu,
        "cores": CORES,
        "versions": versions,
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Env steps per second of worlds on a device, beside MuJoCo on all cores, in one run on one machine.

    python benchmarks/physics.py                            a CUDA device, the figures of experiments/benchmarks/
    python benchmarks/physics.py --device cpu               a rehearsal on Warp's CPU device: few worlds, same program
    python benchmarks/physics.py --page                     writes the committed figures into that folder's README

A figure counts whole env steps: control, physics, observation, reward, termination and the next episode's beginning,
under controls drawn before. `physics` is the share of the time that MuJoCo Warp's own graph takes when it runs alone.
`mujoco` is the suite's batch on all cores with as many worlds, up to 1,024: its rate hardly changes with more.
"""

import argparse
import json
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trl_suite import provenance
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp.limits import bytes_per_world
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

ROBOTS = ("inverted-pendulum", "hopper", "half-cheetah", "ant", "humanoid")
WORLDS = {"cuda": (256, 1024, 4096, 16384), "cpu": (16, 64, 256)}
MOST_ON_MUJOCO = 1024
WARM_UP = 5  # steps: two as they stand, the capture, two graphs
DRAWN = 16  # controls that are taken in turn
FOLDER = Path(__file__).parent.parent / "experiments" / "benchmarks"
README = FOLDER / "README.md"
RECORDS = {"cuda": FOLDER / "physics-gpu.json", "cpu": FOLDER / "physics-rehearsal.json"}
BETWEEN = re.compile(r"(<!-- physics: [^\n]*-->\n).*?(<!-- /physics -->)", re.DOTALL)
Row = dict[str, Any]


def measured(robot: str, worlds: int, device: str, seconds: float) -> Row:
    """Return the rates of one robot and number of worlds."""
    started = time.perf_counter()
    batch = WarpVectorEnv(worlds, robot, device=device, autoreset_mode="SameStep")
    batch.reset(seed=0)
    low, high = (torch.as_tensor(end, device=device) for end in (batch.action_space.low, batch.action_space.high))
    generator = torch.Generator(device).manual_seed(0)
    drawn = [low + (high - low) * torch.rand(low.shape, generator=generator, device=device) for _ in range(DRAWN)]
    for step in range(WARM_UP):
        batch.step(drawn[step])
    _wait(device)
    ready = time.perf_counter() - started
    whole = _seconds(lambda step: batch.step(drawn[step % DRAWN]), seconds, device)
    physics = _seconds(lambda step: _physics(batch), seconds / 2, device)
    return {
        "robot": robot,
        "worlds": worlds,
        "steps_per_second": round(worlds / whole),
        "us_per_step": round(whole * 1e6),
        "physics": round(min(physics / whole, 1.0), 2),
        "mujoco": round(_on_mujoco(robot, min(worlds, MOST_ON_MUJOCO), seconds)),
        "kb_per_world": round(bytes_per_world(robot) / 1024),
        "overflow": batch.overflown(),
        "seconds_to_ready": round(ready, 1),
    }


def _physics(batch: WarpVectorEnv) -> None:
    with batch._stream.entered():
        batch._program._graphs[1]()


def _on_mujoco(robot: str, worlds: int, seconds: float) -> float:
    batch = RobotVectorEnv(worlds, robot, autoreset_mode="SameStep")
    batch.reset(seed=0)
    batch.action_space.seed(0)
    drawn = [batch.action_space.sample() for _ in range(DRAWN)]
    try:
        return worlds / _seconds(lambda step: batch.step(drawn[step % DRAWN]), seconds, "cpu")
    finally:
        batch.close()


def _seconds(work: Callable[[int], Any], budget: float, device: str) -> float:
    """Return the seconds of one run of the work, over about so many seconds."""
    step, started = 0, time.perf_counter()
    while time.perf_counter() - started < budget:
        for _ in range(10):  # between two waits
            work(step)
            step += 1
        _wait(device)
    return (time.perf_counter() - started) / step


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def table(record: dict[str, Any]) -> str:
    """Return the figures as a table."""
    lines = [
        "| robot | worlds | env steps/s | of which physics | MuJoCo on all cores | memory a world | overflow |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['robot']} | {row['worlds']:,} | {row['steps_per_second']:,} | {row['physics']:.2f} "
        f"| {row['mujoco']:,} | {row['kb_per_world']} KB | {row['overflow']} |"
        for row in record["rows"]
    ]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the README's text with the figures of a GPU, or, while there are none, those of the rehearsal."""
    gpu, rehearsal = RECORDS["cuda"], RECORDS["cpu"]
    record = json.loads((gpu if gpu.is_file() else rehearsal).read_text())
    said = f"On {record['device']}, {record['cores']} cores, at a load of {record['load'][0]:.0f}.\n\n"
    return BETWEEN.sub(lambda found: found[1] + said + table(record) + found[2], text)


def main() -> None:
    """Measure, print the table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--robots", nargs="+", default=list(ROBOTS))
    parser.add_argument("--worlds", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    parser.add_argument("--out", type=Path, help="the record; experiments/benchmarks/ where not given")
    parser.add_argument("--page", action="store_true", help="put the committed figures into the README")
    given = parser.parse_args()
    if given.page:
        README.write_text(page(README.read_text()))
        return
    every = given.worlds or WORLDS[given.device]
    rows = [measured(robot, worlds, given.device, given.seconds) for robot in given.robots for worlds in every]
    device = torch.cuda.get_device_name() if given.device == "cuda" else f"Warp's CPU device, {platform.machine()}"
    machine = provenance.machine()
    record = {"device": device, "cores": torch.get_num_threads(), "machine": machine, "rows": rows}
    record |= {"versions": provenance.versions(), "load": os.getloadavg()}
    (given.out or RECORDS[given.device]).write_text(json.dumps(record, indent=1) + "\n")
    print(table(record), end="")


if __name__ == "__main__":
    main()

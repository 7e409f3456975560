"""Updates per second of SAC and TD3 cohorts beside Stable-Baselines3 in one process per core, in one run.

    python benchmarks/off_policy.py                     the figures of experiments/benchmarks/, some thirty minutes
    python benchmarks/off_policy.py --members 1 8 --updates 200
    python benchmarks/off_policy.py --algorithms td3 --members 1 8
    python benchmarks/off_policy.py --page              writes the committed figures into that folder's README
    python benchmarks/off_policy.py --device cuda --members 1 8 32 64 --out sac-gpu.json

Every contender makes the same trainings with SAC's defaults (256-256, batches of 256, an update per env step), and with
TD3's at the same width, on HalfCheetah: 300 steps of uniform actions, then as many updates as `--updates` says, an
evaluation of one episode before and after. All of it counts: the rate is all updates over the time until the last
process ends. As in `cohort.py`, members are shared out to one process per core with one torch thread each. SB3, and SBX
where it is installed, train one run in each.

The floor is what MuJoCo itself took in that run plus the products, counted, at the speed of a large one measured here,
plus a pass of Adam.
"""

import argparse
import itertools
import json
import re
import statistics
from pathlib import Path
from typing import Any

import torch
from cohort import README, Contender, Trial, contend, fastest, others, write

from trl_suite.algorithms.hyperparameters import OffPolicyHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.training import engines
from trl_suite.training.cohort.cohort_key import bytes_of
from trl_suite.training.cohort.learning.critics import OFF_POLICY_ADAM_EPSILON
from trl_suite.training.cohort.learning.off_policy import layouts
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.stack import Stack
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.training_run import TrainingRun

ROBOT = "half-cheetah"
STARTS = 300  # env steps before the first update
ALGORITHMS: dict[str, OffPolicyHyperparameters] = {
    "sac": SACHyperparameters(hidden=(256, 256), learning_starts=STARTS),
    "td3": TD3Hyperparameters(hidden=(256, 256), learning_starts=STARTS),
}
MEMBERS = (1, 8, 32, 64)
RECORD = README.with_name("sac.json")
BETWEEN = re.compile(r"(<!-- sac: [^\n]*-->\n).*?(<!-- /sac -->)", re.DOTALL)


def trial(engine: Contender, algorithm: str, updates: int, device: engines.Device) -> Trial:
    """Return what every contender trains."""
    on: engines.Device = device if engine == "cohort" else "cpu"
    return Trial(
        engine=engine,
        robot=ROBOT,
        hyperparameters=ALGORITHMS[algorithm],
        steps=STARTS + updates,
        warm=STARTS + 10,
        device=on,
        episodes=1,
    )


def operations(hyperparameters: OffPolicyHyperparameters) -> float:
    """Return the floating-point operations of one member's update, products alone.

    SAC's actor goes forward twice and back once, its critics forward three times, back once for their own step and once
    for the actions' slope alone. TD3's target actor and critics go forward in every update and the critics learn; one
    time in `policy_delay` the actor goes forward and back, and the first critic forward and back to the actions.
    """
    place = spaces_of(ROBOT)
    slots, actions = len(place.interface.observation), len(place.interface.action)
    actor = _layers(slots, hyperparameters.hidden, 2 * actions)
    critic = _layers(slots + actions, hyperparameters.hidden, 1)
    actor_back = 2 * sum(actor) - actor[0]
    critic_back = 2 * sum(critic) - critic[0]
    inward = sum(critic[1:]) + critic[0] * actions / (slots + actions)
    if isinstance(hyperparameters, TD3Hyperparameters):
        actor = _layers(slots, hyperparameters.hidden, actions)
        improving = sum(actor) + 2 * sum(actor) - actor[0] + sum(critic) + inward
        learning = sum(actor) + 2 * (2 * sum(critic) + critic_back)
        return hyperparameters.batch_size * (learning + improving / hyperparameters.policy_delay)
    critics = 2 * (3 * sum(critic) + critic_back + inward)
    return hyperparameters.batch_size * (2 * sum(actor) + actor_back + critics)


def _layers(inputs: int, hidden: tuple[int, ...], outputs: int) -> list[float]:
    return [2.0 * below * above for below, above in itertools.pairwise((inputs, *hidden, outputs))]


def arithmetic(hyperparameters: OffPolicyHyperparameters) -> float:
    """Return how many microseconds an update's arithmetic takes at the least, on one core of this machine."""
    members = 4
    left, right, out = torch.randn(256, 256), torch.randn(256, 256), torch.empty(256, 256)
    per_us = 2 * left.numel() * 256 / fastest(lambda: torch.mm(left, right, out=out), 400)
    place = spaces_of(ROBOT)
    moved = 0.0
    for name, layout in layouts(hyperparameters, len(place.interface.observation), len(place.interface.action)).items():
        if not name.startswith("target."):
            stack = Stack.zeros(layout, members, torch.device("cpu"))
            moved += fastest(Adam(stack, stack.zeros_like(), 3e-4, OFF_POLICY_ADAM_EPSILON).step) / members
    return operations(hyperparameters) / per_us + moved


def measure(given: argparse.Namespace, algorithm: str) -> list[dict[str, Any]]:
    """Return a row per contender, Stable-Baselines3 first."""
    contenders: list[tuple[Contender, int]] = [*others(), *(("cohort", size) for size in given.members)]
    found = [
        [contend(trial(engine, algorithm, given.updates, given.device), size) for engine, size in contenders]
        for _ in range(given.rounds)
    ]
    floor = arithmetic(ALGORITHMS[algorithm])
    share = given.updates / (STARTS + given.updates)  # updates per env step: rates are counted in env steps
    rows: list[dict[str, Any]] = []
    for index, (engine, size) in enumerate(contenders):
        own = {key: statistics.median(one[index][key] for one in found) for key in found[0][index]}
        speeds = [one[index]["steps_per_second"] / one[0]["steps_per_second"] for one in found]
        physics, cpu = own["physics_us"] / share, own["cpu_us"] / share
        row = {
            "robot": ROBOT,
            "algorithm": algorithm,
            "engine": engine,
            "members": size,
            "updates_per_second": round(own["steps_per_second"] * share, 1),
            "ratio": round(statistics.median(speeds), 2),
            "cpu_us": round(cpu, 1),
            "physics_us": round(physics, 1),
            "floor_us": round(floor + physics, 1),
            "share_of_floor": round((floor + physics) / cpu, 2),
            "bytes": int(own["bytes"]),
            "share": own["share"],
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def memory(rows: list[dict[str, Any]], row: dict[str, Any], updates: int) -> float | None:
    """Return what each member more takes, beside the count; None for the smallest cohort, which has what is shared."""
    algorithm = row.get("algorithm", "sac")  # records before TD3 had a table name none
    first = next(one for one in rows if one["engine"] == "cohort" and one.get("algorithm", "sac") == algorithm)
    if row["engine"] != "cohort" or row["share"] <= first["share"]:
        return None
    one = trial("cohort", algorithm, updates, "cpu")
    job = TrainingRun(
        env=ROBOT, hyperparameters=one.hyperparameters, seed=0, steps=one.steps, evaluation=one.evaluation
    )
    return (row["bytes"] - first["bytes"]) / (row["share"] - first["share"]) / bytes_of(job)


def table(record: dict[str, Any]) -> str:
    """Return the page's table of a record."""
    lines = [
        "| update | engine x runs | updates/s | beside SB3 | by CPU time | CPU us | of which MuJoCo | of the floor "
        "| memory |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    sb3 = {row.get("algorithm", "sac"): row for row in record["rows"] if row["engine"] == "sb3"}
    for row in record["rows"]:
        taken = memory(record["rows"], row, record["updates"])
        algorithm = row.get("algorithm", "sac")
        lines.append(
            f"| {algorithm.upper()} | {row['engine']} x {row['members']} | {row['updates_per_second']:,.0f} "
            f"| {row['ratio']:.2f} | {sb3[algorithm]['cpu_us'] / row['cpu_us']:.2f} | {row['cpu_us']:,.0f} "
            f"| {row['physics_us']:.0f} | {row['share_of_floor']:.2f} | {'' if taken is None else f'{taken:.2f}'} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the README's text with the table as the committed record says."""
    return BETWEEN.sub(lambda match: match[1] + table(json.loads(RECORD.read_text())) + match[2], text)


def main() -> None:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithms", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS))
    parser.add_argument("--members", type=int, nargs="+", default=list(MEMBERS))
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--page", action="store_true", help="measure nothing, write the README's table")
    given = parser.parse_args()
    if given.page:
        README.write_text(page(README.read_text()))
        return
    given.device = engines.device(given.device)
    rows: list[dict[str, Any]] = []
    for algorithm in given.algorithms:  # written after each: a stop loses one
        rows += measure(given, algorithm)
        write(given.out, "off-policy", {"updates": given.updates, "rounds": given.rounds, "rows": rows})


if __name__ == "__main__":
    main()

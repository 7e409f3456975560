"""What a first GPU is asked, correctness first, in fifteen minutes and without network: `make gpu-first`.

    python benchmarks/gpu_first.py --out build/gpu-first          every stage, each in a process with its own limit
    python benchmarks/gpu_first.py --device cpu                   a rehearsal: the same code, tiny sizes, no speeds
    python benchmarks/gpu_first.py --only facts correct           some of the stages
    python benchmarks/gpu_report.py build/gpu-first               the page, with the predictions beside

A stage that fails or runs out of time leaves what it had found, and the next one begins. `trl-suite warm half-cheetah
hopper ant` beforehand, anywhere, keeps compiling out of the fifteen minutes: carry the cache that it names.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
ROBOTS = ("half-cheetah", "hopper", "ant")
SETTLE_CALLS, BLOCK_CALLS, BLOCK_SECONDS = 5, 10, 0.5
LIMITS_SECONDS: Mapping[str, int] = {  # of each stage, in their order
    "facts": 60,
    "correct": 60,
    "speed": 60,
    "tests": 150,
    "worlds": 180,
    "accurate": 60,
    "ppo-warp-128": 60,
    "ppo-mujoco-128": 60,
    "ppo-warp-1024": 90,
    "ppo-mujoco-1024": 60,
    "sac-mujoco-64": 60,
}


@dataclass(kw_only=True)
class Stage:
    """One stage at work: its device, and what it has found so far, which is on disk at once."""

    name: str
    device: torch.device
    path: Path

    def __post_init__(self) -> None:
        self._findings: dict[str, Any] = {}

    @property
    def on_gpu(self) -> bool:
        """Whether this is no rehearsal."""
        return self.device.type == "cuda"

    def note(self, name: str, value: Any) -> None:
        """Write a finding down."""
        self._findings[name] = value
        print(f"{self.name}: {name}: {value}", flush=True)
        self.path.write_text(json.dumps(self._findings, indent=1, default=str) + "\n")

    def wait(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def microseconds(self, work: Callable[[], object]) -> float:
        """Return what one call takes: the median of blocks of ten, after five calls."""
        times: list[float] = []
        for _ in range(SETTLE_CALLS):
            work()
        self.wait()
        end = time.perf_counter() + (BLOCK_SECONDS if self.on_gpu else 0.02)
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            for _ in range(BLOCK_CALLS):
                work()
            self.wait()
            times.append((time.perf_counter() - start) / BLOCK_CALLS * 1e6)
        return round(float(np.median(times)), 1)

    def graphed(self, work: Callable[[], None]) -> Callable[[], object]:
        """Return the replay of work where there are graphs."""
        if not self.on_gpu:
            return work
        from trl_suite.worlds.warp.device_capture import captured

        for _ in range(2):
            work()
        self.wait()
        return captured(work)


def facts(stage: Stage) -> None:
    """Ask the device for its name, and for the numbers that the predictions were made with."""
    from trl_suite.training.device_facts import accelerator
    from trl_suite.worlds.warp.device_check import findings

    if stage.on_gpu:
        stage.note("device", accelerator("cuda", "warp") | {"memory": torch.cuda.mem_get_info()})
    stage.note("graphs", findings(stage.device))
    small = torch.zeros(64, device=stage.device)
    large = torch.zeros(2**28 if stage.on_gpu else 2**20, device=stage.device)

    def thousand() -> None:
        for _ in range(1000):
            small.add_(1.0)

    stage.note("us per node in a graph", stage.microseconds(stage.graphed(thousand)) / 1000)
    stage.note("us per kernel without", stage.microseconds(thousand) / 1000)
    to_device = partial(torch.as_tensor, np.zeros(64, np.float32), device=stage.device)
    stage.note("us per blocking copy to the device", stage.microseconds(to_device))
    stage.note("us per blocking copy back", stage.microseconds(small.cpu))
    stage.note("GB/s of a copy", round(2 * large.nbytes / stage.microseconds(large.clone) / 1e3))
    for nets, batch, inputs, outputs in ((256, 256, 64, 64), (128, 256, 256, 256), (64, 256, 17, 256)):
        x = torch.randn(nets, batch, inputs, device=stage.device)
        weight = torch.randn(nets, outputs, inputs, device=stage.device)
        out = torch.empty(nets, batch, outputs, device=stage.device)
        took = stage.microseconds(partial(torch.bmm, x, weight.transpose(1, 2), out=out))
        flops = 2 * nets * batch * inputs * outputs
        stage.note(f"TFLOP/s of {nets} products {batch}x{inputs}x{outputs}", round(flops / took / 1e6, 2))


def learners(members: int, device: torch.device) -> Iterator[tuple[str, Any, Callable[[], object]]]:
    """Yield (algorithm, a stack of its parameters, an epoch or update with its launch), on inputs that are the same."""
    from trl_suite.algorithms.ppo import PPOHyperparameters
    from trl_suite.algorithms.sac import SACHyperparameters
    from trl_suite.algorithms.td3 import TD3Hyperparameters
    from trl_suite.training.cohort.learning.off_policy import layouts
    from trl_suite.training.cohort.learning.ppo_update import PPOUpdate
    from trl_suite.training.cohort.learning.replay_rings import ReplayRings
    from trl_suite.training.cohort.learning.sac_update import SACUpdate
    from trl_suite.training.cohort.learning.td3_update import TD3Update
    from trl_suite.training.cohort.stacked.graph import Launch
    from trl_suite.training.cohort.stacked.parameter_layout import on_policy
    from trl_suite.training.cohort.stacked.stack import Stack

    generator = torch.Generator().manual_seed(0)

    def stack(layout: Any) -> Stack:
        parameters = Stack.zeros(layout, members, device)
        parameters.flat.copy_(torch.randn(parameters.flat.shape, generator=generator) * 0.05)
        return parameters

    ppo = PPOHyperparameters()
    learner = PPOUpdate(ppo, stack(on_policy(17, 6, ppo.hidden)))
    rows = torch.randn(members * 2048, 32, generator=generator).to(device)
    rows[:, 23] = rows[:, 23] * 0.1 - 8.0  # log probabilities
    orders = [torch.randperm(2048, generator=generator) + member * 2048 for member in range(members)]
    inputs = {"rows": rows, "order": torch.stack(orders).to(device)}
    yield "ppo", learner.stack, partial(learner._epochs[False], inputs)
    for name, kind, own in (("sac", SACUpdate, SACHyperparameters()), ("td3", TD3Update, TD3Hyperparameters())):
        update: Any = kind(own, {key: stack(layout) for key, layout in layouts(own, 17, 6).items()}, {})  # type: ignore[arg-type]
        rings = ReplayRings(members, 1000, 1, 17, 6, device)
        rings.rows.copy_(torch.randn(rings.rows.shape, generator=generator))
        rings._place[:] = 900
        uniform = torch.rand(members, 256, 2, generator=generator, dtype=torch.float64).numpy()
        drawn = {
            "places": torch.from_numpy(rings.places(uniform)).to(device),
            "noise": torch.randn(2 if name == "sac" else 1, members, 256, 6, generator=generator).to(device),
        }
        yield name, update.stacks["critic"], _OffPolicyUpdates(update, rings, drawn, Launch, device)


class _OffPolicyUpdates:
    """Updates of SAC or TD3 one after the other, each phase with its graph."""

    def __init__(self, update: Any, rings: Any, drawn: dict[str, torch.Tensor], launch: Any, device: Any) -> None:
        self._update, self._rings, self._drawn, self._made = update, rings, drawn, 0
        self._launch = launch(self._work, update.optimisers.values(), device)

    def __call__(self) -> object:
        self._made += 1
        return self._launch(self._drawn, (self._made - 1) % self._update.phases)

    def _work(self, drawn: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self._update.updates = self._made - 1
        return self._update.update(self._rings.at(drawn["places"]), drawn["noise"])


def correct(stage: Stage) -> None:
    """Compare twelve updates, graphs among them, with those of the CPU."""
    pairs = zip(learners(4, stage.device), learners(4, torch.device("cpu")), strict=True)
    for (name, stack, update), (_, beside, on_cpu) in pairs:
        try:
            for _ in range(12):  # two as they stand, a capture, the rest are replays
                update()
                on_cpu()
            stage.note(
                f"{name}: 12 updates, farthest from the CPU's", float((stack.flat.cpu() - beside.flat).abs().max())
            )
        except Exception as error:
            stage.note(f"{name} FAILED", f"{type(error).__name__}: {error}"[:400])


def speed(stage: Stage) -> None:
    """Time an epoch of PPO and an update of SAC and TD3 for growing numbers of members."""
    for members in (1, 16, 64, 128, 512) if stage.on_gpu else (2,):
        for name, _, update in learners(members, stage.device):
            unit = "epoch of 8 minibatches" if name == "ppo" else "update"
            stage.note(f"{name} x {members}: us per {unit}", stage.microseconds(update))


def tests(stage: Stage) -> None:
    """Run the tests that need a CUDA device."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--tb=line"]
    command += [] if stage.on_gpu else ["--collect-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    stage.note("exit code", done.returncode)
    stage.note("said", done.stdout.strip().splitlines()[-12:])


def worlds(stage: Stage) -> None:
    """Time a step of worlds on Warp, whole and by its stages, with nothing asked of the host."""
    from trl_suite.worlds.warp.warp_env import WarpVectorEnv

    for robot in ROBOTS:
        for count in (64, 2048, 16384) if stage.on_gpu else (16,):
            start = time.perf_counter()
            batch = WarpVectorEnv(count, robot, device=str(stage.device), autoreset_mode="SameStep")
            batch.reset(seed=0)
            actions = torch.rand(batch.action_space.shape, device=stage.device) * 0.2
            for _ in range(SETTLE_CALLS):
                batch.step(actions)
            stage.wait()
            ready = round(time.perf_counter() - start, 1)
            if stage.on_gpu:
                torch.cuda.set_sync_debug_mode("error")
            step = stage.microseconds(partial(batch.step, actions))
            if stage.on_gpu:
                torch.cuda.set_sync_debug_mode("default")
            with batch._stream.entered():
                parts = [stage.microseconds(graph) for graph in batch._program._graphs]
            stage.note(
                f"{robot} x {count}",
                {
                    "s to ready": ready,
                    "us a step": step,
                    "us of its stages": parts,
                    "env steps/s": round(count / step * 1e6),
                    "finite": bool(batch._observation.isfinite().all()),
                    "overflown": batch.overflown(),
                },
            )


def accurate(stage: Stage) -> None:
    """Compare single steps of worlds under variations with MuJoCo's, as the tests do on Warp's CPU device."""
    sys.path.insert(0, str(ROOT))
    from tests.worlds.warp.conftest import Beside

    for robot in ROBOTS:
        addresses = [robot, f"{robot}.gravity-1.5"] * (32 if stage.on_gpu else 2)
        apart = Beside(addresses, str(stage.device)).single_steps(20 if stage.on_gpu else 3)
        stage.note(
            f"{robot}: one step",
            {
                "qpos p50": float(np.quantile(apart.position, 0.5)),
                "qpos p99": float(np.quantile(apart.position, 0.99)),
                "qvel p99": float(np.quantile(apart.velocity, 0.99)),
            },
        )


def cohort(stage: Stage) -> None:
    """Time a cohort by its parts: making it, collecting, updating, measuring."""
    algorithm, physics, text = stage.name.split("-")
    members = int(text) if stage.on_gpu else 2
    start = time.perf_counter()
    together = _cohort(stage, algorithm, physics, members)
    together.algorithm.reset()
    stage.note("s to make", round(time.perf_counter() - start, 1))
    if algorithm == "ppo":
        _time_chunks(stage, together, size=together.rollout, count=6)
    else:
        _time_chunks(stage, together, size=16 * together.rollout, count=24)
    for name in ("first", "next")[: 2 if stage.on_gpu else 1]:
        start = time.perf_counter()
        together.measure(lambda: not stage.on_gpu)
        stage.wait()
        stage.note(f"s of the {name} evaluation", round(time.perf_counter() - start, 2))
    together.close()


def _cohort(stage: Stage, algorithm: str, physics: str, members: int) -> Any:
    """Return a cohort of HalfCheetahs of PPO or SAC, one seed a member, which nobody watches."""
    from trl_suite.algorithms.ppo import PPOHyperparameters
    from trl_suite.algorithms.sac import SACHyperparameters
    from trl_suite.training import settings
    from trl_suite.training.cohort.cohort import Cohort
    from trl_suite.training.cohort.member import CohortMember
    from trl_suite.training.policy_import import spaces_of
    from trl_suite.training.training_run import TrainingRun, Unwatched

    own: Any = PPOHyperparameters() if algorithm == "ppo" else SACHyperparameters(learning_starts=32)
    evaluation = settings.Evaluation(episodes=2 if stage.on_gpu else 1)
    runs = [
        TrainingRun(env="half-cheetah", hyperparameters=own, seed=seed, steps=10**5, evaluation=evaluation)
        for seed in range(members)
    ]
    space = spaces_of("half-cheetah")
    return Cohort(
        [CohortMember(index, run, space, Unwatched(), None) for index, run in enumerate(runs)],
        stage.device,
        physics,  # type: ignore[arg-type]
    )


def _time_chunks(stage: Stage, together: Any, *, size: int, count: int) -> None:
    """Note the milliseconds of chunks of `size` steps, and how many of them go into collecting."""
    collecting = _timed(stage, together)
    took: list[float] = []
    for index in range(count if stage.on_gpu else 2):
        collecting.clear()
        start = time.perf_counter()
        together.iterate(index * size, size)
        stage.wait()
        took.append(time.perf_counter() - start)
    chunk = float(np.median(took[-4:]))
    stage.note("ms of the first chunk, with captures", round(took[0] * 1e3))
    stage.note("ms per chunk", round(chunk * 1e3, 1))
    stage.note("of which collecting", round(sum(collecting) * 1e3, 1))
    stage.note("env steps/s without evaluation", round(len(together.members) * size / chunk))


def _timed(stage: Stage, together: Any) -> list[float]:
    """Return where the seconds of every collection, or step of SAC's worlds, will be noted."""
    owner, name = (
        (together.algorithm.collector, "collect")
        if hasattr(together.algorithm, "collector")
        else (together.algorithm, "_act")
    )
    real, seconds = getattr(owner, name), []

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = real(*arguments)
        stage.wait()
        seconds.append(time.perf_counter() - start)
        return result

    setattr(owner, name, timed)
    return seconds


WORK: Mapping[str, Callable[[Stage], None]] = {
    work.__name__: work for work in (facts, correct, speed, tests, worlds, accurate)
}


def run_stage(name: str, device: str, out: Path) -> int:
    """Do one stage in this process; an error is a finding."""
    torch.set_num_threads(1)
    stage = Stage(name=name, device=torch.device(device), path=out / f"{name}.json")
    try:
        WORK.get(name, cohort)(stage)
    except Exception as error:
        stage.note("FAILED", f"{type(error).__name__}: {error}"[:600])
        raise
    return 0


def run_all(names: list[str], device: str, out: Path) -> int:
    """Do stages one after the other, each in a process that is ended at its limit; return how many failed."""
    out.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    for name in names:
        path, start = out / f"{name}.json", time.monotonic()
        path.unlink(missing_ok=True)
        command = [sys.executable, __file__, "--stage", name, "--device", device, "--out", str(out)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        try:
            done = subprocess.run(command, env=environment, timeout=LIMITS_SECONDS[name], check=False)
            ended = "done" if done.returncode == 0 else f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"stopped at its limit of {LIMITS_SECONDS[name]} s"
        findings = json.loads(path.read_text()) if path.is_file() else {}
        findings |= {"ended": ended, "seconds": round(time.monotonic() - start, 1)}
        path.write_text(json.dumps(findings, indent=1) + "\n")
        failed += [name] if ended != "done" or any("FAILED" in key for key in findings) else []
    print(f"{len(names) - len(failed)} of {len(names)} stages done; not: {', '.join(failed) or 'none'}; {out}")
    return len(failed)


def main() -> None:
    """Run stages, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-first")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS_SECONDS), default=list(LIMITS_SECONDS))
    parser.add_argument("--stage", choices=list(LIMITS_SECONDS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --device cpu is a rehearsal")
    if arguments.stage:
        sys.exit(run_stage(arguments.stage, arguments.device, arguments.out))
    sys.exit(1 if run_all(arguments.only, arguments.device, arguments.out) else 0)


if __name__ == "__main__":
    main()

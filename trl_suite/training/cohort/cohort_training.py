"""The training of a whole cohort: all members collect, learn and are measured in step with each other."""

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from trl_suite.errors import InputError
from trl_suite.networks.components import Components
from trl_suite.networks.policy import Policy
from trl_suite.training.acting.evaluation import Episode
from trl_suite.training.cohort import member_snapshot
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.cohort.collecting.cohort_envs import Physics
from trl_suite.training.cohort.learning.cohort_learner import Metrics
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked.net_threads import net_threads
from trl_suite.training.policy_import import trainable_spaces
from trl_suite.training.run_log import of_evaluation
from trl_suite.training.training_run import DivergedError, Result, Snapshot, TrainingOutcome, TrainingRun, Watcher
from trl_suite.worlds.warp.warp_env import no_room

EPISODE_STEPS = 1000  # of an evaluation's longest episode, as the suite's robots have them
LOG_SECONDS = 1.0  # between two lines of a run in TensorBoard: a line costs half a millisecond, an update may cost two
_FRESH = -1  # in place of a step: what has not begun is apart from what goes on from step 0


def train(
    runs: Sequence[TrainingRun],
    watchers: Sequence[Watcher],
    logs: Sequence[Path | None],
    device: torch.device,
    physics: Physics = "mujoco",
    cores: int = 1,
) -> Iterator[tuple[int, Result]]:
    """Yield (which job, its outcome or why it failed) as each is known.

    What a member becomes does not depend on who else is in the cohort: on a CPU to the bit.

    Args:
        runs: all of one signature (see `signature`).
        watchers: one per run; a run that goes on from a snapshot trains with those that do so from the same step.
        logs: folder for each job's TensorBoard event files, or None.
        device: where the learning is done.
        physics: what simulates the worlds: MuJoCo on the CPU's cores, or Warp on the device.
        cores: of the CPU that the cohort has to itself; results are the same for any number.
    """
    places = {env: trainable_spaces(env) for env in dict.fromkeys(run.env for run in runs)}
    by_step: dict[int, list[tuple[CohortMember, Snapshot | None]]] = {}
    for index, (run, watcher, folder) in enumerate(zip(runs, watchers, logs, strict=True)):
        try:
            resumed = watcher.resumed()
            member = CohortMember(index, run, places[run.env], watcher, folder, resumed.step if resumed else 0)
        except Exception as error:  # a method that does not fit is no fault of the others
            yield index, error
        else:
            by_step.setdefault(resumed.step if resumed else _FRESH, []).append((member, resumed))
    with _without_denormals(), full_precision(), net_threads(cores):
        for step, group in sorted(by_step.items()):
            members, resumed = zip(*group, strict=True)
            yield from _together(members, resumed, max(step, 0), device, physics, cores)


def _together(
    members: Sequence[CohortMember],
    snapshots: Sequence[Snapshot | None],
    step: int,
    device: torch.device,
    physics: Physics,
    cores: int,
) -> Iterator[tuple[int, Result]]:
    """Yield the result of every member; what stops the whole cohort is told of each that was still at work."""
    left = {member.index for member in members}
    try:
        with closing(Cohort(members, device, physics, cores)) as cohort:
            for index, result in _CohortLoop(cohort, snapshots, step).run():
                left.discard(index)
                yield index, result
    except Exception as error:
        yield from ((index, error) for index in sorted(left))


class _CohortLoop:
    """A cohort's way from a step to its end."""

    def __init__(self, cohort: Cohort, snapshots: Sequence[Snapshot | None], step: int) -> None:
        self._cohort, self._run = cohort, cohort.members[0].run
        self._step = step
        measured = snapshots[0].facts["measured"] if snapshots[0] else 0
        self._grid = deque(self._run.head_start + point for point in self._run.grid()[measured:])
        self._started, self._first = time.monotonic(), step
        self._logged = -math.inf  # when
        self._measuring: list[int] = []  # points of the grid that are being measured
        self._episodes: list[list[Episode]] | None = None  # what came of it, where that is known at once
        self._lost: list[tuple[int, Exception]] = []  # members whose watcher could take no more, and why
        self._fresh = snapshots[0] is None
        for index, resumed in enumerate(snapshots):
            if resumed is not None:
                member_snapshot.put(cohort, index, resumed)

    def run(self) -> Iterator[tuple[int, Result]]:
        """Yield each member's result."""
        rollout = self._cohort.rollout
        if self._fresh:
            if not self._measure(self._step):  # before the first observation changes any statistics
                yield from self._left()
                return
            self._cohort.algorithm.reset()
        while self._step + rollout <= self._run.total and self._cohort.alive.any():
            self._cohort.release(self._step)
            if not self._measure(self._step + rollout - 1) or self._stopping():
                yield from self._interrupted()
                return
            self._keep()
            yield from self._gone()
            size = self._cohort.chunk(self._step, min(self._grid[0], self._run.total))
            report = self._cohort.iterate(self._step, size)
            self._step += size
            self._drop_overflown()
            yield from self._diverged()
            self._each(lambda _, member: member.watcher.advanced(self._step))
            self._log(report)
        if not self._measure(self._run.total) or not self._tell_measured():
            yield from self._interrupted()
            return
        yield from self._gone()
        for index, member in self._alive():
            yield member.index, self._outcome(index, finished=True)

    def _each(self, act: Callable[[int, CohortMember], None]) -> None:
        """Do something for every member; one whose watcher fails is lost, and the others go on.

        Another process may have taken its run over.
        """
        for index, member in self._alive():
            try:
                act(index, member)
            except Exception as error:
                self._lost.append((member.index, error))
                self._cohort.drop([index])

    def _gone(self) -> Iterator[tuple[int, Result]]:
        """Yield the members that were lost since this was last asked."""
        while self._lost:
            yield self._lost.pop(0)

    def _alive(self) -> list[tuple[int, CohortMember]]:
        cohort = self._cohort
        return [(index, member) for index, member in enumerate(cohort.members) if cohort.alive[index]]

    def _stopping(self) -> bool:
        wishes: list[bool] = []
        self._each(lambda _, member: wishes.append(member.watcher.stopping()))
        return any(wishes)

    def _measure(self, until: int) -> bool:
        """Measure at every point of the grid up to `until`: the same policy holds at all; False where stopped."""
        due = [point for point in self._grid if point <= until]
        if not due or not self._cohort.alive.any():
            return True
        if not self._tell_measured():
            return False
        self._measuring = due
        if self._cohort.measures_beside:
            self._cohort.begin_measuring(self._pace())
        else:
            self._episodes = self._cohort.measure(self._stopping)
            if not self._tell_measured():
                return False
        for _ in due:
            self._grid.popleft()
        return True

    def _pace(self) -> int:
        """Return how many steps of an evaluation go with each of the training, so that it is over by the next one."""
        rollouts = max(self._run.evaluation.every // self._cohort.rollout, 1)
        steps = self._cohort.rollout // self._cohort.hyperparameters.n_envs
        return -(-EPISODE_STEPS // (rollouts * steps))

    def _tell_measured(self) -> bool:
        """Tell of the evaluation that was begun, which is waited for; False where it was stopped."""
        due, self._measuring = self._measuring, []
        if not due:
            return True
        episodes = self._cohort.finish_measuring(lambda: False) if self._cohort.measures_beside else self._episodes
        if episodes is None:
            return False
        self._drop_overflown()
        for point in due:
            self._each(lambda index, member, at=point: self._show(index, member, at, episodes[index]))
        return True

    def _show(self, index: int, member: CohortMember, point: int, episodes: list[Episode]) -> None:
        """Tell a member's watcher and TensorBoard of an evaluation."""
        member.last = [episode for episode in episodes if episode.mode == "deterministic"]
        step = point - self._run.head_start
        member.watcher.evaluated(step, episodes)
        member.watcher.acted(step, lambda: member.policy(self._cohort.components(index), self._step, {}, {}))
        for name, value in of_evaluation(episodes).items():
            member.logger.record(name, value)
        member.logger.dump(point)

    def _keep(self) -> None:
        """Give all members snapshots if one is due, for those of one step can go on as one cohort."""
        if any(member.watcher.due() for _, member in self._alive()):
            self._tell_measured()
            self._keep_all()

    def _keep_all(self) -> None:
        """Give every member a snapshot; what lies in stacks is read from the device once for all of them."""
        reader = member_snapshot.CohortReader(self._cohort)
        self._each(lambda index, member: member.watcher.keep(self._snapshot(reader, index)))

    def _snapshot(self, reader: member_snapshot.CohortReader, index: int) -> Snapshot:
        return reader.take(index, self._step, len(self._run.grid()) - len(self._grid))

    def _interrupted(self) -> Iterator[tuple[int, Result]]:
        self._tell_measured()
        self._keep_all()
        yield from self._left()

    def _left(self) -> Iterator[tuple[int, Result]]:
        """Yield every member as it is, unfinished."""
        yield from self._gone()
        for index, member in self._alive():
            yield member.index, self._outcome(index, finished=False)

    def _diverged(self) -> Iterator[tuple[int, Result]]:
        for index in self._cohort.diverged():
            broken = [
                name
                for name, tensors in self._cohort.components(index).items()
                if not all(bool(torch.isfinite(value).all()) for value in tensors.values())
            ]
            error = DivergedError(f"{', '.join(broken)} not finite after {self._step} steps")
            yield self._cohort.members[index].index, error

    def _drop_overflown(self) -> None:
        """Lose the members whose physics was wrong: they have failed, and the others go on."""
        worlds = self._cohort.hyperparameters.n_envs + self._run.evaluation.episodes
        for index, count in self._cohort.overflown().items():
            member = self._cohort.members[index]
            self._lost.append((member.index, InputError(f"{member.run.env}: {no_room(count, worlds)}")))

    def _log(self, metrics: Metrics) -> None:
        """Write the last update into every member's TensorBoard file; not more often than anybody can read it."""
        over = self._step + self._cohort.rollout > self._run.total
        if time.monotonic() - self._logged < LOG_SECONDS and not over:
            return
        self._logged = time.monotonic()
        self._each(lambda index, member: self._log_member(index, member, metrics))

    def _log_member(self, index: int, member: CohortMember, metrics: Metrics) -> None:
        if ended := self._cohort.algorithm.episodes.mean(index):
            member.logger.record("rollout/ep_rew_mean", ended[0])
            member.logger.record("rollout/ep_len_mean", ended[1])
        member.logger.record("time/fps", (self._step - self._first) / (time.monotonic() - self._started))
        for name, values in metrics.items():
            member.logger.record(name, float(values[index]))
        member.logger.dump(self._step)

    def _policy(self, index: int, components: Components, finished: bool) -> Policy:
        member = self._cohort.members[index]
        if not finished:
            return member.policy(components, self._step, {}, {})
        return member.policy(components, self._step, self._cohort.kept(index), self._cohort.hands_on(index))

    def _outcome(self, index: int, finished: bool) -> Result:
        """Return the outcome of a member, or the error that its freeze was broken."""
        member, components = self._cohort.members[index], self._cohort.components(index)
        try:
            return TrainingOutcome(
                policy=self._policy(index, components, finished),
                transplant=member.record,
                freeze=self._cohort.proof(index, components),
                steps=self._step,
                unstable_episodes=int(self._cohort.algorithm.episodes.unstable[index]),
                ranges=self._cohort.worlds.ranges(index),
                finished=finished,
            )
        except RuntimeError as error:
            return error


@contextmanager
def full_precision() -> Generator[None]:
    """Compute products in float32: TensorFloat-32 keeps ten bits of a number, and is on in some images of NVIDIA's."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _without_denormals() -> Generator[None]:
    """Round numbers below the normal range to zero: in Adam's moments they make a step twenty times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)

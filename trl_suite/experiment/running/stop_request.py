"""The wish to stop, as signals bring it: a handler only takes note, and the training comes to an end by itself."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

# Ctrl-C, `kill`, a closed terminal, and what Slurm and other schedulers send before they take a machine away
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
]


class Stop:
    """While it is entered, the first signal sets `wanted`; the second Ctrl-C raises KeyboardInterrupt as usual.

    Args:
        ignore: signals that do not reach this process: a worker leaves Ctrl-C to the process that started it.
    """

    def __init__(self, *, ignore: tuple[signal.Signals, ...] = ()) -> None:
        self.by: signal.Signals | None = None
        self._ignored = ignore
        self._former: dict[signal.Signals, Any] = {}

    @property
    def wanted(self) -> bool:
        """Whether somebody wants this process to stop."""
        return self.by is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python takes signals there alone
            for number in SIGNALS:
                handler = signal.SIG_IGN if number in self._ignored else self._on_signal
                self._former[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.by = self.by or signal.Signals(number)


@contextmanager
def interrupts_kept() -> Generator[None]:
    """Raise KeyboardInterrupt at the end where what runs meanwhile has swallowed it.

    An import does so: Python ignores what is raised in its callbacks, and some packages catch all that is raised.

    Raises:
        KeyboardInterrupt: at once by Ctrl-C, and once more at the end where nobody has heard of it.
    """
    if threading.current_thread() is not threading.main_thread():  # Python takes signals there alone
        yield
        return
    interrupted = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if interrupted:
        raise KeyboardInterrupt

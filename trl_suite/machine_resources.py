"""Memory and cores that this process may use, and limits for a child; on Linux, macOS and Windows."""

import contextlib
import os
from pathlib import Path

import psutil

_CGROUP_FILES = (  # what a container may use and uses, in the two versions of Linux's control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def cores() -> int:
    """Number of cores that this process may use; all of the machine's where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def idle_cores() -> int:
    """Number of cores that nothing else has used over the last minute; at least 1, and all where no load is known."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores() - round(load))


def available_bytes() -> int:
    """Bytes that this process and its children may still take: of the machine, and of its container."""
    limits = [int(psutil.virtual_memory().available)]
    for limit, usage in _CGROUP_FILES:
        most, used = _number(limit), _number(usage)
        if most is not None and used is not None:
            limits.append(max(most - used, 0))
    return min(limits)


def limit_process(memory_bytes: int, cpu_seconds: int) -> None:
    """Limit this process's memory and time, as far as the system can: Windows has no limits, macOS none of memory."""
    try:
        import resource
    except ImportError:
        return
    for limit, value in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_seconds)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


def is_running(pid: int) -> bool:
    """Return whether there is a process of this number; asked without a signal, which Windows would take for Ctrl-C."""
    return psutil.pid_exists(pid)


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None

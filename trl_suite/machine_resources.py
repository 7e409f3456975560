"""Memory and cores that this process may use, and limits for a child; on Linux, macOS and Windows."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_CGROUP_FILES = (  # what a container may use and uses, in the two versions of Linux's control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)

_SYNCHRONIZE, _STILL_RUNNING = 0x00100000, 0x102  # Windows: SYNCHRONIZE, and WAIT_TIMEOUT of a wait for the end


def cores() -> int:
    """Number of cores that this process may use; all of the machine's where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int:
    """Bytes that this process and its children may still take: of the machine, and of its container."""
    limits = [_available_of_machine()]
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
    """Return whether there is a process of this number; on Windows no signal asks, 0 would interrupt it."""
    if sys.platform == "win32":
        return _runs_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _runs_on_windows(pid: int) -> bool:
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  only Windows' ctypes has it
    handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
    if not handle:
        return False
    try:
        return kernel.WaitForSingleObject(handle, 0) == _STILL_RUNNING
    finally:
        kernel.CloseHandle(handle)


def _available_of_machine() -> int:
    info = Path("/proc/meminfo")
    if info.is_file():  # what caches hold can be had as well
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            return int(lines["MemAvailable"].split()[0]) * 1024
    if sys.platform == "win32":
        return _available_on_windows()
    names = getattr(os, "sysconf_names", {})
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in names else "SC_PHYS_PAGES"  # macOS says only how many there are
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf(pages)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "available", "pages", "free_pages", "virtual", "free", "rest")),
    )


def _available_on_windows() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  only Windows' ctypes has it
    kernel.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available)


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None

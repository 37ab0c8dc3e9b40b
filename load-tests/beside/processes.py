"""Processes that are started, measured by /proc, and ended again."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """What a person is told, without a traceback."""


def end_with_parent():
    """Has the kernel end a child when this program is killed outright."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Program:
    """A child process that never outlives the `with` block it is used in."""

    def __init__(self, name, command, log, patience):
        self.name = name
        self.log = log
        self.patience = patience
        # What is measured is what the command line says, not this shell's environment.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ASSENT_", "ROTEL_"))}
        with open(log, "wb") as out:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                # Ctrl-C is for this program, which then ends the others in order.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    @property
    def pid(self):
        return self.child.pid

    def check_runs(self):
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended by itself ({self.child.returncode}); it says:\n{self.tail()}")

    def tail(self):
        return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-15:])

    def wait_until(self, what, ready, seconds):
        """Waits for something that this process is to bring about."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check_runs()
            if time.monotonic() > deadline:
                raise Failed(f"{what} took longer than {seconds} s; {self.name} says:\n{self.tail()}")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is not None:
            return
        self.child.terminate()
        try:
            self.child.wait(self.patience)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


@dataclass
class Usage:
    """What a process, or several, have used since they began."""

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0

    def __add__(self, other):
        return Usage(self.cpu_seconds + other.cpu_seconds, self.peak_memory_bytes + other.peak_memory_bytes)


def stat(pid):
    """The fields of /proc/PID/stat from the third on; the second may hold anything, parentheses too."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def usage(pids):
    """User and system time, without that of children, and the most that was resident."""
    total = Usage()
    for pid in pids:
        fields = stat(pid)
        # Numbers 14 and 15 of proc(5).
        ticks = int(fields[11]) + int(fields[12])
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        total += Usage(ticks / TICKS_PER_SECOND, int(status["VmHWM"].split()[0]) * 1024)
    return total


def descendants(pid):
    """The children of a process, and theirs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(stat(entry.name)[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [pid]
    for parent in found:
        found.extend(child for child, its_parent in parents.items() if its_parent == parent)
    return found[1:]


def machine(folder):
    """What machine it was, without which no figure means anything: the keys of the other results."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    filesystem = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "system": f"linux {os.uname().release}",
        "processor": models[0] if models else os.uname().machine,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_before": os.getloadavg()[0],
        "filesystem": filesystem.stdout.strip(),
    }

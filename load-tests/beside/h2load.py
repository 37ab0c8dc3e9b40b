"""Runs h2load, and reads what it prints."""

import os
import re
import subprocess
import time

from processes import Failed, end_with_parent

PATIENCE_SECONDS = 300
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def post(url, bodies, requests, streams, headers, folder):
    """Posts each body many times, over a connection of its own, the next request when one of `streams` is answered."""
    share, rest = divmod(requests, len(bodies))
    counts = [share + (number < rest) for number in range(len(bodies))]
    started = time.monotonic()
    clients = []
    try:
        for number, (body, count) in enumerate(zip(bodies, counts)):
            clients.append(Client(url, body, count, streams, headers, folder / f"h2load-{number}.log"))
        for client in clients:
            client.wait(started + PATIENCE_SECONDS)
    except BaseException:
        for client in clients:
            client.kill()
        raise
    seconds = time.monotonic() - started
    figures = [client.read() for client in clients]
    means = [figure["mean"] * count for figure, count in zip(figures, counts)]
    return {
        "requests": requests,
        "connections": len(bodies),
        "streams": streams,
        "seconds": seconds,
        "requests_per_second": requests / seconds,
        "request_ms": {"mean": sum(means) / requests, "max": max(figure["max"] for figure in figures)},
        "cpu_seconds": sum(client.cpu_seconds for client in clients),
    }


class Client:
    """One h2load, which sends one body: it can send no others."""

    def __init__(self, url, body, requests, streams, headers, log):
        command = ["h2load", "-n", str(requests), "-c", "1", "-m", str(min(streams, requests)), "-d", body]
        for name, value in {"content-type": "application/grpc", "te": "trailers", **headers}.items():
            command += ["-H", f"{name}: {value}"]
        self.requests = requests
        self.log = log
        with open(log, "wb") as out:
            self.child = subprocess.Popen(
                [*command, url], stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=end_with_parent
            )

    def wait(self, deadline):
        """Waits for its end, and notes what processor time it took: afterwards, /proc has forgotten it."""
        while True:
            pid, status, used = os.wait4(self.child.pid, os.WNOHANG)
            if pid:
                self.child.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_seconds = used.ru_utime + used.ru_stime
                return
            if time.monotonic() > deadline:
                raise Failed(f"h2load was not done after {PATIENCE_SECONDS} s")
            time.sleep(0.01)

    def kill(self):
        if self.child.returncode is None:
            self.child.kill()
            self.child.wait()

    def read(self):
        return read(self.log.read_text(errors="replace"), self.requests)


def read(text, requests):
    """The figures in h2load's words; an error when not every request got an answer of HTTP status 2xx."""

    def find(pattern):
        found = re.search(pattern, text, re.MULTILINE)
        if not found:
            raise Failed(f"h2load says something else than expected:\n{text}")
        return found.groups()

    def milliseconds(figure):
        number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", figure).groups()
        return float(number) * MILLISECONDS[unit]

    (succeeded,) = find(r"^requests: .* (\d+) succeeded")
    (successes,) = find(r"^status codes: (\d+) 2xx")
    # Versions differ in what they print between these columns.
    columns, figures = find(r"^\s+(min\s.*)\n(?:.*\n)*?time for request:\s+(.*)")
    slowest, mean = (figures.split()[columns.split().index(name)] for name in ("max", "mean"))
    if int(succeeded) != requests or int(successes) != requests:
        raise Failed(f"not every request was answered:\n{text}")
    return {"mean": milliseconds(mean), "max": milliseconds(slowest)}

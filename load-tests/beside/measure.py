"""Posts the same recorded events to assent and to rotel, and says what each made of them.

One after the other, on one machine, each with a fresh ClickHouse of the same kind. Started by `run`, which gets the
programs; docs/load-tests.md says what the figures mean.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h2load
from processes import Failed, machine, usage
from sides import Assent, Rotel

EVENTS_PER_REQUEST = 500
# Requests under way at once.
IN_FLIGHT = 32
# Between two looks at how many rows can be read.
LOOK_SECONDS = 0.1
# Rotel tries again after 5 s at first, and after 30 s at most.
STALL_SECONDS = 60
# How long a row may come late that should not be there.
SETTLE_SECONDS = 3
# Of what was tried, what served it best (docs/load-tests.md).
ROTEL_TUNED = "--clickhouse-exporter-compression none"


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="load-tests/beside/run", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=4000, metavar="N", help="of 500 events each [4000]")
    parser.add_argument(
        "--clients",
        type=int,
        default=16,
        choices=[1, 2, 4, 8, 16, 32],
        help="h2loads beside each other, each with events of its own; 32 requests are under way in all [%(default)s]",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="gets the results as beside-rotel.json")
    parser.add_argument(
        "--rotel-tuned",
        default=ROTEL_TUNED,
        metavar="OPTIONS",
        help="rotel's options in its second try [%(default)s]",
    )
    parser.add_argument(
        "--no-filters", action="store_true", help="rotel's table without its indexes, which ClickHouse has to build"
    )
    parser.add_argument(
        "--only", choices=["assent", "rotel", "tuned"], action="append", help="not all three; may be repeated"
    )
    for name in ("assent", "load-tests", "rotel", "scenario"):
        parser.add_argument(f"--{name}", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.clients <= args.requests <= 100_000:
        parser.error("--requests is at least --clients, and 100000 at most")
    return args


def record(args, folder):
    """The same events twice, other ones for each client: as assent takes them, and as log records of OpenTelemetry."""
    scenario = Path(args.scenario).read_text()
    args.assent_bodies, args.otlp_bodies = [], []
    for seed in range(1, args.clients + 1):
        seeded, assent, otlp = (folder / f"{seed}.{kind}" for kind in ("toml", "assent", "otlp"))
        seeded.write_text(f"seed = {seed}\n{scenario}")
        command = [args.load_tests, "record", seeded, "--events", str(EVENTS_PER_REQUEST)]
        command += ["--out", assent, "--otlp", otlp]
        recorded = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if recorded.returncode:
            raise Failed(f"a request could not be recorded: {recorded.stderr}")
        args.assent_bodies.append(assent)
        args.otlp_bodies.append(otlp)


def wait_for(side, rows, started):
    """Waits until so many rows can be read; the seconds from `started` until then."""
    seen, grew = -1, time.monotonic()
    while True:
        now_seen = side.rows()
        now = time.monotonic()
        if now_seen >= rows:
            return now - started
        if now_seen > seen:
            seen, grew = now_seen, now
        elif now - grew > STALL_SECONDS:
            raise Failed(
                f"{rows} rows were to be in {side.table}, and for {STALL_SECONDS} s there were {seen} "
                f"(counted: {side.counted()}); {side.collector.name} says:\n{side.collector.tail()}"
            )
        side.collector.check_runs()
        time.sleep(LOOK_SECONDS)


def measure(side, args, folder):
    """Posts one request to see that all is well, and then all of them."""
    requests = args.requests
    # Both tables keep what is inserted as it is: assent's would make one row of those that have one id, which a
    # recorded request has in every copy, and its merges would have next to nothing to write.
    side.query(f"SYSTEM STOP MERGES {side.table}")

    def post(bodies, count):
        return h2load.post(side.url, bodies, count, IN_FLIGHT // args.clients, side.headers, folder)

    post(side.bodies[:1], 1)
    wait_for(side, EVENTS_PER_REQUEST, time.monotonic())

    sent = requests * EVENTS_PER_REQUEST
    expected = EVENTS_PER_REQUEST + sent
    collector, clickhouse = [side.collector.pid], side.clickhouse
    before = usage(collector), usage(clickhouse)
    started = time.monotonic()
    client = post(side.bodies, requests)
    seconds = wait_for(side, expected, started)
    after = usage(collector), usage(clickhouse)

    time.sleep(SETTLE_SECONDS)
    rows = side.rows()
    if rows != expected:
        raise Failed(f"{rows} rows are in {side.table}, where {expected} were to be")
    side.check(expected)
    per_million = 1e6 / sent
    cpu = [(late.cpu_seconds - early.cpu_seconds) * per_million for late, early in zip(after, before)]
    return {
        "wire_bytes_per_event": sum(body.stat().st_size for body in side.bodies)
        / (len(side.bodies) * EVENTS_PER_REQUEST),
        "events": sent,
        "client": client,
        "acknowledged_per_second": sent / client["seconds"],
        "seconds_to_visible": seconds,
        "rows_per_second": sent / seconds,
        "cpu_seconds_per_million": {
            "collector": cpu[0],
            "clickhouse": cpu[1],
            "h2load": client["cpu_seconds"] * per_million,
        },
        "peak_memory_bytes": {
            "collector": after[0].peak_memory_bytes,
            "clickhouse": after[1].peak_memory_bytes,
        },
        "parts": int(
            side.query(
                "SELECT count() FROM system.parts WHERE active AND "
                f"concat(database, '.', table) = '{side.table}'"
            )
        ),
    }


def version(program):
    """What a program says it is."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def run(args, work):
    """Each in turn; the results in the form in which they are written."""
    record(args, work)
    tuned = shlex.split(args.rotel_tuned)
    makers = {
        "assent": lambda folder: Assent(folder, args),
        "rotel": lambda folder: Rotel(folder, args, []),
        "rotel, tuned": lambda folder: Rotel(folder, args, tuned),
    }
    if args.only:
        makers = {name: make for name, make in makers.items() if name.split()[-1] in args.only}
    measured = {}
    for name, make in makers.items():
        say(f"{name}: {args.requests} requests of {EVENTS_PER_REQUEST} events")
        with tempfile.TemporaryDirectory(dir=work) as folder, make(folder) as side:
            measured[name] = measure(side, args, Path(folder))
            clickhouse = side.query("SELECT version()")
    return {
        "finished_at": int(time.time()),
        "versions": {
            "assent": version(args.assent),
            "rotel": version(args.rotel),
            "h2load": version("h2load"),
            "clickhouse": clickhouse,
        },
        "rotel_tuned": args.rotel_tuned,
        "rotel_filters": not args.no_filters,
        "measured": measured,
    }


ROWS = [
    ("wire bytes/event", lambda it: f"{it['wire_bytes_per_event']:.0f}"),
    ("requests/s", lambda it: f"{it['client']['requests_per_second']:.0f}"),
    ("acknowledged events/s", lambda it: f"{it['acknowledged_per_second']:,.0f}"),
    ("request mean / max, ms", lambda it: "{mean:.1f} / {max:.0f}".format(**it["client"]["request_ms"])),
    ("rows/s until visible", lambda it: f"{it['rows_per_second']:,.0f}"),
    ("CPU s/million, collector", lambda it: f"{it['cpu_seconds_per_million']['collector']:.2f}"),
    ("CPU s/million, ClickHouse", lambda it: f"{it['cpu_seconds_per_million']['clickhouse']:.2f}"),
    ("CPU s/million, h2load", lambda it: f"{it['cpu_seconds_per_million']['h2load']:.2f}"),
    ("peak MiB, collector", lambda it: f"{it['peak_memory_bytes']['collector'] / 2**20:.0f}"),
    ("peak MiB, ClickHouse", lambda it: f"{it['peak_memory_bytes']['clickhouse'] / 2**20:.0f}"),
    ("parts", lambda it: f"{it['parts']}"),
]


def table(measured):
    """Side by side, for people."""
    lines = [["", *measured]] + [[label, *(show(it) for it in measured.values())] for label, show in ROWS]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))])
        for line in lines
    )


def main():
    args = arguments()
    # As for Ctrl-C: all that was started is ended on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        # Beside the collector is a disk, as a rule; the folder for temporary files often lies in memory.
        with tempfile.TemporaryDirectory(prefix="beside-", dir=Path(args.assent).resolve().parent) as work:
            where = machine(work)
            results = {"machine": where, **run(args, Path(work))}
    except Failed as failed:
        sys.exit(f"beside: {failed}")
    except KeyboardInterrupt:
        sys.exit("beside: stopped")
    print(table(results["measured"]))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "beside-rotel.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

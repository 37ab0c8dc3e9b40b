"""The two that are compared, each with a ClickHouse of its own that starts empty."""

import hashlib
import json
import re
import secrets
import socket
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from processes import Failed, Program, descendants, free_port

# The first start downloads ClickHouse's engine, some 150 MB.
START_SECONDS = 300
# The collector drains for ten seconds at most, and its ClickHouse ends within a few more.
STOP_SECONDS = 45

# What rotel's `clickhouse-ddl create --logs` makes, without a TTL, for the release on PyPI.
OTEL_LOGS = """
CREATE TABLE otel.otel_logs
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TimestampTime DateTime DEFAULT toDateTime(Timestamp),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    TraceFlags UInt8,
    SeverityText LowCardinality(String) CODEC(ZSTD(1)),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Body String CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    LogAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_scope_attr_key mapKeys(ScopeAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_scope_attr_value mapValues(ScopeAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_key mapKeys(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_value mapValues(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_body Body TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8
)
ENGINE = MergeTree
PARTITION BY toDate(TimestampTime)
PRIMARY KEY (ServiceName, TimestampTime)
ORDER BY (ServiceName, TimestampTime, Timestamp)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1
"""


def get(url, body=None):
    """What an HTTP server on loopback says."""
    try:
        with urllib.request.urlopen(url, body, timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise Failed(f"{url} says {error.code}: {error.read().decode(errors='replace')[:500]}") from error


class Side:
    """What has taken part in a run: a collector, and the table that it writes."""

    table = ""
    collector = None
    url = ""
    headers = {}

    def __init__(self, folder):
        self.folder = Path(folder)
        self.exit = ExitStack()

    def start_assent(self, binary):
        """`assent dev`: a collector and a ClickHouse, as the other load tests have them."""
        self.key = secrets.token_hex(16)
        config = self.folder / "assent.toml"
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        config.write_text(f'[[tenants]]\nname = "beside"\napi_key_sha256 = ["{digest}"]\n')
        data_dir = self.folder / "data"
        command = [binary, "dev", "--data-dir", data_dir, "--config", config]
        command += ["--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]
        command += ["--clickhouse-http-port", "0", "--clickhouse-tcp-port", "0"]
        assent = Program("assent", command, self.folder / "assent.log", STOP_SECONDS)
        self.exit.enter_context(assent)
        endpoints = data_dir / "endpoints.json"

        def ready():
            try:
                self.endpoints = json.loads(endpoints.read_text())
                get(f"http://{self.endpoints['admin']}/readyz")
            except (FileNotFoundError, json.JSONDecodeError, Failed, OSError):
                return False
            return True

        assent.wait_until("the start of assent", ready, START_SECONDS)
        self.clickhouse = descendants(assent.pid)
        return assent

    def query(self, sql):
        """An answer of ClickHouse."""
        return get(f"http://{self.endpoints['clickhouse_http']}/", sql.encode()).strip()

    def rows(self):
        """How many rows can be read."""
        return int(self.query(f"SELECT count() FROM {self.table}"))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return self.exit.__exit__(*exception)


class Assent(Side):
    """assent: its acknowledgement means that the events are fsynced."""

    table = "assent.events"

    def __init__(self, folder, args):
        super().__init__(folder)
        with self.exit as stack:
            self.collector = self.start_assent(args.assent)
            self.exit = stack.pop_all()
        self.url = f"http://{self.endpoints['grpc']}/assent.v1.CollectorService/Collect"
        self.headers = {"x-api-key": self.key}
        self.bodies = args.assent_bodies

    def counted(self):
        """What the collector itself says became of events."""
        text = get(f"http://{self.endpoints['admin']}/metrics")

        def total(name):
            values = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
            return int(sum(float(value) for value in values))

        return {
            "acknowledged_events": total("assent_events_acknowledged_total"),
            "rejected_events": total("assent_events_rejected_total"),
            "refused_requests": total("assent_requests_refused_total"),
            "delivered_rows": total("assent_rows_delivered_total"),
        }

    def check(self, sent):
        """That every event was taken."""
        counted = self.counted()
        wanted = {
            "acknowledged_events": sent,
            "rejected_events": 0,
            "refused_requests": 0,
            "delivered_rows": sent,
        }
        if counted != wanted:
            raise Failed(f"assent counted {counted}, where {wanted} was to be")


class Rotel(Side):
    """rotel: it acknowledges what lies in its memory. The collector that comes with ClickHouse is idle."""

    table = "otel.otel_logs"

    def __init__(self, folder, args, options):
        super().__init__(folder)
        with self.exit as stack:
            self.start_assent(args.assent)
            self.query("CREATE DATABASE otel")
            self.query(OTEL_LOGS)
            if args.no_filters:
                self.drop_filters()
            self.collector = self.start_rotel(args.rotel, options)
            self.exit = stack.pop_all()
        self.bodies = args.otlp_bodies

    def drop_filters(self):
        for name in self.query("SELECT name FROM system.data_skipping_indices WHERE database = 'otel'").split():
            self.query(f"ALTER TABLE {self.table} DROP INDEX {name}")

    def start_rotel(self, binary, options):
        grpc, http = free_port(), free_port()
        command = [binary, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
        command += ["--otlp-http-endpoint", f"127.0.0.1:{http}"]
        command += ["--otlp-receiver-traces-disabled", "--otlp-receiver-metrics-disabled"]
        command += ["--exporter", "clickhouse"]
        command += ["--clickhouse-exporter-endpoint", f"http://{self.endpoints['clickhouse_http']}"]
        # Where it writes although it is no daemon.
        command += ["--pid-file", self.folder / "rotel.pid", "--log-file", self.folder / "rotel-daemon.log"]
        rotel = Program("rotel", [*command, *options], self.folder / "rotel.log", STOP_SECONDS)
        self.exit.enter_context(rotel)

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", grpc)) == 0

        rotel.wait_until("the start of rotel", listens, 30)
        self.url = f"http://127.0.0.1:{grpc}/opentelemetry.proto.collector.logs.v1.LogsService/Export"
        return rotel

    def counted(self):
        """It keeps no count that could be asked for."""
        return {}

    def check(self, sent):
        """The rows have to do."""

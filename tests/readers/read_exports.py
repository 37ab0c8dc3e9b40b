"""Reads datasets of `assent export` with what people read Parquet with, and holds that against the manifest.

    read_exports.py PROGRAM FOLDER [LIBRARY…]

Starts `PROGRAM dev` in FOLDER, fills it, exports, withdraws, refreshes; LIBRARY is any of pyarrow, duckdb, pandas, polars
and datasets, and all of them must be installed. Fails at the first thing that is not as it should be.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

PROGRAM, FOLDER = (pathlib.Path(path).absolute() for path in sys.argv[1:3])
LIBRARIES = sys.argv[3:]
SET = FOLDER / "set"
DAYS = ["--from", "2026-03-01", "--to", "2026-03-03"]
SUBJECT = "toUUID(concat('00000000-0000-4000-8000-', leftPad(toString({}), 12, '0')))"


def main():
    assert LIBRARIES, "name the libraries to read with"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSENT_")}
    # Nothing is asked of the hub, and nothing is left behind outside the folder.
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(FOLDER / "hf"), "HF_DATASETS_CACHE": str(FOLDER / "hf")}
    os.environ.clear()
    os.environ.update(environment)
    ports = ["--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--clickhouse-http-port", "0",
             "--clickhouse-tcp-port", "0"]
    data = FOLDER / "data"
    with open(FOLDER / "dev.log", "w") as log:
        dev = subprocess.Popen([PROGRAM, "dev", "--data-dir", data, *ports], stdout=log, stderr=log)
    try:
        run(endpoint(dev, data / "endpoints.json"))
    finally:
        dev.terminate()
        dev.wait()
    print("read with", ", ".join(LIBRARIES))


def endpoint(dev, file):
    for _ in range(1200):
        assert dev.poll() is None, (FOLDER / "dev.log").read_text()
        if file.exists():
            return "http://" + json.loads(file.read_text())["clickhouse_http"]
        time.sleep(0.1)
    raise SystemExit("ClickHouse did not come up")


def run(url):
    def sql(text):
        with urllib.request.urlopen(f"{url}/?database=assent", text.encode()) as answer:
            return answer.read().decode()

    def export(*words, code=0):
        command = [PROGRAM, "export", *words, "--clickhouse-url", url, "--clickhouse-user", "ml_first_party"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    record = ["--recorder-user", "exporter", "--max-shard-bytes", "256KiB"]
    # The collector records its rules soon after it has come up.
    while not (rules := sql("SELECT version FROM redaction_rules LIMIT 1").strip()):
        time.sleep(0.1)
    sql(f"""INSERT INTO events (training_scope, eligibility_reason, consent_state, consent_source, consent_version,
            policy_version, policy_digest, jurisdiction, received_at, occurred_at, sealed_at, tenant, subject_id,
            event_id, session_id, feature, event_type, language, text, latency_ms, rating, redactions, redaction_version)
        SELECT 'first_party', 'granted', 'granted', 'user_setting', 1, 'terms-1', 'digest-1', 'DE',
            toDateTime64('2026-03-01 12:00:00.123456', 6, 'UTC') + toIntervalDay(number % 3) AS at, at, at, 'local',
            {SUBJECT.format("number % 50")}, generateUUIDv7(number), 's', ['compose', 'reply'][number % 2 + 1],
            'typed_text', ['en', 'de', 'no'][number % 3 + 1], concat('naïve „日本“ 🙂 ', randomPrintableASCII(300)),
            number, toInt8(number % 3) - 1, map('EMAIL', toUInt16(number % 3)), '{rules}' FROM numbers(4000)""")

    export("--scope", "first-party", *DAYS, "--out", SET, *record)
    check(4000)
    export("verify", SET)

    sql(f"""INSERT INTO consent_changes (tenant, subject_id, scope, state, source, consent_version)
        SELECT 'local', {SUBJECT.format(7)}, 'first_party', 'denied', 'user_setting', 2""")
    export("verify", SET, code=3)
    withdrawn = SET / "withdrawn.parquet"
    for library in LIBRARIES:
        rows = READERS[library]([withdrawn])
        assert len(rows) == 80, (library, len(rows))
        assert {row["status"] for row in rows} == {"not_allowed"}, library
    export("refresh", SET, *record)
    check(3920)
    export("verify", SET)
    assert not withdrawn.exists()


def check(expected):
    manifest = json.loads((SET / "manifest.json").read_text())
    shards = [SET / shard["file"] for shard in manifest["shards"]]
    assert manifest["rows"] == expected and len(shards) > 2, (manifest["rows"], len(shards))
    assert all(shard["bytes"] <= 256 << 10 for shard in manifest["shards"])
    columns = {column["name"] for column in manifest["schema"]}
    for library in LIBRARIES:
        rows = READERS[library](shards)
        assert len(rows) == expected, (library, len(rows))
        assert set(rows[0]) == columns, (library, set(rows[0]) ^ columns)
        assert len({row["event_id"] for row in rows}) == expected, library
        for column in ["language", "feature", "eligibility_reason"]:
            counts = {}
            for row in rows:
                counts[row[column]] = counts.get(row[column], 0) + 1
            assert counts == manifest["counts"][column], (library, column, counts)
        row = next(row for row in rows if row["latency_ms"] == 1001)
        assert row["text"].startswith("naïve „日本“ 🙂 ") and len(row["event_id"]) == 36, (library, row)
        assert row["rating"] == 1 and row["training_scope"] == "first_party", (library, row)
        assert row["comment"] == "" and row["consent_version"] == 1, (library, row)
        entity = list(row["redactions"])
        assert [dict(it) for it in entity] == [{"entity": "EMAIL", "count": 2}], (library, entity)
        at = row["received_at"]
        # To the microsecond, and known to be UTC.
        assert at.microsecond == 123456 and at.utcoffset().total_seconds() == 0, (library, at)
        print(f"{library}: {expected} rows of {len(shards)} shards")


def with_pyarrow(files):
    import pyarrow.parquet

    tables = [pyarrow.parquet.read_table(file) for file in files]
    assert all(table.schema == tables[0].schema for table in tables)
    return pyarrow.concat_tables(tables).to_pylist()


def with_duckdb(files):
    import duckdb

    with duckdb.connect() as connection:
        connection.sql("SET TimeZone = 'UTC'")
        found = connection.sql(f"SELECT * FROM read_parquet({[str(file) for file in files]!r})")
        names = found.columns
        return [dict(zip(names, row)) for row in found.fetchall()]


def with_pandas(files):
    import pandas

    # As the card says: the folder, when it is all of it.
    path = SET / "data" if len(files) > 1 else files[0]
    return pandas.read_parquet(path).to_dict("records")


def with_polars(files):
    import polars

    path = SET / "data" / "*.parquet" if len(files) > 1 else files[0]
    return polars.read_parquet(path).to_dicts()


def with_datasets(files):
    import datasets

    # As the card's front matter says where the files lie.
    if len(files) > 1:
        return list(datasets.load_dataset(str(SET), split="train"))
    return list(datasets.load_dataset("parquet", data_files=str(files[0]), split="train"))


READERS = {
    "pyarrow": with_pyarrow,
    "duckdb": with_duckdb,
    "pandas": with_pandas,
    "polars": with_polars,
    "datasets": with_datasets,
}

if __name__ == "__main__":
    main()

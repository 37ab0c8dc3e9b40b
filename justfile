# Every recipe that checks something runs a step of .ci/run, so that it does here what it does in CI.
# Without just: `.ci/run STEP`, and `.ci/run` for all of them.

# List the recipes
default:
    @just --list

# All that has to hold before a change lands
ci:
    .ci/run

# Format the code
fmt:
    cargo fmt --all

# Check the format of the code
fmt-check:
    .ci/run fmt

# Clippy, with every warning an error
lint:
    .ci/run lint

# The README's test command
test:
    .ci/run test

# Attack consent for some minutes: ATTACK_ROUNDS seeds from ATTACK_SEED on, for ATTACK_SECONDS each
attack-consent:
    ATTACK_ROUNDS=${ATTACK_ROUNDS:-3} ATTACK_SECONDS=${ATTACK_SECONDS:-60} ATTACK_USERS=${ATTACK_USERS:-3000} \
        cargo test --package assent --test attack -- consent_holds --nocapture

# Take safeguards of consent away, one at a time, and let the attack find out
attack-consent-mutations:
    .ci/run attack_mutations

# Frames, segments and requests of any content, for FUZZ_SECONDS each; needs a nightly toolchain
fuzz:
    FUZZ_SECONDS=${FUZZ_SECONDS:-300} .ci/run fuzz

# Attack delivery for about half an hour: hundreds of kill -9, a gigabyte that spools, a full disk
attack-delivery:
    DELIVERY_KILLS=${DELIVERY_KILLS:-300} DELIVERY_CLICKHOUSE_KILLS=${DELIVERY_CLICKHOUSE_KILLS:-100} \
        DELIVERY_SECONDS=${DELIVERY_SECONDS:-300} DELIVERY_SPOOL_BYTES=${DELIVERY_SPOOL_BYTES:-1073741824} \
        DELIVERY_TWINS=${DELIVERY_TWINS:-20000} \
        cargo test --release --package assent --test attack_delivery -- scenarios:: --nocapture

# Real disks, as root: a small one that fills, and one whose power is cut under a collector and ClickHouse
attack-disks:
    POWER_CUTS=${POWER_CUTS:-10} .ci/run disks

# The main job on bundled interactions, in a folder and on ports of its own
demo:
    .ci/run demo

# Read datasets of `assent export` with what people read Parquet with (installed from PyPI), all of it
export-readers:
    EXPORT_READERS=${EXPORT_READERS:-"pyarrow duckdb pandas polars datasets"} .ci/run exports

# A local ClickHouse and a collector, until Ctrl-C
dev *ARGS:
    cargo run --release -- dev {{ ARGS }}

# Dependencies: licences, duplicates, sources, and advisories where they can be fetched
deny:
    .ci/run deny

# Lint the wire contract
proto-lint:
    .ci/run proto_lint

# Lint and render the chart, and let the collector check what it renders
helm:
    .ci/run helm chart_config

# A short load test
load-smoke:
    .ci/run load_smoke

# Scenarios and ClickHouse alone in the same run, side by side; JSON and pictures go to OUT
load-compare OUT="target/load" *SCENARIOS="load-tests/scenarios/throughput.toml":
    cargo run --release -p load-tests -- compare {{ SCENARIOS }} --out {{ OUT }}

# As many rows a second as go through
load-throughput: (load "throughput")

# What a client waits for at 50,000 events a second in requests of ten
load-latency: (load "latency")

# Twenty thousand requests a second of one event each
load-single: (load "single")

# Ten thousand connections
load-connections: (load "connections")

# CollectStream instead of Collect
load-streams: (load "streams")

# Clients on bad networks beside those that are measured
load-slow-clients: (load "slow-clients")

# Changes of consent while events come in
load-consent-churn: (load "consent-churn")

# Texts of up to 64 KiB
load-long-texts: (load "long-texts")

# Ten minutes at full load, after which memory has to be where it was
load-soak: (load "soak")

# Two minutes of more than the machine takes, and what has to hold then
load-overload: (load "overload")

# The same events posted to assent and to rotel (installed from PyPI) by h2load, side by side; JSON goes to OUT
beside-rotel OUT="target/load":
    load-tests/beside/run --out {{ OUT }}

# A scenario of load-tests/scenarios by its name
load SCENARIO:
    cargo run --release -p load-tests -- run load-tests/scenarios/{{ SCENARIO }}.toml

# Memory, loading and look-ups of the view of consent, with ten million people or as many as are given
bench-consent *SUBJECTS:
    cargo bench -p assent --bench consent_replica -- {{ SUBJECTS }}

# The spool against its model, many times over: CASES of each of its three tests
model-spool CASES="20000":
    SPOOL_MODEL_CASES={{ CASES }} cargo test --package assent --lib spool::tests::model

# What it costs that a client's retry counts once, with a million events or as many as are given
bench-retries *EVENTS:
    cargo bench -p assent --bench client_retries -- {{ EVENTS }}

# An export beside one stream of the same query, with a million rows or as many as are given
bench-export *ROWS:
    cargo bench -p assent --bench export -- {{ ROWS }}

# What it costs that ClickHouse fsyncs before it confirms
bench-durability:
    cargo bench -p assent --bench durability

# How fast labelled texts are redacted, beside the patterns of Presidio (installed from PyPI), in one run
redaction-beside FILE:
    test -x target/presidio/bin/python || python3 -m venv target/presidio
    target/presidio/bin/pip install --quiet presidio-analyzer==2.2.366
    cargo build --quiet --release --example redaction_eval
    @echo "Presidio, patterns alone: $(target/presidio/bin/python examples/redaction_eval/beside.py {{ FILE }})"
    @echo "assent, everything:       $(target/release/examples/redaction_eval {{ FILE }} --speed)"

# What each stage costs an event, or those stages whose name holds what is given
bench-stages *FILTER:
    cargo bench -p assent --bench stages -- {{ FILTER }}

# How many instructions each stage takes, or those stages whose name matches what is given
[positional-arguments]
bench-instructions *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! type -P valgrind >/dev/null; then
        echo "valgrind does the counting and is not on PATH: install it (apt-get install valgrind, dnf install valgrind) and try again" >&2
        exit 1
    fi
    # The runner takes benches of its own version alone.
    version=$(cargo pkgid gungraun-runner)
    version=${version##*[@#]}
    runner=$PWD/target/gungraun-runner-$version
    if [[ ! -x $runner/bin/gungraun-runner ]]; then
        echo "compiling gungraun-runner $version, which takes some minutes" >&2
        cargo install --quiet --locked --root "$runner" "gungraun-runner@$version"
    fi
    PATH=$runner/bin:$PATH cargo bench -p assent --bench instructions -- "$@"

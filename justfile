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

# Two minutes of more than the machine takes, and what has to hold then
load-overload:
    cargo run --release -p load-tests -- run load-tests/scenarios/overload.toml

# Memory, loading and look-ups of the view of consent, with ten million people or as many as are given
bench-consent *SUBJECTS:
    cargo bench -p assent --bench consent_replica -- {{ SUBJECTS }}

# The spool against its model, many times over: CASES of each of its three tests
model-spool CASES="20000":
    SPOOL_MODEL_CASES={{ CASES }} cargo test --package assent --lib spool::tests::model

# What it costs that a client's retry counts once, with a million events or as many as are given
bench-retries *EVENTS:
    cargo bench -p assent --bench client_retries -- {{ EVENTS }}

# What it costs that ClickHouse fsyncs before it confirms
bench-durability:
    cargo bench -p assent --bench durability

# What each stage costs an event, or those stages whose name holds what is given
bench-stages *FILTER:
    cargo bench -p assent --bench stages -- {{ FILTER }}

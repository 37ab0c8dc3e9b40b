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

# Cut the power of a disk under a collector and ClickHouse; needs root, loop devices and mkfs.ext4
attack-power-cut:
    cargo test --package assent --test integration -- power_cut --ignored --nocapture --test-threads 1

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

# Memory, loading and look-ups of the view of consent, with ten million people or as many as are given
bench-consent *SUBJECTS:
    cargo bench -p assent --bench consent_replica -- {{ SUBJECTS }}

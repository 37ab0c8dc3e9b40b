# syntax=docker/dockerfile:1

# Needs nothing but cargo and a C compiler (for ring and zstd), which this image has: the wire
# contract is compiled without protoc.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches are not part of the image, so the binary has to be copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package assent --bin assent \
    && cp target/release/assent /usr/local/bin/assent

# The same Debian as above, so that the binary finds the glibc that it was linked against.
FROM debian:bookworm-slim
# For the certificates of ClickHouse, which are checked against the system's authorities.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# A number, so that Kubernetes can tell that it is not root; the chart names the same one.
RUN groupadd --gid 65532 assent \
    && useradd --uid 65532 --gid assent --no-create-home --home-dir /var/lib/assent --shell /usr/sbin/nologin assent \
    && install --directory --owner=assent --group=assent --mode=0750 /var/lib/assent
COPY --from=build /usr/local/bin/assent /usr/local/bin/assent

USER 65532:65532
WORKDIR /var/lib/assent
# The spool: acknowledged events that are not in ClickHouse yet. Keep it on a volume.
ENV ASSENT_DATA_DIR=/var/lib/assent
VOLUME /var/lib/assent
# gRPC, and health and metrics over HTTP. Both listen on loopback until a configuration says otherwise.
EXPOSE 50051 9464
# The first one drains the collector, a second one ends it at once.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/assent"]
CMD ["serve"]

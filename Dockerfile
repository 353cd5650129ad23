# syntax=docker/dockerfile:1
# pgwarden in an image with nothing else: no shell, no package manager, not root.
#
#   docker build -t pgwarden .
#   docker run -p 6432:6432 -v ./pgwarden.toml:/etc/pgwarden/pgwarden.toml:ro --stop-timeout 30 pgwarden
#
# In a container `listen` has to name 0.0.0.0. The health check asks http://127.0.0.1:9187/healthz, so set `http` in [admin]
# to "127.0.0.1:9187" (or "0.0.0.0:9187" for a scraper outside), or run with --no-healthcheck.

ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
# PostgreSQL's grammar is C, and its bindings are made by libclang.
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential libclang-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin pgwarden \
 && install -D --strip target/release/pgwarden /out/usr/bin/pgwarden \
 && install -D -m 0644 config/pgwarden.toml /out/usr/share/doc/pgwarden/pgwarden.toml

# glibc and libgcc of the same Debian, CA certificates, and a user nonroot (65532).
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 6432 9187
# Open transactions may end first: give `docker stop` more time than drain_timeout.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/bin/pgwarden", "healthcheck"]
ENTRYPOINT ["/usr/bin/pgwarden"]
CMD ["serve", "--config", "/etc/pgwarden/pgwarden.toml"]

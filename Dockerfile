# syntax=docker/dockerfile:1
FROM rust:1-slim-bookworm AS build
# aws-lc and SQLite are compiled from C.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin countersign \
 && install -D target/release/countersign /out/usr/local/bin/countersign \
 && install -d -o 65532 -g 65532 /out/var/lib/countersign

# Nothing but glibc, the C runtime of the compiler, CA certificates and a user without rights.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out /
WORKDIR /var/lib/countersign
VOLUME /var/lib/countersign
EXPOSE 5080 5081
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["serve", "--config", "/etc/countersign/config.yaml"]

# syntax=docker/dockerfile:1
FROM rust:1-slim-bookworm AS build
# aws-lc and SQLite are compiled from C.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# For `--version`, where the context has no repository; SOURCE_DATE_EPOCH is the date of the commit in seconds.
ARG COUNTERSIGN_COMMIT= SOURCE_DATE_EPOCH=
RUN cargo build --release --locked --bin countersign \
 && mkdir /data

# Nothing but glibc, the C runtime of the compiler, CA certificates and a user without rights.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/countersign /usr/local/bin/countersign
COPY --from=build --chown=nonroot:nonroot /data /var/lib/countersign
WORKDIR /var/lib/countersign
VOLUME /var/lib/countersign
EXPOSE 5080 5081
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["serve", "--config", "/etc/countersign/config.yaml"]

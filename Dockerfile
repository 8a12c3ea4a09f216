# Images are named by digest, because a tag can be moved to another image.
FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
# aws-lc is built with CMake.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# For `--version`, where the context has no repository; SOURCE_DATE_EPOCH is the date of the commit in seconds.
ARG COUNTERSIGN_COMMIT= SOURCE_DATE_EPOCH=
RUN cargo build --release --locked --bin countersign \
 && mkdir /data

# Nothing but glibc, the C runtime of the compiler, CA certificates and a user without rights.
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:66aa873a4a14fb164aa01296058efd8253744606d72715e45acface073359faa
COPY --from=build /build/target/release/countersign /usr/local/bin/countersign
COPY --from=build --chown=nonroot:nonroot /data /var/lib/countersign
WORKDIR /var/lib/countersign
VOLUME /var/lib/countersign
EXPOSE 5080 5081
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["serve", "--config", "/etc/countersign/config.yaml"]

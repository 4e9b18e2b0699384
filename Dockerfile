# syntax=docker/dockerfile:1

# Builds the server in one stage and leaves only the binary in the other.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package cryptoserve-standalone \
    && cp target/release/cryptoserve /cryptoserve \
    && mkdir --mode=0700 /data

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="CryptoServe" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /cryptoserve /usr/local/bin/cryptoserve
COPY --from=build --chown=nonroot:nonroot /data /data
ENV BIND_ADDR=[::]:8003 \
    DATA_DIR=/data \
    CRYPTOSERVE_IMAGE=1
EXPOSE 8003
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["cryptoserve", "healthcheck"]
# The process itself gets SIGTERM: there is no shell between.
ENTRYPOINT ["cryptoserve"]
CMD ["serve"]

# Two stages: build with Rust, run without it, as a user that is nobody.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY examples examples
COPY config config
COPY policies policies
RUN cargo build --release --locked --bin turnpike

FROM debian:bookworm-slim
RUN useradd --system --uid 5060 --home-dir /var/lib/turnpike --create-home turnpike
COPY --from=build /src/target/release/turnpike /usr/local/bin/turnpike
COPY config/turnpike.yaml /etc/turnpike/config/turnpike.yaml
COPY policies /etc/turnpike/policies
USER turnpike
WORKDIR /var/lib/turnpike
# SIP over UDP, TCP and TLS; relayed media.
EXPOSE 5060/udp 5060/tcp 5061/tcp 40000-40199/udp
ENTRYPOINT ["turnpike"]
CMD ["run", "--config", "/etc/turnpike/config/turnpike.yaml"]

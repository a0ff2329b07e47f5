# A carrier that calls 600 through Turnpike, one call a second, five seconds each.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends sip-tester && rm -rf /var/lib/apt/lists/* \
    && head -c 16000 /dev/zero | tr '\0' 'U' >/voice && useradd --system carrier
USER carrier
WORKDIR /
CMD ["sipp", "-sf", "/uac_call.xml", "-i", "172.28.5.50", "-p", "5060", "-mi", "172.28.5.50", \
     "-key", "from", "carrier", "-s", "600", "-r", "1", "-d", "5000", "-nostdin", "172.28.5.10:5060"]

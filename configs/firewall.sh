#!/usr/bin/env bash
# Keeps builds and workers in containers from the listeners of this machine and from the metadata of its cloud;
# they still reach the internet, and builds reach Kedge by its socket. As root, after every start of the engine:
#
#   configs/firewall.sh [--swarm] [PORT…]      ports of this machine that they may reach all the same
#
# Workers whose requests are placed need the port of `[runtime.docker] egress_port` among these. Code from outside
# needs no such wall on an engine of its own: it has no network there. In a swarm there is no
# socket, and this is for each of its nodes: --swarm walls in whatever runs in the default bridge and, for
# overlays, in docker_gwbridge, be it Kedge's or not. Name Kedge's own port if it is this machine's.
set -euo pipefail

BRIDGES=(kedge-builds kedge-workers)
SWARM_BRIDGES=(docker0 docker_gwbridge)
HOST=KEDGE-BUILDS-HOST
FORWARD=KEDGE-BUILDS-FORWARD
# of AWS, Google, Azure and others; Alibaba; Oracle
METADATA=(169.254.0.0/16 100.100.100.200 192.0.0.192)
METADATA_V6=(fd00:ec2::/32 fd20:ce::254)
# of Azure, whose names are told at the same address
AZURE=168.63.129.16
NEIGHBOURS=(neighbour-solicitation neighbour-advertisement router-solicitation)

walled=("${BRIDGES[@]}")
if [ "${1:-}" = --swarm ]; then
    walled+=("${SWARM_BRIDGES[@]}")
    shift
fi
for port in "$@"; do
    if ! [[ $port =~ ^[0-9]+$ ]]; then
        echo "firewall.sh: $port is no port; usage: firewall.sh [--swarm] [PORT…]" >&2
        exit 2
    fi
done

# the engine changes rules, too: one after the other
iptables() {
    command iptables --wait "$@"
}
ip6tables() {
    command ip6tables --wait "$@"
}

fresh() {
    "$tables" -N "$1" 2>/dev/null || "$tables" -F "$1"
}

# jump FROM TO: first of all for whatever comes from a walled bridge; once, however often this is run
jump() {
    local bridge
    for bridge in "${BRIDGES[@]}" "${SWARM_BRIDGES[@]}"; do
        "$tables" -D "$1" -i "$bridge" -j "$2" 2>/dev/null || true
    done
    for bridge in "${walled[@]}"; do
        "$tables" -I "$1" -i "$bridge" -j "$2"
    done
}

# wall PORT…: with the program that `tables` names
wall() {
    fresh "$HOST"
    # answers to what this machine asked
    "$tables" -A "$HOST" -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
    if [ "$tables" = ip6tables ]; then
        for kind in "${NEIGHBOURS[@]}"; do
            "$tables" -A "$HOST" -p ipv6-icmp --icmpv6-type "$kind" -j RETURN
        done
    fi
    for port in "$@"; do
        "$tables" -A "$HOST" -p tcp --dport "$port" -j RETURN
    done
    "$tables" -A "$HOST" -j REJECT
    jump INPUT "$HOST"

    fresh "$FORWARD"
    if [ "$tables" = ip6tables ]; then
        for place in "${METADATA_V6[@]}"; do
            "$tables" -A "$FORWARD" -d "$place" -j REJECT
        done
    else
        for place in "${METADATA[@]}"; do
            "$tables" -A "$FORWARD" -d "$place" -j REJECT
        done
        "$tables" -A "$FORWARD" -d "$AZURE" -p tcp ! --dport 53 -j REJECT
    fi
    # an engine without networks of IPv6 has no chain there for its users
    if "$tables" -S DOCKER-USER >/dev/null 2>&1; then
        jump DOCKER-USER "$FORWARD"
    else
        jump FORWARD "$FORWARD"
    fi
}

tables=iptables wall "$@"
if ip6tables -S >/dev/null 2>&1; then
    tables=ip6tables wall "$@"
fi

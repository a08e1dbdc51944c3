#!/usr/bin/env bash
# Keeps builds in containers from the listeners of this machine and from the metadata of its cloud; they still
# reach the internet, and Kedge by its socket. As root, after every start of the engine:
#
#   configs/firewall.sh [--swarm] [PORT…]      ports of this machine that builds may reach all the same
#
# Code from outside needs no such wall on an engine of its own: it has no network there. In a swarm there is no
# socket, and this is for each of its nodes: --swarm walls in whatever runs in the default bridge and, for
# overlays, in docker_gwbridge, be it Kedge's or not. Name Kedge's own port if it is this machine's.
set -euo pipefail

BRIDGES=(kedge-builds)
SWARM_BRIDGES=(docker0 docker_gwbridge)
HOST=KEDGE-BUILDS-HOST
FORWARD=KEDGE-BUILDS-FORWARD
METADATA=169.254.0.0/16

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

fresh() {
    iptables -N "$1" 2>/dev/null || iptables -F "$1"
}

# jump FROM TO: first of all for whatever comes from a walled bridge; once, however often this is run
jump() {
    local bridge
    for bridge in "${BRIDGES[@]}" "${SWARM_BRIDGES[@]}"; do
        iptables -D "$1" -i "$bridge" -j "$2" 2>/dev/null || true
    done
    for bridge in "${walled[@]}"; do
        iptables -I "$1" -i "$bridge" -j "$2"
    done
}

fresh "$HOST"
# answers to what this machine asked
iptables -A "$HOST" -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
for port in "$@"; do
    iptables -A "$HOST" -p tcp --dport "$port" -j RETURN
done
iptables -A "$HOST" -j REJECT
jump INPUT "$HOST"

fresh "$FORWARD"
iptables -A "$FORWARD" -d "$METADATA" -j REJECT
jump DOCKER-USER "$FORWARD"

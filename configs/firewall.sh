#!/usr/bin/env bash
# Keeps trusted builds in containers from the listeners of this machine and from the metadata of its cloud;
# they still reach the internet, and Kedge by its socket. As root, after every start of the engine:
#
#   configs/firewall.sh [PORT…]      ports of this machine that builds may reach all the same
#
# Code from outside needs no such wall: it has no network.
set -euo pipefail

BRIDGE=kedge-builds
HOST=KEDGE-BUILDS-HOST
FORWARD=KEDGE-BUILDS-FORWARD
METADATA=169.254.0.0/16

fresh() {
    iptables -N "$1" 2>/dev/null || iptables -F "$1"
}

# jump FROM TO: first of all for whatever comes from the bridge; once, however often this is run
jump() {
    iptables -D "$1" -i "$BRIDGE" -j "$2" 2>/dev/null || true
    iptables -I "$1" -i "$BRIDGE" -j "$2"
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

#!/usr/bin/env bash
# Measures one lossy path with shout --ping, with ping, and with irtt where it is
# installed, all at the same time, and prints their figures.  Ends within half a
# minute.
#
#   sudo benchmarks/beside-ping.sh [directory of the commands shout and twistd]
set -euo pipefail
bin=${1:-.venv/bin}
count=200 interval=0.1
netem="delay 50ms loss 10% duplicate 5% reorder 10%"

a=shout-beside-$$-a b=shout-beside-$$-b
work=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    ip netns delete $a || true
    ip netns delete $b || true
    rm -rf "$work"
}
trap cleanup EXIT
ip netns add $a
ip netns add $b
ip link add va netns $a type veth peer name vb netns $b
ip -n $a address add 192.0.2.1/24 dev va
ip -n $b address add 192.0.2.2/24 dev vb
ip -n $a link set va up
ip -n $b link set vb up
# On the way there alone, so that every loss is one of the figures.
# shellcheck disable=SC2086
tc -n $a qdisc add dev va root netem $netem
echo "on the way there: $netem; $count datagrams of 56 bytes, one every $interval s"

ip netns exec $b timeout 40 "$bin/twistd" -n --pidfile= --logfile=- \
    shout --port 22900 -i 192.0.2.2 >"$work/server" 2>&1 &
pids+=($!)
if command -v irtt >/dev/null; then
    ip netns exec $b timeout 40 irtt server -b 192.0.2.2:2112 >/dev/null 2>&1 &
    pids+=($!)
fi
sleep 2

ip netns exec $a timeout 40 ping -q -c $count -i $interval -W 1 -s 56 192.0.2.2 \
    >"$work/ping" 2>&1 &
pings=$!
if command -v irtt >/dev/null; then
    seconds=$(awk "BEGIN { print $count * $interval }")
    ip netns exec $a timeout 40 irtt client -Q -i ${interval}s -d "${seconds}s" \
        -l 56 192.0.2.2:2112 >"$work/irtt" 2>&1 &
    irtts=$!
fi
ip netns exec $a timeout 40 "$bin/shout" --ping -q -H 192.0.2.2 -p 22900 \
    -c $count -i $interval -s 56 || true
wait $pings || true
cat "$work/ping"
if command -v irtt >/dev/null; then
    wait $irtts || true
    cat "$work/irtt"
fi
tc -n $a -s qdisc show dev va

#!/usr/bin/env bash
# Measures one lossy path with shoutping, ping, and irtt if it is installed, all at the
# same time, and prints their results.  Takes less than a minute and needs root, for
# network namespaces.
#
#   benchmarks/beside-ping.sh [directory of the commands python, shoutping and twistd]
set -euo pipefail
here=$(dirname "$0")
bin=${1:-.venv/bin}
count=400 interval=0.04

a=shout-beside-$$-a m=shout-beside-$$-m b=shout-beside-$$-b
work=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for name in $a $m $b; do ip netns delete $name || true; done
    rm -rf "$work"
}
trap cleanup EXIT

# Hosts a and b, connected by the host m.
for name in $a $m $b; do ip netns add $name; done
ip link add va netns $a type veth peer name ma netns $m
ip link add vb netns $b type veth peer name mb netns $m
ip -n $a address add 192.0.2.1/24 dev va
ip -n $b address add 192.0.2.2/24 dev vb
for where in "$a va" "$m ma" "$m mb" "$b vb"; do
    read -r name device <<<"$where"
    ip -n "$name" link set dev "$device" up
done
seconds=$(awk "BEGIN { print $count * $interval }")
echo "192.0.2.1 to 192.0.2.2: delay 50 ms, loss 10 %, duplicate 5 %, reorder 10 %"
echo "$count datagrams of 56 bytes, one every $interval s"
if tc -n $m qdisc add dev mb root netem \
    delay 50ms loss 10% duplicate 5% reorder 10% 2>/dev/null; then
    ip -n $m link add bridge type bridge
    for device in ma mb; do ip -n $m link set dev $device master bridge; done
    ip -n $m link set dev bridge up
else
    echo "this kernel has no netem; lossy_link.py replaces it"
    ip netns exec $m timeout 50 "$bin/python" "$here/lossy_link.py" ma mb \
        "$(awk "BEGIN { print $seconds + 6 }")" >"$work/link" &
    link=$!
    pids+=($link)
fi

ip netns exec $b timeout 50 "$bin/twistd" -n --pidfile= --logfile=- \
    shout --port 22900 -i 192.0.2.2 >"$work/server" 2>&1 &
pids+=($!)
if command -v irtt >/dev/null; then
    ip netns exec $b timeout 50 irtt server -b 192.0.2.2:2112 >/dev/null 2>&1 &
    pids+=($!)
fi
sleep 2

ip netns exec $a timeout 50 ping -q -c $count -i $interval -W 1 -s 56 192.0.2.2 \
    >"$work/ping" 2>&1 &
pings=$!
if command -v irtt >/dev/null; then
    ip netns exec $a timeout 50 irtt client -q -i ${interval}s -d "${seconds}s" \
        -l 56 192.0.2.2:2112 >"$work/irtt" 2>&1 &
    irtts=$!
fi
ip netns exec $a timeout 50 "$bin/shoutping" -q -c $count -i $interval -s 56 \
    192.0.2.2:22900 || true
wait $pings || true
cat "$work/ping"
if command -v irtt >/dev/null; then
    wait $irtts || true
    cat "$work/irtt"
fi
if [ -n "${link:-}" ]; then
    wait $link || true
    cat "$work/link"
fi

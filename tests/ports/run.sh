#!/bin/sh
# Runs port-conformance on one kind of port, on interfaces in a network namespace of its own.
# run.sh PROGRAM af_packet|af_xdp|af_packet_jumbo|af_packet_cut|net_ring|net_memif
# PORT_ARGUMENTS=",qdisc_bypass=0" in the environment adds to the device string, for experiments.
# Exit 77 with the reason when this machine cannot run it.
set -eu
program=$1
kind=$2
shift 2

skip() {
  echo "SKIPPED: $1"
  exit 77
}

case $kind in
  net_ring)
    exec "$program" --device net_ring0 --peer self "$@"
    ;;
  net_memif)
    socket=understudy-conformance-$$
    exec "$program" --device "net_memif0,role=server,id=1,socket=$socket,socket-abstract=yes" \
      --peer "net_memif1,role=client,id=1,socket=$socket,socket-abstract=yes" "$@"
    ;;
esac

[ "$(id -u)" = 0 ] || skip "network namespaces need root"
command -v ip >/dev/null || skip "the 'ip' command is missing (package iproute2)"
space=port-conformance-$$
ip netns add "$space" 2>/dev/null || skip "this kernel or container allows no network namespaces"
trap 'ip netns del "$space"' EXIT
trap 'exit 1' INT TERM

mtu=1500
room=2048
pmd=$kind
case $kind in
  af_packet_jumbo) mtu=9000 room=16384 pmd=af_packet ;;
  af_packet_cut) mtu=9000 pmd=af_packet ;;
esac
in_space="ip netns exec $space"
$in_space sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' 2>/dev/null || true
$in_space ip link add port mtu "$mtu" type veth peer name wire mtu "$mtu" || skip "this kernel has no veth"
for interface in port wire; do
  if command -v ethtool >/dev/null; then
    $in_space ethtool -K "$interface" tx off rx off tso off gso off gro off >/dev/null 2>&1 || true
  fi
  $in_space ip link set "$interface" up
done

status=0
$in_space "$program" --device "net_${pmd}0,iface=port${PORT_ARGUMENTS:-}" --interface port --peer wire --frame-room "$room" "$@" || status=$?
exit $status

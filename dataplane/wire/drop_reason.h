#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace understudy {

// Every reason for which a frame or a segment ends here. One list makes the enum, the counters, and the text
// that the console and the metrics show. A new reason is a new line.
#define UNDERSTUDY_DROP_REASONS(X)                                                                         \
  X(frame_truncated, "frame shorter than its headers say")                                                 \
  X(ethernet_type_unknown, "ethertype that no one here handles")                                           \
  X(ethernet_not_for_us, "destination MAC is not ours")                                                    \
  X(arp_malformed, "ARP packet malformed")                                                                 \
  X(ip_version_or_length, "IP version or header length wrong")                                             \
  X(ip_checksum, "IP header checksum wrong")                                                               \
  X(ip_fragment, "IP fragment")                                                                            \
  X(ipv6_extension_header, "IPv6 extension header malformed, out of order, or one too many")               \
  X(ipv6_option_refused, "IPv6 option or routing header that may not be skipped")                          \
  X(ip_source_invalid, "IP source address cannot be answered")                                             \
  X(ip_not_for_us, "IP destination is not ours")                                                           \
  X(ip_protocol_unknown, "IP protocol that no one here handles")                                           \
  X(icmp_malformed, "ICMP malformed or checksum wrong")                                                    \
  X(icmp_ignored, "ICMP type that is not acted upon")                                                      \
  X(icmp_source_quench, "ICMP source quench, ignored (RFC 6633)")                                          \
  X(icmp_error_malformed, "ICMP error that quotes no segment which its receiver could have sent")          \
  X(icmp_error_stale, "ICMP error about nothing that is in flight (RFC 5927)")                             \
  X(icmp_error_soft, "ICMP error noted; the connection goes on (RFC 9293 section 3.9.2.2)")                \
  X(icmp_error_refused, "ICMP error that ended an attempt to open a connection")                           \
  X(icmp_mtu_implausible, "ICMP packet too big with an MTU that cannot be")                                \
  X(icmp_mtu_lowered, "ICMP packet too big: path MTU lowered")                                             \
  X(nd_malformed, "neighbour discovery message malformed, or not from this link")                          \
  X(nd_ignored, "router discovery or redirect: routers are configured here")                               \
  X(tcp_header_length, "TCP header length wrong")                                                          \
  X(tcp_checksum, "TCP checksum wrong")                                                                    \
  X(tcp_options_malformed, "TCP options malformed")                                                        \
  X(tcp_group_not_owned, "segment for a group that another node owns")                                     \
  X(tcp_no_listener, "no service listens on this port")                                                    \
  X(tcp_not_accepting, "new connection while the group has no standby, and its policy forbids that")       \
  X(tcp_no_connection, "no such connection")                                                               \
  X(tcp_reset_suppressed, "unknown connection after a takeover or a SYN cookie, reset withheld")           \
  X(tcp_reset_limited, "no such connection, and no reset: as many as a second allows have left")           \
  X(tcp_table_full, "connection table full")                                                               \
  X(tcp_half_open_limit, "SYN beyond what may be half open, and cookies are off")                          \
  X(tcp_syn_turned_away, "SYN beyond a quarter of the worker's time; welcome when it comes again")         \
  X(tcp_half_open_evicted, "half-open connection given up for a new one")                                  \
  X(tcp_time_wait_evicted, "connection in TIME-WAIT given up for a new one")                               \
  X(tcp_stalled_ended, "connection ended: its peer takes nothing, and too many do so")                     \
  X(tcp_silent_ended, "connection ended: its peer has only opened it, and too many do so")                 \
  X(tcp_not_acceptable, "segment outside the receive window")                                              \
  X(tcp_paws, "timestamp older than the last one (PAWS)")                                                  \
  X(tcp_syn_in_window, "SYN on a synchronised connection, challenged")                                     \
  X(tcp_reset_challenged, "RST inside the window but not at its left edge, challenged")                    \
  X(tcp_reset_ignored, "RST in TIME-WAIT (RFC 1337)")                                                      \
  X(tcp_ack_missing, "segment without ACK on a synchronised connection")                                   \
  X(tcp_ack_unacceptable, "acknowledges what was never sent")                                              \
  X(tcp_data_after_close, "data after the application closed")                                             \
  X(tcp_window_exceeded, "payload beyond the advertised window")                                           \
  X(tcp_receive_memory, "payload dropped before acknowledgement: receive memory share used up")            \
  X(tcp_reassembly_full, "out-of-order queue full")                                                        \
  X(tcp_duplicate, "payload already received")                                                             \
  X(mirror_log_full, "payload dropped before acknowledgement: mirror log full")                            \
  X(mbuf_pool_empty, "no packet buffer free")                                                              \
  X(neighbour_unresolved, "next hop did not answer ARP or ND")                                             \
  X(neighbour_queue_full, "too many packets wait for one neighbour")                                       \
  X(no_route, "no route to the destination")                                                               \
  X(ring_full, "hand-over ring between workers full")                                                      \
  X(port_transmit_full, "port did not take the frame")                                                     \
  X(group_muted, "own group is muted (fenced or not owner), frame withheld")                               \
  X(lease_over, "in the name of a group whose lease is over: not sent")                                    \
  X(cluster_malformed, "cluster frame malformed")                                                          \
  X(cluster_version, "cluster frame of an unknown version")                                                \
  X(cluster_stranger, "cluster frame of another cluster, with another key, or of an unknown node")         \
  X(cluster_forged, "cluster frame whose seal does not fit: forged, or damaged on its way")                \
  X(cluster_replayed, "cluster frame that came before, or is too old to tell")                             \
  X(cluster_unproven, "cluster frame of an incarnation that has not answered our greeting yet")            \
  X(mirror_out_of_window, "mirror frame outside the channel's window")                                     \
  X(mirror_superseded, "mirror frame of an owner whose epoch is over, or that we do not follow")           \
  X(mirror_no_room, "connection not mirrored: this node's tables or buffers are full")                     \
  X(mirror_differs, "the mirror holds other connections than its owner says: all are let go and fed anew") \
  X(mirror_record_malformed, "mirror record malformed")

enum class DropReason : uint8_t {
#define X(name, text) name,
  UNDERSTUDY_DROP_REASONS(X)
#undef X
};

constexpr size_t kDropReasons = 0
#define X(name, text) +1  // NOLINT(bugprone-macro-parentheses): a term of a sum
    UNDERSTUDY_DROP_REASONS(X)
#undef X
    ;

std::string_view name_of(DropReason reason);  // tcp_checksum
std::string_view text_of(DropReason reason);  // TCP checksum wrong

// One counter per reason; written by one thread, read by any (a torn read cannot happen with 64-bit words).
class DropCounters {
 public:
  void count(DropReason reason, uint64_t frames = 1) { counts_[static_cast<size_t>(reason)] += frames; }
  uint64_t of(DropReason reason) const { return counts_[static_cast<size_t>(reason)]; }

 private:
  std::array<uint64_t, kDropReasons> counts_{};
};

}  // namespace understudy

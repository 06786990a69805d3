// What the network says about segments that we sent: ICMP errors (RFC 9293 section 3.9.2.2), path MTU (RFC
// 1191, RFC 8201). Anybody can say such things; RFC 5927 tells what may be believed.
#include <algorithm>
#include <array>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {
namespace {

// What IPv4 senders take for the least today; a blind message cannot make us send smaller ones (RFC 5927
// section 7). RFC 8201 section 4: nothing below the least that an IPv6 link has.
constexpr uint16_t kPathMtuMin = 552;
constexpr uint16_t kPathMtuMinV6 = 1280;
// 1024 bytes of payload: what nearly every path takes (RFC 4821 section 7.2).
constexpr uint16_t kPathMtuSafe = 1064;

// RFC 1191 section 7: what an old router that names no MTU may have meant.
uint32_t next_plateau(uint32_t length) {
  constexpr std::array kPlateaus = {17914U, 8166U, 4352U, 2002U, 1492U, 1006U, uint32_t{kPathMtuMin}};
  const auto at = std::ranges::find_if(kPlateaus, [&](uint32_t plateau) { return plateau < length; });
  return at == kPlateaus.end() ? kPathMtuMin : *at;
}

uint16_t headers_of(const FlowKey& key) {
  return key.local.is_v4() ? 40 : 60;
}

}  // namespace

// 0: nothing is known that limits it.
void Engine::settle_mss(Connection& c, uint16_t path_mtu) {
  c.mss = c.mss_agreed;
  if (path_mtu != 0) c.mss = std::min<uint16_t>(c.mss, static_cast<uint16_t>(path_mtu - headers_of(c.key)));
  if (c.soft != kNone) soft_[c.soft].congestion.set_mss(c.mss);
}

uint16_t Engine::path_mtu(const Connection& c) const {
  return c.mss == c.mss_agreed ? uint16_t{0} : static_cast<uint16_t>(c.mss + headers_of(c.key));
}

void Engine::use_path_mtu(Connection& c, uint16_t mtu, Instant now) {
  if (mtu != 0) mtu = std::max(mtu, c.key.local.is_v4() ? kPathMtuMin : kPathMtuMinV6);
  if (mtu != 0) path_mtus_.note(c.key.remote, mtu, now);
  settle_mss(c, mtu);
}

void Engine::inherit_path_mtu(Connection& c, uint16_t mtu, Instant now) {
  if (mtu != 0) mtu = std::max(mtu, c.key.local.is_v4() ? kPathMtuMin : kPathMtuMinV6);
  if (mtu != 0) path_mtus_.inherit(c.key.remote, mtu, now);
  settle_mss(c, mtu);
}

// Full segments are lost again and again, and no router says why: those that filter ICMP leave nothing else
// to go by (RFC 2923 section 2.1; RFC 4821 section 7.2 has these sizes). Like any path's MTU it holds for ten
// minutes.
void Engine::suspect_black_hole(Connection& c, uint32_t leg, const Soft& soft, Instant now) {
  const uint16_t small = c.key.local.is_v4() ? kPathMtuSafe : kPathMtuMinV6;
  const uint32_t payload_most = uint32_t{small} - headers_of(c.key);
  if (!is_synchronised(c.state) || soft.sent_first == kNone) return;
  if (c.mss <= payload_most || sent_[soft.sent_first].length <= payload_most) return;
  if (!path_mtus_.guess(c.key.remote, small, now)) return;
  ++counters_.black_holes;
  settle_mss(c, small);
  c.terms_changed = true;
  want_log(leg);
}

// Nor did a smaller segment arrive: it is not the size, the path is down.
void Engine::acquit_path(Connection& c, uint32_t leg, Instant now) {
  if (!path_mtus_.take_back_guess(c.key.remote)) return;
  refresh_path_mtu(c, leg, now);
}

// Once a second: when the entry has run out, or is the smaller one that another connection has learned.
void Engine::refresh_path_mtu(Connection& c, uint32_t leg, Instant now) {
  const uint16_t before = c.mss;
  settle_mss(c, path_mtus_.find(c.key.remote, now));
  if (c.mss == before) return;
  c.terms_changed = true;
  want_log(leg);
}

void Engine::receive_error(const wire::IcmpError& error, Instant now) {
  const uint32_t leg = legs_.find(error.flow);
  if (leg == kNone) return drops_.count(DropReason::icmp_error_stale);
  Connection& c = legs_[leg];
  if (!groups_[c.group].voice) return drops_.count(DropReason::tcp_group_not_owned);
  // RFC 5927 section 4.1: it must quote something that is in flight.
  if (before(error.seq, c.snd.una) || at_or_after(error.seq, c.snd.nxt))
    return drops_.count(DropReason::icmp_error_stale);
  switch (error.kind) {
    case wire::IcmpError::Kind::packet_too_big:
      return packet_too_big(c, leg, error, now);
    case wire::IcmpError::Kind::hard:
      // A peer that has answered once is there: it may be forged, and if not, the retransmissions run out
      // (RFC 5927 section 5). Before that, another backend may do better.
      if (c.state == State::syn_sent) {
        drops_.count(DropReason::icmp_error_refused);
        return close(leg, CloseReason::refused, now);
      }
      [[fallthrough]];
    case wire::IcmpError::Kind::soft:
      drops_.count(DropReason::icmp_error_soft);
      if (c.soft != kNone) soft_[c.soft].soft_error = true;
      return;
  }
}

// The path takes less than what we sent. Everything larger on the way is lost, and not for congestion (RFC
// 1191 section 6.5, RFC 8201 section 5.4): it is cut anew and leaves at once.
void Engine::packet_too_big(Connection& c, uint32_t leg, const wire::IcmpError& error, Instant now) {
  const uint32_t told =
      error.mtu != 0 || !c.key.local.is_v4() ? error.mtu : next_plateau(error.quoted_length);
  const uint32_t least = c.key.local.is_v4() ? kPathMtuMin : kPathMtuMinV6;
  const uint32_t sends = uint32_t{c.mss} + headers_of(c.key);
  // Larger than what it refuses, or less than a link may have: damage, or a lie.
  const bool plausible =
      told < error.quoted_length && error.quoted_length <= sends && (c.key.local.is_v4() || told >= least);
  if (!plausible || std::max(told, least) >= sends) return drops_.count(DropReason::icmp_mtu_implausible);
  drops_.count(DropReason::icmp_mtu_lowered);
  use_path_mtu(c, static_cast<uint16_t>(told), now);
  c.terms_changed = true;
  want_log(leg);
  Soft* soft = c.soft == kNone ? nullptr : &soft_[c.soft];
  if (soft == nullptr || !is_synchronised(c.state)) return;
  const uint32_t payload_max = segment_payload_max(c);
  const Pipe& tx = pipes_[c.tx];
  const Seq after_fin = send_seq_of(c, tx.tail) + 1;
  for (uint32_t at = soft->sent_first; at != kNone; at = sent_[at].next) {
    const bool fin = tx.fin && sent_[at].end() == after_fin;
    if (sent_[at].length - (fin ? 1 : 0) > payload_max) mark_lost(*soft, sent_[at]);
  }
  soft->probe_at = kNever;
  want_output(leg);
}

}  // namespace understudy::tcp

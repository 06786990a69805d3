#include "tests/support/exact_frame.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/check.h"
#include "dataplane/wire/fragments.h"
#include "dataplane/wire/frame.h"
#include "dataplane/wire/opening.h"
#include "tests/support/plain_pool.h"

namespace understudy {

ExactFrame::ExactFrame(std::span<const uint8_t> bytes) : bytes_(new uint8_t[bytes.size()]) {
  const auto length = static_cast<uint16_t>(bytes.size());
  if (length > 0) std::memcpy(bytes_.get(), bytes.data(), length);
  std::memset(&mbuf_, 0, sizeof mbuf_);
  mbuf_.buf_addr = bytes_.get();
  mbuf_.buf_len = length;
  mbuf_.data_len = length;
  mbuf_.pkt_len = length;
  mbuf_.nb_segs = 1;
}

rte_mbuf* ExactFrame::lend() {
  rte_mbuf_refcnt_set(&mbuf_, 1000);
  return &mbuf_;
}

// The same bytes as fragments: as they are, as another part that may or may not fit, and as they are once
// more.
static void check_fragments(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> other(bytes.begin(), bytes.end());
  constexpr size_t kFlags = 20;  // of IPv4: "more fragments"
  if (other.size() > kFlags) other[kFlags] ^= 0x20;
  ExactFrame first(bytes), second(other), third(bytes);
  wire::FragmentTable table({.packets = 2, .timeout = 1s}, plain_mbuf_pool());
  for (ExactFrame* frame : {&first, &second, &third}) {
    if (!wire::FragmentTable::is_fragment(frame->mbuf())) continue;
    if (rte_mbuf* whole = table.add(frame->lend(), Instant(5s))) {
      invariant(rte_pktmbuf_data_len(whole) > sizeof(wire::EthernetHeader), "a whole packet of nothing");
      rte_pktmbuf_free(whole);
    }
  }
}

void check_parsers(std::span<const uint8_t> bytes) {
  const ExactFrame frame(bytes.first(std::min<size_t>(bytes.size(), UINT16_MAX)));
  const size_t size = frame.bytes().size();
  const wire::ParsedFrame parsed = wire::parse_frame(frame.mbuf());
  const auto flow = wire::peek_flow(frame.mbuf());
  const auto opening = wire::peek_opening(frame.mbuf());
  if (const auto* reason = std::get_if<DropReason>(&parsed)) {
    invariant(!name_of(*reason).empty(), "a drop without a reason");
  } else if (const auto* tcp = std::get_if<wire::TcpSegment>(&parsed)) {
    invariant(size_t{tcp->payload_offset} + tcp->payload_length <= size, "a payload outside its frame");
    invariant(flow == FlowKey{tcp->destination, tcp->source, tcp->destination_port, tcp->source_port},
              "peek_flow and parse_frame disagree");
    invariant(!opening || (opening->key == *flow && opening->seq == tcp->seq && tcp->has(wire::kSyn) &&
                           !tcp->has(wire::kAck)),
              "peek_opening and parse_frame disagree");
    invariant(tcp->options.sack_count <= tcp->options.sack.size(), "more SACK blocks than there are");
  } else if (const auto* echo = std::get_if<wire::IcmpEchoRequest>(&parsed)) {
    invariant(size_t{echo->message_offset} + echo->message_length <= size, "an echo outside its frame");
    invariant(!flow, "an echo has a TCP flow");
  } else if (const auto* error = std::get_if<wire::IcmpError>(&parsed)) {
    invariant(flow == error->flow, "peek_flow and parse_frame disagree about what an ICMP error quotes");
  }

  check_fragments(frame.bytes());

  wire::TcpOptions options;
  if (!wire::parse_tcp_options(frame.bytes(), options) || size > wire::kTcpOptionsMax) return;
  // What was read can be written and read again. Only SACK blocks may be left out: the rest of a short list
  // always fits.
  std::array<uint8_t, wire::kTcpOptionsMax> out;
  const size_t length = wire::build_tcp_options(options, out);
  wire::TcpOptions again;
  invariant(length % 4 == 0 && length <= out.size(), "options of an odd length");
  invariant(wire::parse_tcp_options(std::span<const uint8_t>(out).first(length), again),
            "our own options do not parse");
  invariant(again.mss == options.mss && again.window_scale == options.window_scale &&
                again.sack_permitted == options.sack_permitted &&
                again.timestamps.has_value() == options.timestamps.has_value() &&
                again.sack_count <= options.sack_count,
            "options change when they are written and read");
}

}  // namespace understudy

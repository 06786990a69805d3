#include "dataplane/mirror/record.h"

namespace understudy::mirror {

RecordHeader header_of(RecordKind kind, size_t length) {
  RecordHeader header{};
  header.length = static_cast<uint16_t>(length);
  header.kind = static_cast<uint8_t>(kind);
  return header;
}

uint8_t options_of(const tcp::Connection& c) {
  return static_cast<uint8_t>((c.window_scaling ? kOptionWindowScaling : 0) |
                              (c.timestamps ? kOptionTimestamps : 0) | (c.sack ? kOptionSack : 0) |
                              (c.active_open ? kOptionActiveOpen : 0) | (c.ecn ? kOptionEcn : 0));
}

LegState leg_state_of(const tcp::Connection& c, bool send_fin) {
  LegState s{};
  s.rcv_nxt = c.rcv.nxt.raw();
  s.rcv_edge = c.rcv.edge.raw();
  s.snd_una = c.snd.una.raw();
  s.snd_nxt = c.snd.nxt.raw();
  s.snd_wnd = c.snd.wnd;
  s.ts_recent = c.ts_recent;
  s.state = static_cast<uint8_t>(c.state);
  s.flags = static_cast<uint8_t>((c.fin_received ? kLegFinReceived : 0) | (send_fin ? kLegSendFin : 0) |
                                 (c.opened && c.partner == tcp::kNone ? kLegOpened : 0));
  return s;
}

std::optional<std::span<const uint8_t>> RecordReader::next() {
  if (rest_.empty() || malformed_) return std::nullopt;
  RecordHeader header;
  if (rest_.size() < sizeof header) {
    malformed_ = true;
    return std::nullopt;
  }
  std::memcpy(&header, rest_.data(), sizeof header);
  const size_t length = header.length.get();
  if (length < sizeof header || length > rest_.size()) {
    malformed_ = true;
    return std::nullopt;
  }
  const auto record = rest_.first(length);
  rest_ = rest_.subspan(length);
  return record;
}

}  // namespace understudy::mirror

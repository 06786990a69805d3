#include "tests/support/wire_watch.h"

namespace understudy {

std::string place_of(const wire::TcpSegment& s) {
  return FlowKey{s.destination, s.source, s.destination_port, s.source_port}
      .to_string();  // source -> destination
}

void WireWatch::check(const wire::TcpSegment& s) {
  if (s.has(wire::kRst)) return;
  Direction& w = directions_[{s.source, s.destination, s.source_port, s.destination_port}];
  if (s.has(wire::kSyn) && w.iss != s.seq) w = Direction{.iss = s.seq};
  if (s.has(wire::kSyn)) w.scale = s.options.window_scale.value_or(0);
  if (s.options.timestamps) {
    const uint32_t value = s.options.timestamps->value;
    if (w.timestamped && static_cast<int32_t>(value - w.timestamp) < 0)
      fault_("TSval runs backwards by " + std::to_string(w.timestamp - value) + " on " + place_of(s));
    w.timestamped = true;
    w.timestamp = value;
  } else if (w.timestamped) {
    fault_("a segment without the timestamps that were agreed upon on " + place_of(s));
  }
  const auto offered = directions_.find({s.destination, s.source, s.destination_port, s.source_port});
  if (s.payload_length > 0 && offered != directions_.end() && offered->second.has_edge) {
    const int64_t rounding = (int64_t{1} << offered->second.scale) - 1;
    if (after(s.seq + s.payload_length, offered->second.edge + rounding))
      fault_(std::to_string(s.seq + s.payload_length - offered->second.edge) +
             " bytes beyond what its peer has offered on " + place_of(s));
  }
  if (!s.has(wire::kAck) || s.has(wire::kSyn)) return;  // a SYN cannot say a scaled window
  const Seq edge = s.ack + (static_cast<int64_t>(s.window) << w.scale);
  const int64_t unit = int64_t{1} << w.scale;  // the header field rounds
  if (w.has_edge && before(edge, w.edge - (unit - 1)))
    fault_("the right edge moves left by " + std::to_string(w.edge - edge) + " on " + place_of(s));
  w.edge = w.has_edge ? later_of(w.edge, edge) : edge;
  w.has_edge = true;
}

}  // namespace understudy

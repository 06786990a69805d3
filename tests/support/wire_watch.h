#pragma once

#include <functional>
#include <map>
#include <string>

#include "common/sequence.h"
#include "common/address.h"
#include "dataplane/wire/frame.h"

namespace understudy {

// "source -> destination" of a segment, for sentences.
std::string place_of(const wire::TcpSegment& segment);

// What a peer may rely on, whoever speaks: right edges do not move left, timestamps do not run back, no
// payload beyond what was offered (RFC 9293 3.8.6, RFC 7323 5.4). Segments are shown in the order in which
// they were sent.
class WireWatch {
 public:
  explicit WireWatch(std::function<void(const std::string&)> fault) : fault_(std::move(fault)) {}
  void check(const wire::TcpSegment& segment);

 private:
  struct Direction {  // what one side of one connection has said
    bool timestamped = false;
    uint32_t timestamp = 0;
    bool has_edge = false;
    Seq edge;
    uint8_t scale = 0;
    Seq iss;
  };

  std::function<void(const std::string&)> fault_;
  std::map<FlowKey, Direction> directions_;
};

}  // namespace understudy

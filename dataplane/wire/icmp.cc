#include "dataplane/wire/icmp.h"

#include <cstring>

#include "common/check.h"
#include "dataplane/wire/checksum.h"

namespace understudy::wire {

bool is_icmp_echo_request(std::span<const uint8_t> message) {
  if (message.size() < sizeof(IcmpEcho)) return false;
  return message[0] == kIcmpEchoRequest && message[1] == 0 && checksum_finish(checksum_add(0, message)) == 0;
}

void turn_into_echo_reply(std::span<uint8_t> message) {
  invariant(message.size() >= sizeof(IcmpEcho), "icmp: an echo shorter than its header");
  IcmpEcho echo;
  std::memcpy(&echo, message.data(), sizeof echo);
  echo.type = kIcmpEchoReply;
  echo.checksum = 0;
  std::memcpy(message.data(), &echo, sizeof echo);
  echo.checksum.set(checksum_finish(checksum_add(0, message)));
  std::memcpy(message.data(), &echo, sizeof echo);
}

}  // namespace understudy::wire

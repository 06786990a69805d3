#include "dataplane/wire/icmp.h"

#include <cstring>

#include "common/check.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/ipv6.h"

namespace understudy::wire {

bool is_icmp_echo_request(std::span<const uint8_t> message) {
  if (message.size() < sizeof(IcmpEcho)) return false;
  return message[0] == kIcmpEchoRequest && message[1] == 0 && checksum_finish(checksum_add(0, message)) == 0;
}

namespace {

// `sum` is what the checksum covers besides the message.
void answer(std::span<uint8_t> message, uint8_t type, uint64_t sum) {
  invariant(message.size() >= sizeof(IcmpEcho), "icmp: an echo shorter than its header");
  IcmpEcho echo;
  std::memcpy(&echo, message.data(), sizeof echo);
  echo.type = type;
  echo.checksum = 0;
  std::memcpy(message.data(), &echo, sizeof echo);
  echo.checksum.set(checksum_finish(checksum_add(sum, message)));
  std::memcpy(message.data(), &echo, sizeof echo);
}

}  // namespace

void turn_into_echo_reply(std::span<uint8_t> message) {
  answer(message, kIcmpEchoReply, 0);
}

void turn_into_echo_reply(std::span<uint8_t> message, const IpAddress& source, const IpAddress& destination) {
  answer(message, kIcmpv6EchoReply,
         checksum_pseudo_header(source, destination, kProtocolIcmpv6, static_cast<uint32_t>(message.size())));
}

}  // namespace understudy::wire

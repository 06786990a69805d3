#include <map>
#include <variant>

#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/wire/frame.h"
#include "dataplane/wire/icmp.h"
#include "tests/support/exact_frame.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;

void mutate(Bytes& bytes, Random& random) {
  for (uint32_t changes = 1 + random.below(4); changes > 0 && !bytes.empty(); --changes) {
    const uint32_t place = random.below(static_cast<uint32_t>(bytes.size()));
    switch (random.below(4)) {
      case 0:
        bytes[place] = static_cast<uint8_t>(random.next());
        break;
      case 1:
        bytes[place] = static_cast<uint8_t>(bytes[place] ^ 1U << random.below(8));
        break;
      case 2:
        bytes.resize(place);
        break;
      default:
        bytes.insert(bytes.begin() + place, static_cast<uint8_t>(random.next()));
    }
  }
}

void mend_ipv6_if_possible(Bytes& bytes) {
  const auto walked = skip_extension_headers(std::span(bytes).subspan(54), bytes[20]);
  const auto* upper = std::get_if<UpperLayer>(&walked);
  const size_t length = size_t{bytes[18]} * 256 + bytes[19];
  if (upper == nullptr || 54 + length > bytes.size() || upper->offset + 18 > length) return;
  if (upper->protocol == kProtocolTcp || upper->protocol == kProtocolIcmpv6)
    mend_ipv6_checksum(bytes, upper->protocol, upper->offset);
}

// Where the lengths allow it, most mutants get good checksums, or nothing would reach the layers behind.
void mend_if_possible(Bytes& bytes, Random& random) {
  if (bytes.size() < 34 || random.chance(1, 4)) return;
  if (bytes[12] == 0x86 && bytes.size() >= 54) return mend_ipv6_if_possible(bytes);
  const size_t header_length = 4 * (bytes[14] & 0x0f);
  const size_t total = size_t{bytes[16]} * 256 + bytes[17];
  if (header_length >= 20 && total >= header_length && 14 + total <= bytes.size() && bytes[12] == 8)
    mend_checksums(bytes);
}

TEST(Mutation, NothingThatArrivesConfusesTheParsers) {
  constexpr int kRounds = 100'000;
  const Bytes options = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4, 1, 3, 3, 7};
  const Bytes sack = {1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 6};
  const Bytes payload(23, 'x');
  Bytes solicitation(4, 0);
  for (const uint8_t byte : kSampleIp6B.bytes()) solicitation.push_back(byte);
  for (const uint8_t byte : Bytes{1, 1, 2, 0, 0, 0, 0, 9}) solicitation.push_back(byte);
  const std::vector<Bytes> seeds = {
      sample_tcp_frame(options, {}),
      sample_tcp_frame(sack, payload),
      sample_tcp_frame({}, payload, Bytes(12, 1)),
      sample_icmp_frame(kIcmpEchoRequest, 0, payload),
      sample_arp_frame(),
      sample_tcp6_frame(options, payload),
      sample_tcp6_frame(sack, payload, Bytes{60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 5, 2, 0, 0, 1, 0}, 0),
      sample_icmpv6_frame(kIcmpv6EchoRequest, 0, payload),
      sample_icmpv6_frame(135, 0, solicitation),
      options,
      sack};
  Random random(20);
  std::map<std::string, int> outcomes;
  for (int i = 0; i < kRounds; ++i) {
    Bytes bytes = seeds[random.below(static_cast<uint32_t>(seeds.size()))];
    mutate(bytes, random);
    mend_if_possible(bytes, random);
    check_parsers(bytes);
    const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
    const auto* reason = std::get_if<DropReason>(&parsed);
    ++outcomes[reason == nullptr ? "accepted" : std::string(name_of(*reason))];
  }
  // The mutants reach every end that a frame can meet in this layer.
  for (const char* name :
       {"accepted", "frame_truncated", "ethernet_type_unknown", "arp_malformed", "ip_version_or_length",
        "ip_checksum", "ip_fragment", "ip_source_invalid", "ip_protocol_unknown", "icmp_malformed",
        "icmp_ignored", "ipv6_extension_header", "ipv6_option_refused", "nd_malformed", "tcp_header_length",
        "tcp_checksum", "tcp_options_malformed"})
    EXPECT_GT(outcomes[name], 20) << name;
}

}  // namespace
}  // namespace understudy::wire

#include "tests/support/sample_frames.h"

#include <algorithm>

namespace understudy {
namespace {

void put16(std::vector<uint8_t>& out, size_t at, size_t value) {
  out[at] = static_cast<uint8_t>(value >> 8);
  out[at + 1] = static_cast<uint8_t>(value);
}

void append(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) out.push_back(byte);
}

std::vector<uint8_t> ethernet(uint16_t type) {
  std::vector<uint8_t> frame;
  append(frame, kSampleMacB.bytes());
  append(frame, kSampleMacA.bytes());
  append(frame, std::vector<uint8_t>{static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type)});
  return frame;
}

// Where the checksum of the transport lies in its header; nothing for protocols without one here.
size_t checksum_place(uint8_t protocol) {
  return protocol == wire::kProtocolTcp ? 16 : 2;
}

}  // namespace

uint16_t naive_checksum(std::span<const uint8_t> bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? bytes[i] << 8 : bytes[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(~sum);
}

void mend_checksums(std::vector<uint8_t>& frame) {
  const size_t header_length = 4 * (frame[14] & 0x0f);
  put16(frame, 24, 0);
  put16(frame, 24, naive_checksum(std::span(frame).subspan(14, header_length)));
  const uint8_t protocol = frame[23];
  const size_t begin = 14 + header_length;
  const size_t length = size_t{frame[16]} * 256 + frame[17] - header_length;
  const size_t place = begin + checksum_place(protocol);
  if ((protocol != wire::kProtocolTcp && protocol != wire::kProtocolIcmp) || place + 2 > frame.size()) return;
  put16(frame, place, 0);
  std::vector<uint8_t> summed;
  if (protocol == wire::kProtocolTcp) {
    append(summed, std::span(frame).subspan(26, 8));
    append(summed, std::vector<uint8_t>{0, protocol, static_cast<uint8_t>(length >> 8),
                                        static_cast<uint8_t>(length)});
  }
  append(summed, std::span(frame).subspan(begin, length));
  put16(frame, place, naive_checksum(summed));
}

std::vector<uint8_t> sample_ipv4_frame(uint8_t protocol, std::span<const uint8_t> payload,
                                       std::span<const uint8_t> options) {
  std::vector<uint8_t> frame = ethernet(wire::kEtherTypeIpv4);
  const size_t header_length = 20 + options.size();
  std::vector<uint8_t> header = {
      static_cast<uint8_t>(0x40 | header_length / 4), 0x02, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0};
  put16(header, 2, header_length + payload.size());
  append(header, std::span(kSampleIpA.bytes()).last(4));
  append(header, std::span(kSampleIpB.bytes()).last(4));
  append(frame, header);
  append(frame, options);
  append(frame, payload);
  mend_checksums(frame);
  return frame;
}

namespace {

std::vector<uint8_t> sample_segment(std::span<const uint8_t> tcp_options, std::span<const uint8_t> payload) {
  std::vector<uint8_t> segment = {0x9c, 0x40, 0x00, 0x50, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00,
                                  0x07, 0xd0, 0x50, 0x18, 0x01, 0xf4, 0x00, 0x00, 0x00, 0x07};
  segment[12] = static_cast<uint8_t>((20 + tcp_options.size()) / 4 << 4);
  append(segment, tcp_options);
  append(segment, payload);
  return segment;
}

}  // namespace

std::vector<uint8_t> sample_tcp_frame(std::span<const uint8_t> tcp_options, std::span<const uint8_t> payload,
                                      std::span<const uint8_t> ip_options) {
  return sample_ipv4_frame(wire::kProtocolTcp, sample_segment(tcp_options, payload), ip_options);
}

void mend_ipv6_checksum(std::vector<uint8_t>& frame, uint8_t protocol, size_t offset) {
  const size_t begin = 54 + offset;
  const size_t length = size_t{frame[18]} * 256 + frame[19] - offset;
  const size_t place = begin + checksum_place(protocol);
  put16(frame, place, 0);
  std::vector<uint8_t> summed;
  append(summed, std::span(frame).subspan(22, 32));
  append(summed, std::vector<uint8_t>{0, 0, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length),
                                      0, 0, 0, protocol});
  append(summed, std::span(frame).subspan(begin, length));
  put16(frame, place, naive_checksum(summed));
}

std::vector<uint8_t> sample_ipv6_frame(uint8_t next_header, std::span<const uint8_t> payload) {
  std::vector<uint8_t> frame = ethernet(wire::kEtherTypeIpv6);
  std::vector<uint8_t> header = {0x60, 0x20, 0, 0, 0, 0, next_header, 64};
  put16(header, 4, payload.size());
  append(header, kSampleIp6A.bytes());
  append(header, kSampleIp6B.bytes());
  append(frame, header);
  append(frame, payload);
  return frame;
}

std::vector<uint8_t> sample_tcp6_frame(std::span<const uint8_t> tcp_options, std::span<const uint8_t> payload,
                                       std::span<const uint8_t> extensions, uint8_t next_header) {
  std::vector<uint8_t> packet;
  append(packet, extensions);
  append(packet, sample_segment(tcp_options, payload));
  std::vector<uint8_t> frame = sample_ipv6_frame(next_header, packet);
  mend_ipv6_checksum(frame, wire::kProtocolTcp, extensions.size());
  return frame;
}

std::vector<uint8_t> sample_icmpv6_frame(uint8_t type, uint8_t code, std::span<const uint8_t> data,
                                         const IpAddress& source, const IpAddress& destination) {
  std::vector<uint8_t> message = {type, code, 0, 0};
  append(message, data);
  std::vector<uint8_t> frame = sample_ipv6_frame(wire::kProtocolIcmpv6, message);
  frame[21] = 255;
  std::ranges::copy(source.bytes(), frame.begin() + 22);
  std::ranges::copy(destination.bytes(), frame.begin() + 38);
  mend_ipv6_checksum(frame, wire::kProtocolIcmpv6);
  return frame;
}

std::vector<uint8_t> sample_icmp_frame(uint8_t type, uint8_t code, std::span<const uint8_t> data) {
  std::vector<uint8_t> message = {type, code, 0, 0, 0xbe, 0xef, 0x00, 0x01};
  append(message, data);
  return sample_ipv4_frame(wire::kProtocolIcmp, message);
}

std::vector<uint8_t> sample_arp_frame() {
  std::vector<uint8_t> frame = ethernet(wire::kEtherTypeArp);
  append(frame, std::vector<uint8_t>{0, 1, 8, 0, 6, 4, 0, 1});
  append(frame, kSampleMacA.bytes());
  append(frame, std::span(kSampleIpA.bytes()).last(4));
  append(frame, MacAddress().bytes());
  append(frame, std::span(kSampleIpB.bytes()).last(4));
  return frame;
}

}  // namespace understudy

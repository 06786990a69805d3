#include "tests/sim/wire_model.h"

#include <algorithm>

namespace understudy::sim {
namespace {

constexpr size_t kEthernet = 14;
constexpr size_t kIp = 20;
constexpr size_t kTcp = 20;

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint8_t u8(size_t at) const { return bytes_[at]; }
  uint16_t u16(size_t at) const { return static_cast<uint16_t>(bytes_[at] << 8 | bytes_[at + 1]); }
  uint32_t u32(size_t at) const { return static_cast<uint32_t>(u16(at)) << 16 | u16(at + 2); }
  Mac mac(size_t at) const {
    Mac m;
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(at), 6, m.begin());
    return m;
  }

 private:
  std::span<const uint8_t> bytes_;
};

void put16(std::vector<uint8_t>& out, uint32_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}
void put32(std::vector<uint8_t>& out, uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}
void put_mac(std::vector<uint8_t>& out, const Mac& mac) {
  out.insert(out.end(), mac.begin(), mac.end());
}

// RFC 1071, over whole 16-bit words and a last odd byte.
uint32_t sum_of(std::span<const uint8_t> bytes, uint32_t sum = 0) {
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) sum += static_cast<uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  if (bytes.size() % 2 != 0) sum += static_cast<uint32_t>(bytes.back() << 8);
  return sum;
}
uint16_t folded(uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}
uint32_t pseudo_header(uint32_t source, uint32_t destination, size_t length) {
  return (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff) + 6 +
         static_cast<uint32_t>(length);
}

void read_options(std::span<const uint8_t> options, Tcp& segment) {
  const Reader r(options);
  for (size_t at = 0; at < options.size();) {
    const uint8_t kind = r.u8(at);
    if (kind == 0) return;
    if (kind == 1) {
      ++at;
      continue;
    }
    if (at + 2 > options.size() || r.u8(at + 1) < 2 || at + r.u8(at + 1) > options.size()) return;
    const size_t length = r.u8(at + 1);
    if (kind == 2 && length == 4) segment.mss = r.u16(at + 2);
    if (kind == 3 && length == 3) segment.scale = r.u8(at + 2);
    if (kind == 4 && length == 2) segment.sack_permitted = true;
    if (kind == 5)
      for (size_t block = at + 2; block + 8 <= at + length; block += 8)
        segment.sack.emplace_back(r.u32(block), r.u32(block + 4));
    if (kind == 8 && length == 10) segment.timestamps = {r.u32(at + 2), r.u32(at + 6)};
    at += length;
  }
}

std::vector<uint8_t> options_of(const Tcp& s) {
  std::vector<uint8_t> out;
  if (s.mss) {
    put16(out, 0x0204);
    put16(out, *s.mss);
  }
  if (s.sack_permitted) put32(out, 0x01010402);
  if (s.timestamps) {
    put32(out, 0x0101080a);
    put32(out, s.timestamps->first);
    put32(out, s.timestamps->second);
  }
  if (s.scale) put32(out, 0x01030300U | *s.scale);
  if (!s.sack.empty()) {
    const size_t most = s.timestamps ? 3 : 4;
    const size_t blocks = std::min(most, s.sack.size());
    put32(out, static_cast<uint32_t>(0x01010500U | (2 + 8 * blocks)));
    for (size_t i = 0; i < blocks; ++i) {
      put32(out, s.sack[i].first);
      put32(out, s.sack[i].second);
    }
  }
  return out;
}

}  // namespace

std::optional<Tcp> read_tcp(std::span<const uint8_t> frame) {
  const Reader r(frame);
  if (frame.size() < kEthernet + kIp + kTcp || r.u16(12) != 0x0800 || r.u8(14) != 0x45 || r.u8(23) != 6)
    return std::nullopt;
  const size_t total = r.u16(16);
  if (total < kIp + kTcp || kEthernet + total > frame.size()) return std::nullopt;
  if (folded(sum_of(frame.subspan(kEthernet, kIp))) != 0) return std::nullopt;
  const auto tcp = frame.subspan(kEthernet + kIp, total - kIp);
  Tcp s;
  s.to_mac = r.mac(0);
  s.from_mac = r.mac(6);
  s.source = r.u32(26);
  s.destination = r.u32(30);
  if (folded(sum_of(tcp, pseudo_header(s.source, s.destination, tcp.size()))) != 0) return std::nullopt;
  const Reader t(tcp);
  const size_t header = static_cast<size_t>(t.u8(12) >> 4) * 4;
  if (header < kTcp || header > tcp.size()) return std::nullopt;
  s.source_port = t.u16(0);
  s.destination_port = t.u16(2);
  s.seq = t.u32(4);
  s.ack = t.u32(8);
  s.flags = t.u8(13);
  s.window = t.u16(14);
  read_options(tcp.subspan(kTcp, header - kTcp), s);
  s.payload.assign(tcp.begin() + static_cast<ptrdiff_t>(header), tcp.end());
  return s;
}

bool is_reset(std::span<const uint8_t> frame) {
  constexpr size_t flags = kEthernet + 20 + 13;  // no IPv4 header here has options
  return frame.size() > flags && frame[12] == 8 && frame[13] == 0 && frame[23] == 6 &&
         (frame[flags] & kRst) != 0;
}

std::optional<Arp> read_arp(std::span<const uint8_t> frame) {
  const Reader r(frame);
  if (frame.size() < kEthernet + 28 || r.u16(12) != 0x0806) return std::nullopt;
  return Arp{.to_mac = r.mac(0),
             .from_mac = r.mac(6),
             .operation = r.u16(20),
             .sender_mac = r.mac(22),
             .target_mac = r.mac(32),
             .sender = r.u32(28),
             .target = r.u32(38)};
}

std::vector<uint8_t> write(const Tcp& s) {
  const std::vector<uint8_t> options = options_of(s);
  const size_t tcp_length = kTcp + options.size() + s.payload.size();
  std::vector<uint8_t> out;
  out.reserve(kEthernet + kIp + tcp_length);
  put_mac(out, s.to_mac);
  put_mac(out, s.from_mac);
  put16(out, 0x0800);
  put16(out, 0x4500);
  put16(out, static_cast<uint32_t>(kIp + tcp_length));
  put32(out, 0x4000);  // don't fragment
  put32(out, 0x40060000);
  put32(out, s.source);
  put32(out, s.destination);
  const uint16_t ip_sum = folded(sum_of({out.data() + kEthernet, kIp}));
  out[24] = static_cast<uint8_t>(ip_sum >> 8);
  out[25] = static_cast<uint8_t>(ip_sum);
  put16(out, s.source_port);
  put16(out, s.destination_port);
  put32(out, s.seq);
  put32(out, s.ack);
  put16(out, static_cast<uint32_t>((kTcp + options.size()) / 4) << 12 | s.flags);
  put16(out, s.window);
  put32(out, 0);
  out.insert(out.end(), options.begin(), options.end());
  out.insert(out.end(), s.payload.begin(), s.payload.end());
  const uint16_t sum = folded(
      sum_of({out.data() + kEthernet + kIp, tcp_length}, pseudo_header(s.source, s.destination, tcp_length)));
  out[kEthernet + kIp + 16] = static_cast<uint8_t>(sum >> 8);
  out[kEthernet + kIp + 17] = static_cast<uint8_t>(sum);
  return out;
}

std::vector<uint8_t> write(const Arp& p) {
  std::vector<uint8_t> out;
  put_mac(out, p.to_mac);
  put_mac(out, p.from_mac);
  put16(out, 0x0806);
  put32(out, 0x00010800);
  put32(out, 0x06040000U | p.operation);
  put_mac(out, p.sender_mac);
  put32(out, p.sender);
  put_mac(out, p.target_mac);
  put32(out, p.target);
  return out;
}

}  // namespace understudy::sim

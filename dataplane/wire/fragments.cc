#include "dataplane/wire/fragments.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "dataplane/wire/checksum.h"
#include "dataplane/wire/ethernet.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/wire/ipv6.h"

namespace understudy::wire {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint16_t kMore = 0x2000;
constexpr uint16_t kOffset = 0x1fff;  // in units of 8 bytes
constexpr size_t kUnit = 8;
constexpr uint32_t kPacketMost = 65535;

Bytes packet_in(const rte_mbuf* frame) {
  return Bytes(rte_pktmbuf_mtod(frame, const uint8_t*), rte_pktmbuf_data_len(frame))
      .subspan(std::min<size_t>(sizeof(EthernetHeader), rte_pktmbuf_data_len(frame)));
}

template <class T>
bool take(Bytes bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  return true;
}

uint16_t type_of(const rte_mbuf* frame) {
  EthernetHeader ethernet;
  return take(Bytes(rte_pktmbuf_mtod(frame, const uint8_t*), rte_pktmbuf_data_len(frame)), ethernet)
             ? ethernet.type.get()
             : uint16_t{0};
}

size_t length_of(const Ipv4Header& header) {
  return size_t{4} * (header.version_and_length & 0xf);
}

}  // namespace

FragmentTable::FragmentTable(const Settings& settings, rte_mempool* pool)
    : settings_(settings), pool_(pool), packets_(settings.packets) {}

FragmentTable::~FragmentTable() {
  uint64_t nobody_counts = 0;
  for (Packet& packet : packets_) forget(packet, nobody_counts);
}

bool FragmentTable::is_fragment(const rte_mbuf* frame) {
  const Bytes packet = packet_in(frame);
  if (type_of(frame) == kEtherTypeIpv4) {
    Ipv4Header header;
    return take(packet, header) && (header.flags_and_offset.get() & (kMore | kOffset)) != 0;
  }
  Ipv6Header header;
  Ipv6FragmentHeader fragment;
  return type_of(frame) == kEtherTypeIpv6 && take(packet, header) && header.next_header == kFragmentHeader &&
         take(packet.subspan(sizeof header), fragment) && (fragment.offset() != 0 || fragment.more());
}

// False: malformed.
bool FragmentTable::read(const rte_mbuf* frame, Key& key, Piece& piece) {
  const Bytes packet = packet_in(frame);
  size_t begin = 0;
  size_t end = 0;
  if (type_of(frame) == kEtherTypeIpv4) {
    Ipv4Header header;
    if (!take(packet, header)) return false;
    begin = length_of(header);
    end = header.total_length.get();
    if (header.version_and_length >> 4 != 4 || begin < sizeof header || end < begin || end > packet.size() ||
        checksum_finish(checksum_add(0, packet.first(begin))) != 0)
      return false;
    key = {IpAddress::v4(header.source.get()), IpAddress::v4(header.destination.get()),
           header.identification.get(), header.protocol, true};
    piece.offset = static_cast<uint32_t>((header.flags_and_offset.get() & kOffset) * kUnit);
    piece.more = (header.flags_and_offset.get() & kMore) != 0;
  } else {
    Ipv6Header header;
    Ipv6FragmentHeader fragment;
    if (!take(packet, header) || !take(packet.subspan(sizeof header), fragment)) return false;
    begin = sizeof header + sizeof fragment;
    end = sizeof header + header.payload_length.get();
    if (header.version() != 6 || end < begin || end > packet.size()) return false;
    key = {IpAddress(header.source), IpAddress(header.destination), fragment.identification.get(), 0, false};
    piece.offset = static_cast<uint32_t>(fragment.offset());
    piece.more = fragment.more();
  }
  piece.data = static_cast<uint16_t>(sizeof(EthernetHeader) + begin);
  piece.length = static_cast<uint16_t>(end - begin);
  // All but the last end where another one may begin.
  return piece.length > 0 && (!piece.more || piece.length % kUnit == 0) && piece.end() <= kPacketMost;
}

void FragmentTable::forget(Packet& packet, uint64_t& reason) {
  for (size_t i = 0; i < packet.count; ++i) rte_pktmbuf_free(packet.pieces[i].frame);
  reason += packet.count;
  packet.count = 0;
  packet.taken = false;
}

void FragmentTable::expire(Instant now) {
  for (Packet& packet : packets_)
    if (packet.taken && packet.since + settings_.timeout <= now) forget(packet, counters_.late);
}

uint32_t FragmentTable::packets() const {
  return static_cast<uint32_t>(std::ranges::count_if(packets_, [](const Packet& p) { return p.taken; }));
}

FragmentTable::Packet& FragmentTable::packet_of(const Key& key, Instant now) {
  const auto known = std::ranges::find_if(packets_, [&](const Packet& p) { return p.taken && p.key == key; });
  if (known != packets_.end()) return *known;
  auto place = std::ranges::find_if(packets_, [](const Packet& p) { return !p.taken; });
  if (place == packets_.end()) {
    place = std::ranges::min_element(packets_, {}, &Packet::since);
    forget(*place, counters_.late);
  }
  place->taken = true;
  place->refused = false;
  place->key = key;
  place->since = now;
  place->total = kUnknown;
  return *place;
}

// Nothing of it is used; its place stays taken, so that what follows finds this out.
void FragmentTable::refuse(Packet& packet, const Piece& piece, uint64_t& reason) {
  forget(packet, reason);
  packet.taken = packet.refused = true;
  rte_pktmbuf_free(piece.frame);
  ++reason;
}

rte_mbuf* FragmentTable::add(rte_mbuf* frame, Instant now) {
  expire(now);
  Key key;
  Piece piece;
  piece.frame = frame;
  if (!read(frame, key, piece)) {
    ++counters_.malformed;
    rte_pktmbuf_free(frame);
    return nullptr;
  }
  Packet& packet = packet_of(key, now);
  if (packet.refused) {
    refuse(packet, piece, counters_.overlapping);
    return nullptr;
  }
  for (size_t i = 0; i < packet.count; ++i) {
    const Piece& other = packet.pieces[i];
    if (piece.end() <= other.offset || other.end() <= piece.offset) continue;
    const bool is_copy =
        piece.offset == other.offset && piece.length == other.length && piece.more == other.more &&
        std::memcmp(rte_pktmbuf_mtod_offset(piece.frame, const uint8_t*, piece.data),
                    rte_pktmbuf_mtod_offset(other.frame, const uint8_t*, other.data), piece.length) == 0;
    if (is_copy)
      rte_pktmbuf_free(frame);
    else
      refuse(packet, piece, counters_.overlapping);
    return nullptr;
  }
  const bool contradicts =
      (!piece.more && packet.total != kUnknown) || (packet.total != kUnknown && piece.end() > packet.total) ||
      (!piece.more && std::ranges::any_of(packet.pieces.begin(), packet.pieces.begin() + packet.count,
                                          [&](const Piece& other) { return other.end() > piece.end(); }));
  if (contradicts) {
    refuse(packet, piece, counters_.overlapping);
    return nullptr;
  }
  if (packet.count == kFragmentsMost) {
    refuse(packet, piece, counters_.large);
    return nullptr;
  }
  packet.pieces[packet.count++] = piece;
  if (!piece.more) packet.total = piece.end();
  uint32_t held = 0;
  for (size_t i = 0; i < packet.count; ++i) held += packet.pieces[i].length;
  return held == packet.total ? put_together(packet) : nullptr;
}

// The headers of the first fragment, less what says that it is one, and the bytes of all.
rte_mbuf* FragmentTable::put_together(Packet& packet) {
  std::ranges::sort(packet.pieces.begin(), packet.pieces.begin() + packet.count, {}, &Piece::offset);
  const Piece& first = packet.pieces[0];
  const size_t headers = packet.key.is_v4 ? first.data : first.data - sizeof(Ipv6FragmentHeader);
  rte_mbuf* whole = rte_pktmbuf_alloc(pool_);
  const size_t length = headers + packet.total;
  if (whole == nullptr || length > rte_pktmbuf_tailroom(whole) ||
      length - sizeof(EthernetHeader) > kPacketMost) {
    rte_pktmbuf_free(whole);
    forget(packet, counters_.large);
    return nullptr;
  }
  auto* to = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(whole, static_cast<uint16_t>(length)));
  const auto* from = rte_pktmbuf_mtod(first.frame, const uint8_t*);
  std::memcpy(to, from, headers);
  uint8_t* ip = to + sizeof(EthernetHeader);
  if (packet.key.is_v4) {
    Ipv4Header header;
    std::memcpy(&header, ip, sizeof header);
    header.total_length.set(static_cast<uint16_t>(length - sizeof(EthernetHeader)));
    header.flags_and_offset.set(0);
    header.checksum.set(0);
    std::memcpy(ip, &header, sizeof header);
    header.checksum.set(checksum_finish(checksum_add(0, {ip, length_of(header)})));
    std::memcpy(ip, &header, sizeof header);
  } else {
    Ipv6Header header;
    Ipv6FragmentHeader fragment;
    std::memcpy(&header, ip, sizeof header);
    std::memcpy(&fragment, from + sizeof(EthernetHeader) + sizeof header, sizeof fragment);
    header.next_header = fragment.next_header;
    header.payload_length.set(static_cast<uint16_t>(packet.total));
    std::memcpy(ip, &header, sizeof header);
  }
  for (size_t i = 0; i < packet.count; ++i) {
    const Piece& piece = packet.pieces[i];
    std::memcpy(to + headers + piece.offset, rte_pktmbuf_mtod_offset(piece.frame, const uint8_t*, piece.data),
                piece.length);
  }
  uint64_t not_dropped = 0;
  forget(packet, not_dropped);
  ++counters_.reassembled;
  return whole;
}

}  // namespace understudy::wire

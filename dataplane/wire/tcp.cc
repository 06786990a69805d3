#include "dataplane/wire/tcp.h"

#include <algorithm>
#include <cstring>

namespace understudy::wire {
namespace {

enum Kind : uint8_t {
  kEndOfOptions = 0,
  kNoOperation = 1,
  kMss = 2,
  kWindowScale = 3,
  kSackPermitted = 4,
  kSack = 5,
  kTimestamps = 8
};

constexpr size_t kMssLength = 4;
constexpr size_t kWindowScaleLength = 3;
constexpr size_t kSackPermittedLength = 2;
constexpr size_t kTimestampsLength = 10;
constexpr size_t kSackBlockLength = 8;

template <class Rep>
Rep load(const uint8_t* at) {
  BigEndian<Rep> value;
  std::memcpy(&value, at, sizeof value);
  return value.get();
}

TcpOptions::Timestamps load_timestamps(const uint8_t* body) {
  return {load<uint32_t>(body), load<uint32_t>(body + 4)};
}

bool parse_sack(std::span<const uint8_t> body, TcpOptions& options) {
  const size_t count = body.size() / kSackBlockLength;
  if (count == 0 || count > options.sack.size() || body.size() % kSackBlockLength != 0) return false;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* block = body.data() + i * kSackBlockLength;
    options.sack[i] = {Seq(load<uint32_t>(block)), Seq(load<uint32_t>(block + 4))};
  }
  options.sack_count = static_cast<uint8_t>(count);
  return true;
}

// `body` is what follows kind and length. False when its length does not fit a kind that we know.
bool parse_option(uint8_t kind, std::span<const uint8_t> body, TcpOptions& options) {
  switch (kind) {
    case kMss:
      if (body.size() != kMssLength - 2) return false;
      options.mss = load<uint16_t>(body.data());
      return true;
    case kWindowScale:
      if (body.size() != kWindowScaleLength - 2) return false;
      options.window_scale = body[0];
      return true;
    case kSackPermitted:
      if (body.size() != kSackPermittedLength - 2) return false;
      options.sack_permitted = true;
      return true;
    case kSack:
      return parse_sack(body, options);
    case kTimestamps:
      if (body.size() != kTimestampsLength - 2) return false;
      options.timestamps = load_timestamps(body.data());
      return true;
    default:
      return true;
  }
}

// Appends to the options of a segment; keeps count of what has been written.
class Writer {
 public:
  explicit Writer(std::span<uint8_t, kTcpOptionsMax> out) : out_(out) {}
  void byte(uint8_t value) { out_[length_++] = value; }
  void begin(Kind kind, size_t length) {
    byte(kind);
    byte(static_cast<uint8_t>(length));
  }
  template <class Rep>
  void number(Rep host) {
    const BigEndian<Rep> value(host);
    std::memcpy(out_.data() + length_, &value, sizeof value);
    length_ += sizeof value;
  }
  void padding(size_t count) {
    for (; count > 0; --count) byte(kNoOperation);
  }
  size_t length() const { return length_; }

 private:
  std::span<uint8_t, kTcpOptionsMax> out_;
  size_t length_ = 0;
};

void write_sack(const TcpOptions& options, Writer& writer) {
  constexpr size_t kOverhead = 4;  // two for alignment, kind, length
  const size_t room = kTcpOptionsMax - writer.length();
  if (room < kOverhead + kSackBlockLength) return;
  const size_t wanted = std::min<size_t>(options.sack_count, options.sack.size());
  const size_t count = std::min(wanted, (room - kOverhead) / kSackBlockLength);
  if (count == 0) return;
  writer.padding(2);
  writer.begin(kSack, 2 + count * kSackBlockLength);
  for (size_t i = 0; i < count; ++i) {
    writer.number(options.sack[i].left.raw());
    writer.number(options.sack[i].right.raw());
  }
}

void write_timestamps(const TcpOptions::Timestamps& timestamps, Writer& writer) {
  writer.begin(kTimestamps, kTimestampsLength);
  writer.number(timestamps.value);
  writer.number(timestamps.echo_reply);
}

void write_window_scale(uint8_t shift, Writer& writer) {
  writer.padding(1);
  writer.begin(kWindowScale, kWindowScaleLength);
  writer.byte(shift);
}

void write_like_linux(const TcpOptions& options, Writer& writer) {
  // SACK-permitted takes the place of the timestamps' padding.
  if (options.sack_permitted) {
    if (!options.timestamps) writer.padding(2);
    writer.begin(kSackPermitted, kSackPermittedLength);
  }
  if (options.timestamps) {
    if (!options.sack_permitted) writer.padding(2);
    write_timestamps(*options.timestamps, writer);
  }
  if (options.window_scale) write_window_scale(*options.window_scale, writer);
}

void write_like_freebsd(const TcpOptions& options, Writer& writer) {
  if (options.window_scale) write_window_scale(*options.window_scale, writer);
  if (options.sack_permitted) writer.begin(kSackPermitted, kSackPermittedLength);
  if (options.timestamps) {
    if (!options.sack_permitted) writer.padding(2);
    write_timestamps(*options.timestamps, writer);
  } else if (options.sack_permitted) {
    writer.byte(kEndOfOptions);
    writer.byte(kEndOfOptions);
  }
}

}  // namespace

bool parse_tcp_options(std::span<const uint8_t> bytes, TcpOptions& options) {
  options = TcpOptions();
  // What nearly every segment of an established connection carries (RFC 7323 appendix A).
  constexpr std::array<uint8_t, 4> kTimestampsOnly = {kNoOperation, kNoOperation, kTimestamps,
                                                      kTimestampsLength};
  if (bytes.size() == 2 + kTimestampsLength &&
      std::memcmp(bytes.data(), kTimestampsOnly.data(), kTimestampsOnly.size()) == 0) {
    options.timestamps = load_timestamps(bytes.data() + kTimestampsOnly.size());
    return true;
  }
  while (!bytes.empty() && bytes[0] != kEndOfOptions) {
    if (bytes[0] == kNoOperation) {
      bytes = bytes.subspan(1);
      continue;
    }
    if (bytes.size() < 2) return false;
    const size_t length = bytes[1];
    if (length < 2 || length > bytes.size()) return false;
    if (!parse_option(bytes[0], bytes.subspan(2, length - 2), options)) return false;
    bytes = bytes.subspan(length);
  }
  return true;
}

size_t build_tcp_options(const TcpOptions& options, std::span<uint8_t, kTcpOptionsMax> out,
                         SynOptionOrder order) {
  Writer writer(out);
  if (options.mss) {
    writer.begin(kMss, kMssLength);
    writer.number(*options.mss);
  }
  if (order == SynOptionOrder::freebsd_like)
    write_like_freebsd(options, writer);
  else
    write_like_linux(options, writer);
  write_sack(options, writer);
  return writer.length();
}

}  // namespace understudy::wire

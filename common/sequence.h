#pragma once

#include <cstdint>

namespace understudy {

// A TCP sequence number (RFC 9293 section 3.4). Arithmetic is modulo 2^32:
//
//   Seq - Seq       a signed distance, meaningful while both lie within 2^31 of each other
//   Seq + distance  a Seq
//   Seq + Seq       does not compile
//
// There is no operator<: order on a circle is not transitive, so code says before(), after() or
// within() and thereby which neighbourhood it means.
class Seq {
 public:
  constexpr Seq() = default;
  constexpr explicit Seq(uint32_t raw) : raw_(raw) {}
  constexpr uint32_t raw() const { return raw_; }

  friend constexpr bool operator==(Seq, Seq) = default;
  friend constexpr int32_t operator-(Seq a, Seq b) { return static_cast<int32_t>(a.raw_ - b.raw_); }
  friend constexpr Seq operator+(Seq a, int64_t distance) {
    return Seq(a.raw_ + static_cast<uint32_t>(distance));
  }
  friend constexpr Seq operator-(Seq a, int64_t distance) {
    return Seq(a.raw_ - static_cast<uint32_t>(distance));
  }
  constexpr Seq& operator+=(int64_t distance) { return *this = *this + distance; }

 private:
  uint32_t raw_ = 0;
};

constexpr bool before(Seq a, Seq b) {
  return (a - b) < 0;
}
constexpr bool after(Seq a, Seq b) {
  return (a - b) > 0;
}
constexpr bool at_or_before(Seq a, Seq b) {
  return (a - b) <= 0;
}
constexpr bool at_or_after(Seq a, Seq b) {
  return (a - b) >= 0;
}
// first <= s < first + length; length below 2^31.
constexpr bool within(Seq s, Seq first, uint32_t length) {
  return s.raw() - first.raw() < length;
}
constexpr Seq later_of(Seq a, Seq b) {
  return after(b, a) ? b : a;
}
constexpr Seq earlier_of(Seq a, Seq b) {
  return before(b, a) ? b : a;
}

}  // namespace understudy

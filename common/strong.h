#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace understudy {

// A number that is not interchangeable with other numbers: Strong<struct NodeIdTag, uint16_t>.
// Comparable and printable through value(); no arithmetic, because ids are not quantities.
template <class Tag, class Rep>
class Strong {
 public:
  constexpr Strong() = default;
  constexpr explicit Strong(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  friend constexpr auto operator<=>(Strong, Strong) = default;

 private:
  Rep value_ = 0;
};

using NodeId = Strong<struct NodeIdTag, uint16_t>;          // 1..65535, 0 is nobody
using BootId = Strong<struct BootIdTag, uint64_t>;          // drawn at start: one incarnation of a node
using GroupId = Strong<struct GroupIdTag, uint16_t>;        // as configured, the same on every node
using ServiceId = Strong<struct ServiceIdTag, uint16_t>;    // as configured, the same on every node
using PoolId = Strong<struct PoolIdTag, uint16_t>;          // a pool of backends
using BackendId = Strong<struct BackendIdTag, uint16_t>;    // position in its pool, the same on every node
using PortNumber = Strong<struct PortNumberTag, uint16_t>;  // TCP port, host order

// A ballot under which a node owns a group: ordered by counter, then by node.
struct Epoch {
  uint32_t counter = 0;
  NodeId node;
  friend constexpr auto operator<=>(const Epoch&, const Epoch&) = default;
};

}  // namespace understudy

template <class Tag, class Rep>
struct std::hash<understudy::Strong<Tag, Rep>> {
  size_t operator()(understudy::Strong<Tag, Rep> id) const noexcept { return std::hash<Rep>()(id.value()); }
};

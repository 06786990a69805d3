#include "tests/sim/succession.h"

#include <fmt/format.h>

#include "tests/sim/wire_model.h"

namespace understudy::sim {
namespace {

constexpr unsigned kBurst = 32;

}  // namespace

void Succession::held_behind(size_t table, size_t node) {
  std::vector<size_t>& path = paths_[table];
  if (path.empty() || path.back() != node) path.push_back(node);
}

void Succession::hear(size_t node, bool is_arp, uint8_t tcp_flags) {
  const auto found = heard_.find(node);
  if (found == heard_.end()) return;
  Said& said = found->second;
  said.claims += is_arp;
  said.segments += !is_arp;
  said.resets += (tcp_flags & kRst) != 0;
  said.fins += (tcp_flags & kFin) != 0;
}

std::vector<std::string> Succession::complaints() const {
  std::vector<std::string> found;
  for (const auto& [node, said] : heard_)
    if (said.segments > kBurst || said.resets + said.fins + said.claims > 0)
      found.push_back(fmt::format("n{} was back and said {} segments, of these {} RST and {} FIN, and {} ARP",
                                  node + 1, said.segments, said.resets, said.fins, said.claims));
  return found;
}

std::string describe_path(const std::vector<size_t>& path) {
  std::string text;
  for (const size_t node : path) text += fmt::format("{}n{}", text.empty() ? "" : ", then ", node + 1);
  return text;
}

}  // namespace understudy::sim

// What happens to the etcd of a World, and to the ways to it.
#include "tests/sim/world.h"

namespace understudy::sim {
namespace {

using Said = std::pair<int, std::string>;

void spoil(etcd::EtcdWay& way, FaultKind kind) {
  switch (kind) {
    case FaultKind::etcd_refuses:
      way.refuses = true;
      break;
    case FaultKind::etcd_slow:
      way.delay_least = way.delay_most = 60ms;
      break;
    case FaultKind::etcd_deaf:
      way.answer_loss = way.late = 50;
      break;
    case FaultKind::etcd_lies:
      way.lie = [](const Said&) {
        return Said{200, R"({"header":{"cluster_id":"78","revision":"999"},"succeeded":true,)"
                         R"("responses":[{"response_put":{}}]})"};
      };
      break;
    case FaultKind::etcd_old:
      way.lie = [](Said said) {
        const size_t at = said.second.find("\"revision\":\"");
        if (at == std::string::npos) return said;
        const size_t digits = at + 12;
        const size_t end = said.second.find('"', digits);
        for (size_t i = digits; i < end; ++i) said.second[i] = i + 1 == end ? '1' : '0';
        return said;
      };
      break;
    default:
      way.cut = true;
  }
}

}  // namespace

bool World::apply_to_etcd(const Fault& fault) {
  if (settings_.arbiter != config::Arbiter::etcd) return false;
  note_trouble(fault.lasts);
  excuse_everything();
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    if (fault.kind == FaultKind::node_off_etcd && slot != fault.node) continue;
    spoil(etcd_.ways[slot], fault.kind);
    later(fault.lasts, [this, slot] { etcd_.ways[slot] = {}; });
  }
  return true;
}

}  // namespace understudy::sim

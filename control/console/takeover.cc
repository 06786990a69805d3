#include "control/console/takeover.h"

#include <fmt/format.h>

namespace understudy::console {

std::string split_text(const TakeoverView& takeover) {
  return fmt::format("detection {}, decision {}, claim {}, first packet {}; in all {}",
                     span_text(takeover.detection), span_text(takeover.decision), span_text(takeover.claim),
                     span_text(takeover.first_packet), span_text(takeover.total()));
}

Json takeover_json(const TakeoverView& t) {
  Json links = Json::array();
  for (const LinkView& link : t.links)
    links.push_back({{"name", link.name}, {"silent_us", span_json(link.quiet)}});
  return {{"what", t.what},
          {"from", t.from.value()},
          {"from_name", t.from_name},
          {"epoch", {{"counter", t.epoch.counter}, {"node", t.epoch.node.value()}}},
          {"why", t.why},
          {"ago_us", to_us(t.ago)},
          {"detection_us", to_us(t.detection)},
          {"decision_us", to_us(t.decision)},
          {"claim_us", span_json(t.claim)},
          {"first_packet_us", span_json(t.first_packet)},
          {"total_us", span_json(t.total())},
          {"silent", links},
          {"owner_connections", t.owner_legs},
          {"owner_unprotected", t.owner_unprotected},
          {"held", t.legs_held},
          {"lost", t.legs_lost},
          {"handed", t.handed},
          {"cold", t.cold},
          {"signs_of_life", t.signs_of_life},
          {"consent", t.consent},
          {"held_here", t.holdings},
          {"losses", t.losses}};
}

}  // namespace understudy::console

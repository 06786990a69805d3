#include "control/cluster/evidence.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::cluster {
namespace {

std::string milliseconds(Duration span) {
  return fmt::format("{:.1f} ms", static_cast<double>(to_us(span)) / 1000);
}

std::string connections(uint32_t count) {
  return count == 1 ? "1 connection" : fmt::format("{} connections", count);
}

}  // namespace

TakeoverSplit split(const Takeover& t) {
  TakeoverSplit parts;
  parts.detection = t.suspected - t.last_heartbeat;
  parts.decision = t.decided - t.suspected;
  // The clock of a worker's round may be a little older than the moment in which control decided.
  if (t.announced) parts.claim = std::max(*t.announced - t.decided, Duration::zero());
  if (t.announced && t.first_packet)
    parts.first_packet = std::max(*t.first_packet - *t.announced, Duration::zero());
  return parts;
}

std::string tell_what(const Takeover& t) {
  if (t.from == NodeId()) return "first claim";
  return fmt::format("{} {}", t.handed ? "handed over by" : "takeover from", t.from_name);
}

std::string tell_signs_of_life(const Takeover& t) {
  if (t.from == NodeId()) return {};
  if (t.handed) return fmt::format("{} was alive, and stopped after its last word", t.from_name);
  std::string links;
  for (const Evidence::Link& link : t.evidence.links) {
    if (!links.empty()) links += ", ";
    links += link.silent ? fmt::format("{} {}", link.name, milliseconds(*link.silent))
                         : fmt::format("{} never heard", link.name);
  }
  std::string others = "no other node was heard then";
  for (size_t i = 0; i < t.evidence.others.size(); ++i)
    others = i == 0 ? "heard then: " + t.evidence.others[0] : others + ", " + t.evidence.others[i];
  return fmt::format(
      "{} silent when suspected: {}; its workers without progress for {}; its last word of the group: {}; {}",
      t.from_name, links, milliseconds(t.evidence.without_progress), name_of(t.evidence.said), others);
}

std::string tell_consent(const Takeover& t) {
  switch (t.consent) {
    case Consent::handed:
      return fmt::format("{} handed it over: nobody else was asked", t.from_name);
    case Consent::released:
      return fmt::format("{} gave it up: nobody else was asked", t.from_name);
    case Consent::witnessed:
      return fmt::format("a gateway or a backend answered {} after the suspicion began",
                         milliseconds(t.witnessed.value_or(t.suspected) - t.suspected));
    case Consent::alone:
      return "no gateway, no backend and no other node answered: serving alone";
    case Consent::unasked:
      return "neither a gateway nor a backend is configured: nobody was asked";
    case Consent::voted:
      return t.verdict;
  }
  return {};
}

std::string tell_holdings(const Takeover& t) {
  if (t.from == NodeId()) return "nothing: nobody was followed before";
  return fmt::format("{}, the mirror was {}", connections(t.legs_held), name_of(t.held));
}

std::string tell_losses(const Takeover& t) {
  if (t.from == NodeId() && t.legs_lost == 0) return "nothing: there was no owner before";
  if (t.cold)
    return fmt::format("{}: our copies were not up to date (cold takeover)", connections(t.legs_lost));
  if (t.handed) return "nothing: everything was handed over";
  if (t.legs_lost == 0)
    return fmt::format("nothing: {} said last that none of its {} was unprotected", t.from_name,
                       connections(t.evidence.legs));
  return fmt::format("{} of {}: {} said last that they were not protected", t.legs_lost,
                     connections(t.evidence.legs), t.from_name);
}

}  // namespace understudy::cluster

#include <fmt/format.h>

#include "control/config/quantity.h"
#include "control/config/sections.h"

namespace understudy::config {
namespace {

constexpr size_t kMembersFewest = 3;
constexpr size_t kMembersMost = 16;
// One heartbeat on its way, its echo on the way back, and one of either lost.
constexpr int kBeatsInLease = 3;

std::string rounded(Duration duration) {
  return duration_text(std::chrono::duration_cast<std::chrono::milliseconds>(duration));
}

void check_members(Reading& reading, const Config& config) {
  const size_t nodes = config.nodes.size();
  if (nodes < kMembersFewest)
    reading.faults.add(
        reading.places.at("cluster.arbiter"),
        fmt::format("`arbiter: members` needs a majority of at least three nodes, and there {} "
                    "{}: with two, the death of either would leave none; add a node (it need "
                    "not be a successor of any group) or choose `none`",
                    nodes == 1 ? "is" : "are", nodes));
  if (nodes > kMembersMost)
    reading.faults.add(
        reading.places.at("cluster.arbiter"),
        fmt::format("`arbiter: members` is made for at most {} nodes, and there are {}; remove some",
                    kMembersMost, nodes));
}

// What comes of a lease that outlives the suspicion.
std::string waits_in_vain(const ClusterConfig& cluster) {
  const Duration lease = cluster.lease_length();
  const std::string waits = rounded(lease + lease / 100), dead = duration_text(cluster.dead_after());
  if (cluster.arbiter == Arbiter::etcd)
    return fmt::format(
        "others wait {} before they claim its group in etcd; but a silent owner is suspected "
        "after {} already (heartbeat.interval x misses), and its successor would only wait",
        waits, dead);
  return fmt::format(
      "members wait {} before they grant its group to another; but a silent owner is suspected "
      "after {} already (heartbeat.interval x misses), and its successor would only be refused",
      waits, dead);
}

// The promise of one voice follows from the lease alone. These see to it that the cluster is of use with it.
void check_lease(Reading& reading, const ClusterConfig& cluster) {
  const Duration lease = cluster.lease_length();
  const Duration embargo = lease + lease / 100;
  if (embargo > cluster.dead_after())
    reading.faults.add(
        reading.places.at("cluster.lease"),
        fmt::format(
            "an owner may speak for {} after its last echoed heartbeat, so {}; shorten `lease` to {} or "
            "raise `misses`",
            duration_text(lease), waits_in_vain(cluster), rounded(cluster.dead_after() * 4 / 5)));
  const Duration shortest = kBeatsInLease * cluster.heartbeat_interval;
  if (lease < shortest)
    reading.faults.add(
        reading.places.at(cluster.lease > Duration(0) ? "cluster.lease" : "cluster.heartbeat"),
        fmt::format(
            "`lease` ({}) must span {} heartbeats ({} each), or an owner falls silent whenever one of "
            "them or its echo is late; {}",
            duration_text(lease), kBeatsInLease, duration_text(cluster.heartbeat_interval),
            cluster.lease > Duration(0) ? "lengthen it or shorten heartbeat.interval"
                                        : "raise heartbeat.misses to 4 or more"));
  if (cluster.standby_timeout < lease + cluster.heartbeat_interval)
    reading.faults.add(
        reading.places.at("cluster.standby_timeout"),
        fmt::format("an owner that hears nobody would give up its standby after {} already, and fall silent "
                    "itself after {} only (`lease`): then nobody in sync is left to succeed it; raise "
                    "`standby_timeout` to {} or more, a heartbeat beyond the lease, or shorten `lease`",
                    duration_text(cluster.standby_timeout), duration_text(lease),
                    duration_text(lease + cluster.heartbeat_interval)));
}

void check_unused(Reading& reading, const ClusterConfig& cluster) {
  if (cluster.lease > Duration(0))
    reading.faults.add(reading.places.at("cluster.lease"),
                       "`lease` means nothing with `arbiter: none`: two nodes without an arbiter have no "
                       "leases; remove it or choose `arbiter: members` or `etcd`");
}

void check_unused_etcd(Reading& reading, const ClusterConfig& cluster) {
  if (cluster.etcd && cluster.arbiter != Arbiter::etcd)
    reading.faults.add(reading.places.at("cluster.etcd"),
                       "`etcd` means nothing unless `arbiter: etcd` is chosen; remove it or choose that");
}

}  // namespace

void validate_arbiter(Reading& reading, const Config& config) {
  const ClusterConfig& cluster = config.cluster;
  check_unused_etcd(reading, cluster);
  if (cluster.arbiter == Arbiter::none) {
    check_unused(reading, cluster);
    return;
  }
  if (cluster.arbiter == Arbiter::etcd)
    validate_etcd(reading, config);
  else
    check_members(reading, config);
  const std::string_view name = cluster.arbiter == Arbiter::etcd ? "etcd" : "members";
  for (size_t i = 0; i < config.groups.size(); ++i)
    if (config.groups[i].failback == Failback::new_connections)
      reading.faults.add(reading.places.at(fmt::format("groups[{}].failback", i)),
                         fmt::format("`failback: new_connections` has not been shown to work under "
                                     "`arbiter: {}`; choose when_synced, manual or never",
                                     name));
  check_lease(reading, cluster);
  if (cluster.cold_takeover_after < 2 * cluster.dead_after())
    reading.faults.add(
        reading.places.at("cluster.cold_takeover_after"),
        fmt::format("after {} without a node that holds the connections they would be given up, but a node "
                    "counts as dead after {} only; raise `cold_takeover_after` to at least twice that",
                    duration_text(cluster.cold_takeover_after), duration_text(cluster.dead_after())));
}

}  // namespace understudy::config

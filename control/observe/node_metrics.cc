#include "control/observe/node_metrics.h"

#include <array>
#include <functional>

#include <fmt/format.h>

#include "control/observe/open_metrics.h"

namespace understudy::observe {
namespace {

using console::BackendView;
using console::ClusterView;
using console::GroupView;
using console::PortView;
using console::TakeoverView;
using console::WorkerView;

void add_node(OpenMetrics& out, const ClusterView& cluster) {
  out.info("node", "Which node of which cluster this is");
  out.sample({{"cluster", cluster.cluster},
              {"node", cluster.node},
              {"id", std::to_string(cluster.id.value())},
              {"boot", fmt::format("{:016x}", cluster.boot.value())}},
             uint64_t{1});
}

void add_peers(OpenMetrics& out, const ClusterView& cluster) {
  out.gauge("peer_alive", "", "1 if the other node is heard on some link");
  for (const auto& peer : cluster.peers) out.sample({{"peer", peer.name}}, uint64_t{peer.state == "alive"});
  out.gauge("peer_link_silence", "seconds", "Since the other node was last heard on this link");
  for (const auto& peer : cluster.peers)
    for (const auto& link : peer.links)
      if (link.quiet) out.sample({{"peer", peer.name}, {"link", link.name}}, *link.quiet);
}

void add_takeovers(OpenMetrics& out, const ClusterView& cluster) {
  out.counter("group_takeovers", "", "Claims of the group by this node since it started");
  for (const GroupView& group : cluster.groups) out.sample({{"group", group.name}}, group.takeovers);
  out.counter("group_connections_lost", "", "Connections that were lost in these claims");
  for (const GroupView& group : cluster.groups) out.sample({{"group", group.name}}, group.connections_lost);
  out.gauge(
      "group_last_takeover", "seconds",
      "Parts of this node's last takeover, from the last sign of life of the old owner to the first packet");
  for (const GroupView& group : cluster.groups) {
    if (!group.last_takeover) continue;
    const TakeoverView& t = *group.last_takeover;
    const auto part = [&](std::string_view name, const std::optional<Duration>& span) {
      if (span) out.sample({{"group", group.name}, {"part", name}}, *span);
    };
    part("detection", t.detection);
    part("decision", t.decision);
    part("claim", t.claim);
    part("first_packet", t.first_packet);
  }
}

void add_groups(OpenMetrics& out, const ClusterView& cluster) {
  out.gauge("group_owned", "", "1 if this node owns the group");
  for (const GroupView& group : cluster.groups)
    out.sample({{"group", group.name}}, uint64_t{group.state.starts_with("owner(")});
  out.gauge("group_state", "", "1 for the state of this node's failover machine");
  for (const GroupView& group : cluster.groups)
    out.sample({{"group", group.name}, {"state", group.state}}, uint64_t{1});
  out.gauge("group_epoch", "", "Counter of the epoch under which the group is owned");
  for (const GroupView& group : cluster.groups)
    out.sample({{"group", group.name}}, uint64_t{group.epoch.counter});
  out.gauge("group_connections", "",
            "Connections owned or mirrored here, and whether the standby holds them");
  for (const GroupView& group : cluster.groups) {
    out.sample({{"group", group.name}, {"protection", "protected"}}, group.protected_legs);
    out.sample({{"group", group.name}, {"protection", "unprotected"}}, group.unprotected_legs);
  }
  add_takeovers(out, cluster);
}

void add_streams(OpenMetrics& out, const ClusterView& cluster) {
  out.gauge("mirror_frames_waiting", "", "Frames of the mirror that the standby has not confirmed");
  for (const auto& stream : cluster.streams)
    out.sample({{"group", stream.group}, {"worker", std::to_string(stream.worker)}}, stream.lag_frames);
  out.counter("mirror_frames_retransmitted", "", "Frames of the present stream that were sent again");
  for (const auto& stream : cluster.streams)
    out.sample({{"group", stream.group}, {"worker", std::to_string(stream.worker)}},
               stream.retransmitted_frames);
}

struct PortCounter {
  std::string_view name, unit, help;
  uint64_t PortView::*value;
};
constexpr std::array kPortCounters = {
    PortCounter{"port_received_frames", "", "Frames received", &PortView::received_frames},
    PortCounter{"port_received", "bytes", "Bytes received", &PortView::received_bytes},
    PortCounter{"port_receive_missed_frames", "", "Frames that the device or the kernel had no room for",
                &PortView::receive_missed},
    PortCounter{"port_receive_dropped_frames", "", "Frames that were unfit when they were received",
                &PortView::receive_dropped},
    PortCounter{"port_transmitted_frames", "", "Frames sent", &PortView::transmitted_frames},
    PortCounter{"port_transmitted", "bytes", "Bytes sent", &PortView::transmitted_bytes},
    PortCounter{"port_transmit_dropped_frames", "", "Frames that the device did not take",
                &PortView::transmit_dropped},
};

void add_ports(OpenMetrics& out, const std::vector<PortView>& ports) {
  out.gauge("port_link_up", "", "1 if the port has a carrier");
  for (const PortView& port : ports) out.sample({{"port", port.name}}, uint64_t{port.link_up});
  for (const PortCounter& counter : kPortCounters) {
    out.counter(counter.name, counter.unit, counter.help);
    for (const PortView& port : ports) out.sample({{"port", port.name}}, port.*counter.value);
  }
}

// Every worker has the same counters in the same order.
void add_engine(OpenMetrics& out, const std::vector<WorkerView>& workers) {
  if (workers.empty()) return;
  for (size_t i = 0; i < workers[0].counters.size(); ++i) {
    const console::CounterView& first = workers[0].counters[i];
    out.counter(fmt::format("tcp_{}", first.name), first.unit, first.text);
    for (const WorkerView& worker : workers)
      out.sample({{"worker", std::to_string(worker.id)}}, worker.counters[i].value);
  }
}

void add_workers(OpenMetrics& out, const std::vector<WorkerView>& workers) {
  const auto each = [&](const std::function<void(const std::string&, const WorkerView&)>& sample) {
    for (const WorkerView& worker : workers) sample(std::to_string(worker.id), worker);
  };
  out.gauge("worker_connections", "", "TCP connections (legs) of the worker, mirrored ones included");
  each([&](const std::string& id, const WorkerView& w) { out.sample({{"worker", id}}, w.connections); });
  out.counter("worker_rounds", "", "Rounds of the worker's loop");
  each([&](const std::string& id, const WorkerView& w) { out.sample({{"worker", id}}, w.loops); });
  out.counter("worker_busy", "seconds", "Time in which the worker did not sleep");
  each([&](const std::string& id, const WorkerView& w) { out.sample({{"worker", id}}, w.busy); });
  out.counter("worker_stalls", "", "Absences of the worker for longer than a heartbeat interval");
  each([&](const std::string& id, const WorkerView& w) { out.sample({{"worker", id}}, w.stalls); });
  out.gauge("worker_longest_stall", "seconds", "Its longest absence since the node started");
  each([&](const std::string& id, const WorkerView& w) { out.sample({{"worker", id}}, w.longest_stall); });
  out.counter("worker_standby_drops", "", "Times that a standby confirmed nothing for too long");
  each([&](const std::string& id, const WorkerView& w) { out.sample({{"worker", id}}, w.standby_drops); });
  add_engine(out, workers);
}

void add_drops(OpenMetrics& out, const std::vector<console::DropView>& drops) {
  out.counter("dropped_frames", "",
              "Frames that were dropped, by reason; reasons that never occurred are absent");
  for (const auto& drop : drops) out.sample({{"reason", drop.name}}, drop.frames);
}

void add_backends(OpenMetrics& out, const std::vector<BackendView>& backends) {
  out.gauge("backend_up", "", "1 if the backend's checks succeed");
  for (const BackendView& b : backends) out.sample({{"pool", b.pool}, {"backend", b.name}}, uint64_t{b.up});
}

}  // namespace

std::string node_metrics(console::Source& source) {
  OpenMetrics out;
  const ClusterView cluster = source.cluster();
  add_node(out, cluster);
  add_peers(out, cluster);
  add_groups(out, cluster);
  add_streams(out, cluster);
  add_ports(out, source.ports());
  add_workers(out, source.workers());
  add_drops(out, source.drops());
  add_backends(out, source.backends());
  return out.finish();
}

}  // namespace understudy::observe

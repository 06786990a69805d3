#pragma once

#include "control/console/views.h"

namespace understudy::console {

// One of everything, with values that a test can look for.
class FakeSource final : public Source {
 public:
  ClusterView cluster() override {
    ClusterView view;
    view.cluster = "example";
    view.node = "n1";
    view.id = NodeId(1);
    view.boot = BootId(0xabc);
    view.longest_stall = 1500us;
    view.peers = {{NodeId(2), "n2", BootId(0xdef), "alive", {{"front", 12ms}, {"peer", std::nullopt}}}};
    GroupView group;
    group.id = GroupId(1);
    group.name = "web";
    group.state = "owner(protected)";
    group.why = "node n2 fell silent";
    group.epoch = {7, NodeId(1)};
    group.owner = "n1";
    group.standby = "n2";
    group.standby_state = StandbyState::synced;
    group.protected_legs = 10;
    group.unprotected_legs = 2;
    group.virtual_ips = {*Prefix::parse("10.10.0.10/24")};
    group.arp_policy = "virtual_mac";
    group.mac = *MacAddress::parse("02:55:53:00:00:01");
    group.in_state = 89s;
    group.last_takeover = takeover();
    group.takeovers = 3;
    view.groups = {group};
    view.streams = {{0, "web", NodeId(2), 3, 4096, 1, 800us}};
    return view;
  }
  static TakeoverView takeover() {
    TakeoverView takeover;
    takeover.what = "takeover from n2";
    takeover.from = NodeId(2);
    takeover.from_name = "n2";
    takeover.epoch = {7, NodeId(1)};
    takeover.why = "n2 silent on every link for 100 ms";
    takeover.ago = 90s;
    takeover.detection = 100ms;
    takeover.decision = 2ms;
    takeover.claim = 350us;
    takeover.links = {{"front", 100ms}, {"peer", std::nullopt}};
    takeover.owner_legs = 12;
    takeover.owner_unprotected = takeover.legs_lost = 1;
    takeover.legs_held = 11;
    takeover.signs_of_life = "n2 silent when suspected: front 100.0 ms";
    takeover.consent = "a gateway answered";
    takeover.holdings = "11 connections, the mirror was synced";
    takeover.losses = "1 of 12 connections";
    return takeover;
  }
  std::optional<GroupStoryView> story(const std::string& group) override {
    if (group != "web") return std::nullopt;
    return GroupStoryView{cluster().groups[0],
                          {takeover()},
                          {{90s, "standby(synced)", "suspecting", "n2 silent on every link for 100 ms"}},
                          {{90s, "cluster", "group web: standby(synced) -> suspecting: n2 silent"}}};
  }
  ConnectionsView connections(const ConnectionFilter& filter) override {
    last_filter = filter;
    ConnectionView connection;
    connection.key = {*IpAddress::parse("10.10.0.10"), *IpAddress::parse("10.10.0.100"), PortNumber(80),
                      PortNumber(40000)};
    connection.state = "ESTABLISHED";
    connection.service = "http";
    connection.group = "web";
    connection.is_protected = true;
    connection.partner = FlowKey{*IpAddress::parse("10.20.0.100"), *IpAddress::parse("10.20.0.11"),
                                 PortNumber(5000), PortNumber(80)};
    connection.bytes_held = 1460;
    connection.rtt = 250us;
    ConnectionsView view{copies, {}};
    for (size_t i = 0; i < std::min(copies, filter.limit); ++i) view.connections.push_back(connection);
    return view;
  }
  std::vector<PortView> ports() override {
    PortView port;
    port.name = "front";
    port.device = "net_af_packet0,iface=front";
    port.roles = "front";
    port.link_up = true;
    port.mtu = 1500;
    port.received_frames = 123;
    port.transmitted_bytes = 456789;
    PortView back = port;
    back.name = "back";
    return {port, back};
  }
  std::vector<EventView> events() override { return {{3s, "group web", "learning -> owner(unprotected)"}}; }
  std::vector<DropView> drops() override {
    return {{"tcp_checksum", "TCP checksum wrong", 5}, {"no_route", "no route to the destination", 0}};
  }
  std::vector<WorkerView> workers() override {
    WorkerView worker{0, -1, 1000, 12, 64, 17, 1500us};
    worker.busy = 9s;
    worker.stalls = 2;
    worker.counters = {{"segments_received", "", "Segments received", 12345},
                       {"payload_sent", "bytes", "Payload sent", 67890}};
    return {worker};
  }
  std::vector<BackendView> backends() override {
    return {{"nginx", "b1", *IpAddress::parse("10.20.0.11"), PortNumber(80), false, "refused", 3, 0, 99}};
  }
  std::vector<NeighbourView> neighbours() override {
    return {{*IpAddress::parse("10.10.0.1"), "front", "resolving", std::nullopt, std::nullopt}};
  }
  Result<HandOverView> hand_over(const std::string& group, const std::string& node) override {
    if (group != "web" || node != "n2") return Error{"there is no `" + (group != "web" ? group : node) + "`"};
    return HandOverView{2300us};
  }
  void quit() override { ++quits; }

  size_t copies = 1;
  ConnectionFilter last_filter;
  int quits = 0;
};

}  // namespace understudy::console

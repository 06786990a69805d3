#pragma once

#include <string>
#include <string_view>
#include <vector>

// A good configuration that uses every section; the tests spoil it in one place each.
inline constexpr std::string_view kGood = R"(cluster:
  name: example
  arbiter: none
  heartbeat: {interval: 20ms, misses: 5}
  standby_timeout: 100ms
  in_sync_lease: 60ms
  reset_hold: 3s
  shards: 64
tcp: {receive_buffer: 256KiB}
nodes:
  - name: n1
    id: 1
    workers: 2
    cpus: [0, 1]
    idle: poll
    memory: 256MiB
    connections: 5000
    ports:
      - {name: front, device: "net_af_packet0,iface=front", roles: [front], address: 10.10.0.11/24}
      - {name: back, device: "0000:03:00.0", roles: [back], address: 10.20.0.21/24}
      - {name: peer, device: "net_af_packet2,iface=peer", roles: [peer], mtu: 9000}
  - name: n2
    id: 2
    ports:
      - {name: front, device: "net_af_packet0,iface=front", roles: [front], address: 10.10.0.12/24}
      - {name: back, device: "net_af_packet1,iface=back", roles: [back, peer], address: 10.20.0.22/24}
routes:
  - {to: 0.0.0.0/0, via: 10.10.0.1}
pools:
  - name: nginx
    check: {interval: 1s, timeout: 300ms, rise: 1, fall: 4}
    backends:
      - {name: b1, address: 10.20.0.11, port: 80, weight: 3}
      - {name: b2, address: 10.20.0.12, port: 8080}
groups:
  - name: web
    id: 1
    mac: "02:55:53:00:00:01"
    virtual_ips: [10.10.0.10/24]
    source_addresses: [10.20.0.100/24]
    successors: [n1, n2]
    services:
      - {name: http, ports: 80, application: proxy, pool: nginx, idle_timeout: 5min}
      - {name: echo, ports: 7000-7009, application: echo, protect: no}
  - name: second
    id: 2
    arp: gratuitous
    virtual_ips: [10.10.0.20/24]
    successors: [n2, n1]
    failback: manual
    services:
      - {name: tally, ports: 7777, application: tally}
)";

// kGood with each `from` (which must occur) replaced by its `to` at the first place.
inline std::string spoiled(const std::vector<std::pair<std::string_view, std::string_view>>& changes) {
  std::string text(kGood);
  for (const auto& [from, to] : changes) {
    const size_t at = text.find(from);
    if (at == std::string::npos) return "the test names text that is not in kGood: " + std::string(from);
    text.replace(at, from.size(), to);
  }
  return text;
}

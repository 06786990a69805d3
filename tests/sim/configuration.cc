#include "tests/sim/configuration.h"

#include <cstdio>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "common/check.h"
#include "tests/sim/wire_model.h"

namespace understudy::sim {
namespace {

std::string text_of(unsigned nodes, unsigned workers, uint32_t receive_buffer, config::Arbiter arbiter) {
  std::string text =
      fmt::format("cluster: {{name: simulated, arbiter: {}}}\ntcp: {{receive_buffer: {}KiB}}\nnodes:\n",
                  arbiter == config::Arbiter::members ? "members"
                  : arbiter == config::Arbiter::etcd  ? "etcd, etcd: {endpoints: [\"http://etcd:2379\"]}"
                                                      : "none",
                  receive_buffer / 1024);
  std::string successors;
  for (unsigned n = 1; n <= nodes; ++n) {
    text += fmt::format(R"(  - name: n{0}
    id: {0}
    workers: {1}
    connections: 1000
    ports:
      - {{name: front, device: "net_af_packet0,iface=front", roles: [front], address: 10.10.0.{2}/24}}
      - {{name: back, device: "net_af_packet1,iface=back", roles: [back], address: 10.20.0.{3}/24}}
      - {{name: peer, device: "net_af_packet2,iface=peer", roles: [peer]}}
)",
                        n, workers, 10 + n + (n > 4 ? 100 : 0), 20 + n);
    successors += fmt::format("{}n{}", n == 1 ? "" : ", ", n);
  }
  text += fmt::format(R"(pools:
  - name: web
    check: {{interval: 300ms, timeout: 150ms, rise: 1, fall: 2}}
    backends:
      - {{name: b1, address: 10.20.0.11, port: 80}}
      - {{name: b2, address: 10.20.0.12, port: 80}}
groups:
  - name: web
    id: 1
    mac: "02:55:53:00:00:01"
    virtual_ips: [10.10.0.10/24]
    source_addresses: [10.20.0.100/24]
    successors: [{}]
    services:
      - {{name: http, ports: 80, application: proxy, pool: web, connect_timeout: 3s}}
      - {{name: echo, ports: 7, application: echo}}
      - {{name: discard, ports: 9, application: discard}}
      - {{name: tally, ports: 1117, application: tally}}
)",
                      successors);
  return text;
}

}  // namespace

const config::Config& cluster_configuration(unsigned nodes, unsigned workers, uint32_t receive_buffer,
                                            config::Arbiter arbiter) {
  static std::map<std::tuple<unsigned, unsigned, uint32_t, config::Arbiter>, config::Config> known;
  const std::tuple key{nodes, workers, receive_buffer, arbiter};
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  auto parsed = config::parse(text_of(nodes, workers, receive_buffer, arbiter), "simulated");
  if (const auto* faults = std::get_if<config::Faults>(&parsed)) {
    for (const std::string& line : faults->lines) std::fprintf(stderr, "%s\n", line.c_str());
    invariant(false, "simulator: the configuration of the cluster is faulty");
  }
  return known.emplace(key, std::get<config::Config>(std::move(parsed))).first->second;
}

std::string describe_frame(std::span<const uint8_t> frame) {
  const auto ip = [](uint32_t a) {
    return fmt::format("{}.{}.{}.{}", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
  };
  if (const auto arp = read_arp(frame))
    return fmt::format("ARP {} {} asks for {}", arp->operation == 1 ? "request" : "reply", ip(arp->sender),
                       ip(arp->target));
  if (const auto s = read_tcp(frame)) {
    std::string text =
        fmt::format("{}:{} > {}:{} ", ip(s->source), s->source_port, ip(s->destination), s->destination_port);
    constexpr const char* kLetters = "FSRP.U";
    for (int bit = 0; bit < 6; ++bit)
      if (s->flags >> bit & 1) text += kLetters[bit];
    text += fmt::format(" {}:{} ack {} win {}", s->seq, s->payload.size(), s->ack, s->window);
    if (s->timestamps) text += fmt::format(" ts {}/{}", s->timestamps->first, s->timestamps->second);
    for (const auto& [left, right] : s->sack) text += fmt::format(" sack {}-{}", left, right);
    return text;
  }
  return fmt::format("{} bytes of ethertype {:04x}", frame.size(), frame[12] << 8 | frame[13]);
}

}  // namespace understudy::sim

#include "tests/support/mirrored_pair_node.h"

// What a MirroredPair is made of: two hosts and its nodes.
namespace understudy {
namespace {

const tcp::ShardMap& shards() {
  static const tcp::ShardMap map(4);
  return map;
}

tcp::EngineSettings engine_settings(uint32_t legs, uint32_t chunks, uint32_t receive_buffer) {
  tcp::EngineSettings s;
  s.legs = s.active_legs = legs;
  s.chunks = chunks;
  s.sent_segments = 4096;
  s.receive_buffer = receive_buffer;
  s.time_wait = 10s;  // outlasts a few lost retransmissions of a FIN
  return s;
}

tcp::Service service_on(const IpAddress& address, uint16_t port, tcp::Application& application, uint16_t id) {
  return {.id = ServiceId(id),
          .group = 0,
          .addresses = {address},
          .first_port = PortNumber(port),
          .last_port = PortNumber(port),
          .application = &application};
}

}  // namespace

MirroredPair::Addresses::Addresses(const Settings& settings) {
  const auto choose = [](bool v6, const char* v4_text, const char* v6_text) {
    return *IpAddress::parse(v6 ? v6_text : v4_text);
  };
  client = choose(settings.ipv6_client, "10.10.0.100", "fd00:10::100");
  virtual_ip = choose(settings.ipv6_client, "10.10.0.10", "fd00:10::10");
  source = choose(settings.ipv6_backend, "10.20.0.100", "fd00:20::100");
  backend = choose(settings.ipv6_backend, "10.20.0.11", "fd00:20::11");
}

MirroredPair::Node::Node(MirroredPair& p, const tcp::EngineSettings& settings)
    : pair(p), engine(settings, Secret{{1, 2, 3}}, shards(), test_mbuf_pool(), *this, p.now_) {}

std::unique_ptr<MirroredPair::Node> MirroredPair::make_host(bool is_client) {
  random_.next();  // as in make_node
  auto host = std::make_unique<Node>(*this, engine_settings(64, 4096, settings_.receive_buffer));
  host->conversation = std::make_unique<Conversation>(settings_.plans, is_client, start_);
  host->engine.add_group(GroupId(1), true);
  host->engine.add_address(0, is_client ? addresses_.client : addresses_.backend);
  host->engine.add_service(service_on(is_client ? addresses_.client : addresses_.backend, is_client ? 1 : 80,
                                      *host->conversation, 1));
  return host;
}

std::unique_ptr<MirroredPair::Node> MirroredPair::make_node(uint32_t legs, uint32_t chunks) {
  tcp::EngineSettings settings = engine_settings(legs, chunks, settings_.receive_buffer);
  settings.syn_cookies = settings_.syn_cookies;
  random_.next();  // nodes drew once: seeds that have found something mean what they meant
  auto node = std::make_unique<Node>(*this, settings);
  node->cluster = std::make_unique<Cluster>(*this, node->engine, *node, BootId(next_boot_++));
  mirror::ChannelSender::Settings channel;
  channel.window = settings_.channel_window;
  node->log = std::make_unique<mirror::OwnerLog>(channel, 0, 0, node->engine, test_mbuf_pool(), *node);
  node->engine.add_group(GroupId(1));
  node->engine.add_address(0, addresses_.virtual_ip);
  node->engine.add_address(0, addresses_.source);
  Cluster& c = *node->cluster;
  tcp::Application* applications[] = {&c.proxy, &c.echo, &c.discard, &c.tally};
  for (uint16_t i = 0; i < 4; ++i)
    node->engine.add_service(
        service_on(addresses_.virtual_ip, kPorts[i], *applications[i], static_cast<uint16_t>(i + 1)));
  return node;
}

}  // namespace understudy

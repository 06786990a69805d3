#include "control/config/config.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/config/base.h"

namespace understudy::config {
namespace {

std::string first_fault(const std::variant<Config, Faults>& result) {
  const auto* faults = std::get_if<Faults>(&result);
  return faults == nullptr ? "no fault" : faults->lines.at(0);
}

class SecretFile : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/understudy-config-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& content, mode_t mode) {
    std::ofstream(folder_ + "/" + name) << content;
    chmod((folder_ + "/" + name).c_str(), mode);
  }
  std::variant<Config, Faults> load_with_secret() {
    write("a.yaml", spoiled({{"  arbiter: none", "  arbiter: none\n  secret_file: the.secret"}}), 0644);
    return load(folder_ + "/a.yaml");
  }
  std::string folder_;
};

TEST(Config, MetricsAreServedWhereItSays) {
  EXPECT_FALSE(std::get<Config>(parse(std::string(kGood), "a.yaml")).metrics);
  const auto listens = [](const std::string& where) {
    const auto result =
        parse(spoiled({{"tcp: {receive_buffer: 256KiB}", "metrics: {listen: \"" + where + "\"}"}}), "a.yaml");
    EXPECT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
    const MetricsConfig& metrics = *std::get<Config>(result).metrics;
    return metrics.address.to_string() + " " + std::to_string(metrics.port.value());
  };
  EXPECT_EQ(listens("127.0.0.1:9464"), "127.0.0.1 9464");
  EXPECT_EQ(listens("[::1]:9464"), "::1 9464");
  EXPECT_EQ(listens("0.0.0.0:80"), "0.0.0.0 80");
}

TEST(Config, TheIdOfAnEtcdClusterIsReadAsEtcdShowsIt) {
  const auto id = [](const std::string& text) {
    const auto result = parse(
        spoiled({{"arbiter: none",
                  "arbiter: etcd\n  etcd: {endpoints: [\"http://e1:2379\"], cluster_id: " + text + "}"}}),
        "a.yaml");
    EXPECT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
    const auto* config = std::get_if<Config>(&result);
    return config == nullptr ? 0 : config->cluster.etcd->cluster_id.value_or(0);
  };
  EXPECT_EQ(id("14841639068965178418"), 14841639068965178418U);
  EXPECT_EQ(id("cdf818194e3a8c32"), 14841639068965178418U);
  EXPECT_EQ(id("\"0xCDF818194E3A8C32\""), 14841639068965178418U);
  EXPECT_EQ(id("1234567890123456"), 1234567890123456U) << "without a letter or 0x it is decimal";
}

TEST(Config, ReadsEveryValue) {
  const auto result = parse(std::string(kGood), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  const Config& config = std::get<Config>(result);
  EXPECT_EQ(config.cluster.name, "example");
  EXPECT_EQ(config.cluster.dead_after(), 100ms);
  EXPECT_EQ(config.tcp.receive_buffer, 256U * 1024);
  ASSERT_EQ(config.nodes.size(), 2U);
  const NodeConfig& n1 = config.nodes[0];
  EXPECT_EQ(n1.id, NodeId(1));
  EXPECT_EQ(n1.workers, 2U);
  EXPECT_EQ(n1.cpus, (std::vector<unsigned>{0, 1}));
  EXPECT_EQ(n1.idle, Idle::poll);
  EXPECT_EQ(n1.memory_mb, 256U);
  EXPECT_EQ(n1.connections, 5000U);
  EXPECT_EQ(n1.console_socket, "/run/understudy/n1.sock");
  ASSERT_EQ(n1.ports.size(), 3U);
  EXPECT_TRUE(n1.ports[0].front && !n1.ports[0].back && !n1.ports[0].peer);
  EXPECT_EQ(n1.ports[1].device, "0000:03:00.0");
  EXPECT_TRUE(n1.ports[2].addresses.empty());
  EXPECT_EQ(n1.ports[2].mtu, 9000);
  EXPECT_TRUE(config.nodes[1].ports[1].back && config.nodes[1].ports[1].peer);
  EXPECT_EQ(config.nodes[1].idle, Idle::adaptive);
  EXPECT_EQ(config.find_node("n2"), &config.nodes[1]);
  EXPECT_EQ(config.find_node("n3"), nullptr);
}

TEST(Config, TheTagOfAPort) {
  const auto good = parse(spoiled({{"mtu: 9000", "mtu: 9000, vlan: 12"}}), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(good)) << first_fault(good);
  EXPECT_EQ(std::get<Config>(good).nodes[0].ports[2].vlan, 12);
  EXPECT_EQ(std::get<Config>(good).nodes[0].ports[0].vlan, 0);
  for (const char* bad : {"vlan: 0", "vlan: 4095"})
    EXPECT_NE(first_fault(parse(spoiled({{"mtu: 9000", bad}}), "a.yaml")).find("vlan"), std::string::npos);
}

TEST(Config, WhatBecomesOfFragmentsOnAPort) {
  const auto good = parse(spoiled({{"mtu: 9000", "fragments: reassemble"}}), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(good)) << first_fault(good);
  EXPECT_TRUE(std::get<Config>(good).nodes[0].ports[2].reassembles);
  EXPECT_FALSE(std::get<Config>(good).nodes[0].ports[0].reassembles);
  EXPECT_NE(
      first_fault(parse(spoiled({{"mtu: 9000", "fragments: keep"}}), "a.yaml")).find("drop, reassemble"),
      std::string::npos);
}

TEST(Config, ReadsBothFamiliesSideBySide) {
  const auto result =
      parse(spoiled({{"10.10.0.11/24", "[10.10.0.11/24, \"fd00:10::11/64\"]"},
                     {"10.20.0.21/24", "[10.20.0.21/24, \"[fd00:20::21]/64\"]"},
                     {"10.10.0.12/24", "[\"fd00:10::12/64\", 10.10.0.12/24]"},
                     {"10.20.0.22/24", "[10.20.0.22/24, \"fd00:20::22/64\"]"},
                     {"via: 10.10.0.1}", "via: 10.10.0.1}\n  - {to: \"::/0\", via: \"fd00:10::1\"}"},
                     {"10.20.0.12, port", "\"fd00:20::12\", port"},
                     {"[10.10.0.10/24]", "[10.10.0.10/24, \"fd00:10::10/64\"]"},
                     {"[10.20.0.100/24]", "[10.20.0.100/24, \"fd00:20::100/128\"]"}}),
            "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  const Config& config = std::get<Config>(result);
  const PortConfig& front = config.nodes[0].ports[0];
  ASSERT_EQ(front.addresses.size(), 2U);
  EXPECT_EQ(front.network_with(*IpAddress::parse("10.10.0.10")), &front.addresses[0]);
  EXPECT_EQ(front.network_with(*IpAddress::parse("fd00:10::10")), &front.addresses[1]);
  EXPECT_EQ(front.network_with(*IpAddress::parse("fd00:20::10")), nullptr);
  EXPECT_EQ(config.nodes[0].ports[1].addresses.at(1).to_string(), "fd00:20::21/64")
      << "brackets are left out";
  EXPECT_EQ(config.routes.at(1).destination.to_string(), "::/0");
  EXPECT_EQ(config.routes.at(1).via.to_string(), "fd00:10::1");
  EXPECT_EQ(config.pools[0].backends[1].address.to_string(), "fd00:20::12");
  EXPECT_EQ(config.groups[0].virtual_ips.at(1).to_string(), "fd00:10::10/64");
  EXPECT_EQ(config.groups[0].source_addresses.at(1).to_string(), "fd00:20::100/128");
}

TEST(Config, ReadsPoolsAndGroups) {
  const auto result = parse(std::string(kGood), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  const Config& config = std::get<Config>(result);
  ASSERT_EQ(config.routes.size(), 1U);
  EXPECT_EQ(config.routes[0].destination.length, 0);
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].check.interval, 1s);
  EXPECT_EQ(config.pools[0].check.fall, 4U);
  EXPECT_EQ(config.pools[0].backends[0].weight, 3U);
  EXPECT_EQ(config.pools[0].backends[1].port, PortNumber(8080));
  ASSERT_EQ(config.groups.size(), 2U);
  const GroupConfig& web = config.groups[0];
  EXPECT_EQ(web.mac.to_string(), "02:55:53:00:00:01");
  EXPECT_EQ(web.virtual_ips.at(0).to_string(), "10.10.0.10/24");
  EXPECT_EQ(web.successors, (std::vector<NodeId>{NodeId(1), NodeId(2)}));
  EXPECT_EQ(web.services.at(0).pool, PoolId(0));
  EXPECT_EQ(web.services.at(0).idle_timeout, 5min);
  EXPECT_EQ(web.services.at(1).last_port, PortNumber(7009));
  EXPECT_FALSE(web.services.at(1).protect);
  EXPECT_EQ(config.groups[1].services.at(0).id, ServiceId(2));
  EXPECT_EQ(config.groups[1].arp, ArpPolicy::gratuitous);
  EXPECT_EQ(config.groups[1].failback, Failback::manual);
}

TEST(Config, AGroupWhoseConnectionsStayHasATwin) {
  const auto result = parse(spoiled({{"failback: manual", "failback: new_connections"}}), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  const Config& config = std::get<Config>(result);
  EXPECT_EQ(config.groups_configured(), 2U);
  ASSERT_EQ(config.groups.size(), 3U);
  const GroupConfig& second = config.groups[1];
  const GroupConfig& spare = config.groups[2];
  EXPECT_FALSE(config.groups[0].twin.has_value());
  EXPECT_EQ(second.twin, spare.id);
  EXPECT_EQ(spare.twin, second.id);
  EXPECT_EQ(spare.id, GroupId(3)) << "the first id that no group has";
  EXPECT_TRUE(spare.is_spare);
  EXPECT_TRUE(spare.services.empty());
  EXPECT_EQ(spare.virtual_ips, second.virtual_ips);
  EXPECT_EQ(spare.successors, second.successors);
}

TEST(Config, KeepaliveAndUserTimeoutOfAService) {
  const auto result = parse(spoiled({{"idle_timeout: 5min}",
                                      "idle_timeout: 5min, user_timeout: 30s,\n         "
                                      "keepalive: {idle: 1min, interval: 5s, probes: 4}}"}}),
                            "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  const ServiceConfig& http = std::get<Config>(result).groups[0].services.at(0);
  ASSERT_TRUE(http.keepalive.has_value());
  EXPECT_EQ(http.keepalive->idle, 1min);
  EXPECT_EQ(http.keepalive->interval, 5s);
  EXPECT_EQ(http.keepalive->probes, 4U);
  EXPECT_EQ(http.user_timeout, 30s);
  EXPECT_FALSE(std::get<Config>(result).groups[0].services.at(1).keepalive.has_value());
  EXPECT_EQ(std::get<Config>(result).groups[0].services.at(1).user_timeout, 0s);
}

TEST(Config, AKeepaliveWithoutFiguresBeginsAfterTwoHours) {
  const auto result = parse(spoiled({{"idle_timeout: 5min}", "idle_timeout: 3h, keepalive: {}}"}}), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  const auto& keepalive = std::get<Config>(result).groups[0].services.at(0).keepalive;
  ASSERT_TRUE(keepalive.has_value());
  EXPECT_EQ(keepalive->idle, 2h);
  EXPECT_EQ(keepalive->interval, 75s);
  EXPECT_EQ(keepalive->probes, 9U);
}

TEST(Config, EcnHopLimitAndServiceLimits) {
  const auto result = parse(spoiled({{"{receive_buffer: 256KiB}", "{ecn: request, hop_limit: 32}"},
                                     {"idle_timeout: 5min}", "dscp: 46, connect_timeout: 3s}"}}),
                            "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  const Config& config = std::get<Config>(result);
  EXPECT_EQ(config.tcp.ecn, Ecn::request);
  EXPECT_EQ(config.tcp.hop_limit, 32U);
  EXPECT_EQ(config.groups[0].services.at(0).dscp, 46U);
  EXPECT_EQ(config.groups[0].services.at(0).connect_timeout, 3s);
  EXPECT_EQ(config.groups[0].services.at(1).connect_timeout, 60s);
}

TEST(Config, WithoutSecretFileWarnsAndDerivesFromTheName) {
  const auto a = parse(std::string(kGood), "a.yaml");
  const auto b = parse(spoiled({{"name: example", "name: other"}}), "b.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(a) && std::holds_alternative<Config>(b));
  EXPECT_EQ(std::get<Config>(a).warnings,
            std::vector<std::string>{
                "a.yaml:2:3: the cluster has no `secret_file`, so its secret is its name, which "
                "anyone can guess; good for a trial only"});
  EXPECT_NE(std::get<Config>(a).cluster.secret.bytes, std::get<Config>(b).cluster.secret.bytes);
}

TEST(Config, WarnsOfOneSuccessorAndOfThreeNodes) {
  const auto one = parse(spoiled({{"[n2, n1]", "[n2]"}}), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(one)) << first_fault(one);
  EXPECT_EQ(std::get<Config>(one).warnings.at(0),
            "a.yaml:49:17: group `second` has one successor, so nobody takes over and its connections are "
            "unprotected");
  const auto three =
      parse(spoiled({{"routes:",
                      "  - {name: n3, id: 3, ports: [{name: a, device: net_tap0, roles: [front, "
                      "back, peer], address: 10.10.0.13/24}]}\nroutes:"}}),
            "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Config>(three)) << first_fault(three);
  EXPECT_EQ(
      std::get<Config>(three).warnings.at(0),
      "a.yaml:3:12: `arbiter: none` is made for two nodes; with 3 a split network can leave more than one "
      "owner");
}

TEST(Config, UnreadableFilesAreFaults) {
  EXPECT_EQ(first_fault(load("/nowhere/a.yaml")),
            "/nowhere/a.yaml:1:1: the file cannot be read: No such file or directory; check the path and its "
            "permissions");
  EXPECT_EQ(first_fault(load("/tmp")),
            "/tmp:1:1: the file cannot be read: Is a directory; name a configuration file");
  EXPECT_EQ(first_fault(load("/dev/zero")),
            "/dev/zero:1:1: the file is larger than 4 MiB; name a configuration file");
  EXPECT_EQ(first_fault(parse("", "a.yaml")),
            "a.yaml:1:1: the file is empty; start from one of the samples in conf/");
  EXPECT_EQ(first_fault(parse("&a [*a, *a]", "a.yaml")).substr(0, 9), "a.yaml:1:");
}

TEST(Config, AliasBombIsRefused) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += before + ", ";
    bomb += "]\n";
  }
  EXPECT_NE(first_fault(parse(bomb, "a.yaml")).find("nested too deep or too large"), std::string::npos);
}

TEST_F(SecretFile, KeysTheClusterByItsContent) {
  write("the.secret", "0123456789abcdef", 0600);
  const auto first = load_with_secret();
  write("the.secret", "0123456789abcdeg", 0600);
  const auto second = load_with_secret();
  ASSERT_TRUE(std::holds_alternative<Config>(first)) << first_fault(first);
  ASSERT_TRUE(std::holds_alternative<Config>(second)) << first_fault(second);
  EXPECT_TRUE(std::get<Config>(first).warnings.empty());
  EXPECT_NE(std::get<Config>(first).cluster.secret.bytes, std::get<Config>(second).cluster.secret.bytes);
  EXPECT_EQ(std::get<Config>(load_with_secret()).cluster.secret.bytes,
            std::get<Config>(second).cluster.secret.bytes);
}

TEST_F(SecretFile, ASecondOneIsAccepted) {
  const auto load_two = [&] {
    write("a.yaml",
          spoiled({{"  arbiter: none",
                    "  arbiter: none\n  secret_file: the.secret\n  accept_secret_file: old.secret"}}),
          0644);
    return load(folder_ + "/a.yaml");
  };
  write("the.secret", "0123456789abcdef", 0600);
  write("old.secret", "fedcba9876543210", 0600);
  const auto two = load_two();
  ASSERT_TRUE(std::holds_alternative<Config>(two)) << first_fault(two);
  const seal::KeyRing& keys = std::get<Config>(two).cluster.keys;
  EXPECT_EQ(keys.sealing, seal::cluster_key("0123456789abcdef", "example"));
  EXPECT_EQ(keys.accepted, seal::cluster_key("fedcba9876543210", "example"));
  EXPECT_TRUE(std::get<Config>(two).warnings.empty());
  write("old.secret", "0123456789abcdef", 0600);
  const auto same = load_two();
  ASSERT_TRUE(std::holds_alternative<Config>(same)) << first_fault(same);
  EXPECT_EQ(std::get<Config>(same).warnings.size(), 1U);
  write("old.secret", "too short", 0600);
  EXPECT_EQ(first_fault(load_two()).find(folder_ + "/a.yaml:5:23: the secret file "), 0U)
      << first_fault(load_two());
}

TEST_F(SecretFile, TooShort) {
  write("the.secret", "0123456789abcde", 0600);
  const std::string path = folder_ + "/the.secret";
  EXPECT_EQ(first_fault(load_with_secret()),
            folder_ + "/a.yaml:4:16: the secret file " + path +
                " holds 15 bytes, too few to be one; it needs at least 16: `head -c "
                "32 /dev/urandom > " +
                path + "`");
}

TEST_F(SecretFile, ReadableByOthers) {
  write("the.secret", "0123456789abcdef", 0640);
  const std::string path = folder_ + "/the.secret";
  EXPECT_EQ(first_fault(load_with_secret()),
            folder_ + "/a.yaml:4:16: the secret file " + path +
                " can be read or written by others (mode 640); run `chmod 600 " + path + "`");
}

TEST_F(SecretFile, NotAFile) {
  std::filesystem::create_directory(folder_ + "/the.secret");
  EXPECT_EQ(first_fault(load_with_secret()), folder_ + "/a.yaml:4:16: the secret file " + folder_ +
                                                 "/the.secret is not a regular file; name one");
}

TEST(Samples, EachOneLoads) {
  size_t samples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(UNDERSTUDY_SAMPLES)) {
    if (entry.path().extension() != ".yaml") continue;
    ++samples;
    const auto result = load(entry.path().string());
    EXPECT_TRUE(std::holds_alternative<Config>(result)) << first_fault(result);
  }
  EXPECT_GE(samples, 3U);
}

}  // namespace
}  // namespace understudy::config

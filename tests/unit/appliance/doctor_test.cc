#include "control/appliance/doctor.h"

#include <fstream>

#include <gtest/gtest.h>
#include <stdlib.h>

namespace understudy::appliance {
namespace {

namespace fs = std::filesystem;

// A machine in a folder that lacks nothing; the tests take things away.
class Doctor : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/understudy-doctor-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    machine_.root = pattern;
    machine_.host_name = "n1";
    machine_.features = [this](const std::string&) { return features_; };
    put("proc/self/status", "Name:\tunderstudy\nCapEff:\t000001ffffffffff\n");
    put("proc/self/limits", "Max locked memory         65536                65536                bytes\n");
    put("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse4_2 pclmulqdq aes avx\n");
    put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "256\n");
    put("sys/devices/system/cpu/online", "0-1,3\n");
    put("sys/class/net/front/ifindex", "2\n");
    put("usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_net_af_packet.so.23", "");
    fs::create_directories(machine_.root / "sys/bus/pci/devices/0000:03:00.0");
    fs::create_symlink("../../../bus/pci/drivers/vfio-pci",
                       machine_.root / "sys/bus/pci/devices/0000:03:00.0/driver");
    node_.name = "n1";
    node_.id = NodeId(1);
    node_.mark = {"a.yaml", 3, 5};
    node_.ports = {port("front", "net_af_packet0,iface=front"), port("back", "0000:03:00.0")};
  }
  void TearDown() override { fs::remove_all(machine_.root); }
  void put(const std::string& path, const std::string& content) {
    fs::create_directories((machine_.root / path).parent_path());
    std::ofstream(machine_.root / path) << content;
  }
  static config::PortConfig port(const std::string& name, const std::string& device) {
    config::PortConfig port;
    port.name = name;
    port.device = device;
    port.mark = {"a.yaml", 7, 9};
    return port;
  }
  std::vector<Finding> findings() {
    config::Config config;
    config.file = "a.yaml";
    config.nodes = {node_};
    const auto result = examine(machine_, &config, std::nullopt);
    EXPECT_TRUE(result.ok());
    return result.value();
  }
  using Findings = std::vector<Finding>;
  Machine machine_;
  config::NodeConfig node_;
  std::optional<InterfaceFeatures> features_ = InterfaceFeatures{"veth", {}};
};

TEST_F(Doctor, FindsNothingWhereNothingIsMissing) {
  EXPECT_EQ(findings(), Findings());
  EXPECT_EQ(examine(machine_, nullptr, std::nullopt).value(), Findings());
}

TEST_F(Doctor, Privileges) {
  put("proc/self/status", "CapEff:\t0000000000000000\n");
  EXPECT_EQ(findings(),
            (Findings{{"This process may not open raw sockets and set up interfaces (CAP_NET_RAW, "
                       "CAP_NET_ADMIN).",
                       "sudo understudy ..."},
                      {"Only 65536 bytes of memory may be locked, too few for packet buffers.",
                       "ulimit -l unlimited"}}));
  put("proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n");
  EXPECT_EQ(findings().size(), 1U);
}

TEST_F(Doctor, Instructions) {
  put("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse4_2 pclmulqdq aesy\n");
  EXPECT_EQ(findings(),
            (Findings{{"This processor does not offer AES-NI, PCLMULQDQ and SSE4.2, by which frames between "
                       "nodes are sealed.",
                       "grep -m1 -w aes /proc/cpuinfo    # in a virtual machine: give it the host's "
                       "processor model"}}));
  put("proc/cpuinfo", "processor\t: 0\n");  // nothing is known of it
  EXPECT_EQ(findings(), Findings());
}

TEST_F(Doctor, Hugepages) {
  put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "10\n");
  EXPECT_EQ(findings(),
            (Findings{{"20 MiB of hugepages are free and 512 MiB are wanted; a node runs without them, "
                       "more slowly.",
                       "sudo sysctl -w vm.nr_hugepages=256"}}));
  node_.hugepages = config::Hugepages::never;
  EXPECT_EQ(findings(), Findings());
}

TEST_F(Doctor, Processors) {
  node_.cpus = {1, 2, 3};
  node_.workers = 4;
  EXPECT_EQ(findings(),
            (Findings{{"Node `n1` is to run on processor 2, which this machine does not have online.",
                       "lscpu --extended    # and name one of its processors in `cpus` (a.yaml:3:5)"},
                      {"Node `n1` has 4 workers, and this machine has 3 processors.",
                       "nproc    # and lower `workers` (a.yaml:3:5)"}}));
}

TEST_F(Doctor, InterfaceMissing) {
  fs::remove_all(machine_.root / "sys/class/net/front");
  EXPECT_EQ(findings(), (Findings{{"Port `front` wants the interface `front`, which is not here.",
                                   "ip link    # and name one of its interfaces in `device` (a.yaml:7:9)"}}));
}

TEST_F(Doctor, Offloads) {
  features_ = InterfaceFeatures{"veth", {"tx", "gro"}};
  EXPECT_EQ(findings(),
            (Findings{{"The veth interface `front` has tx, gro on: its kernel side sends frames without "
                       "checksums or larger than the MTU.",
                       "sudo ethtool -K front tx off gro off"}}));
  features_->driver = "ixgbe";
  EXPECT_EQ(findings(), Findings());
}

TEST_F(Doctor, PciDevice) {
  const fs::path device = machine_.root / "sys/bus/pci/devices/0000:03:00.0";
  fs::remove(device / "driver");
  const std::string cure = "sudo modprobe vfio-pci && sudo dpdk-devbind.py --bind=vfio-pci 0000:03:00.0";
  EXPECT_EQ(
      findings(),
      (Findings{
          {"The PCI device 0000:03:00.0 of port `back` is bound to no driver, where DPDK cannot use it.",
           cure}}));
  fs::create_symlink("../drivers/ixgbe", device / "driver");
  EXPECT_EQ(
      findings(),
      (Findings{{"The PCI device 0000:03:00.0 of port `back` is bound to `ixgbe`, where DPDK cannot use it.",
                 cure}}));
  fs::remove_all(device);
  EXPECT_EQ(findings(),
            (Findings{{"Port `back` wants the PCI device 0000:03:00.0, which is not here.",
                       "lspci -D | grep -i ethernet    # and name one in `device` (a.yaml:7:9)"}}));
}

TEST_F(Doctor, Driver) {
  fs::remove_all(machine_.root / "usr");
  EXPECT_EQ(findings(), (Findings{{"DPDK's driver `net_af_packet` of port `front` is not installed.",
                                   "sudo apt-get install dpdk libdpdk-dev"}}));
}

TEST_F(Doctor, WhichNodeIsMeant) {
  config::Config config;
  config.file = "a.yaml";
  config.nodes = {node_, node_};
  config.nodes[1].name = "n2";
  EXPECT_TRUE(examine(machine_, &config, std::nullopt).ok());  // named as the host
  machine_.host_name = "elsewhere";
  EXPECT_EQ(examine(machine_, &config, std::nullopt).message(),
            "a.yaml has several nodes; say with --node which this machine is to be: n1, n2");
  EXPECT_EQ(examine(machine_, &config, "n3").message(), "a.yaml has no node `n3`; choose from: n1, n2");
  EXPECT_TRUE(examine(machine_, &config, "n2").ok());
}

TEST(DoctorHere, LooksAtTheRealMachine) {
  EXPECT_TRUE(examine(Machine::this_one(), nullptr, std::nullopt).ok());
}

}  // namespace
}  // namespace understudy::appliance

#include "dataplane/dpdk/device.h"

#include <gtest/gtest.h>

namespace understudy {
namespace {

struct Completed {
  Device device;
  uint16_t mtu;
};

Completed complete(std::string_view text, uint32_t interface_mtu, uint16_t frame_room = 2048) {
  Device device = parse_device(text).value();
  const uint16_t mtu = complete_device(device, interface_mtu, frame_room).value();
  return {device, mtu};
}

TEST(Device, PciAddressesGetTheirDomain) {
  auto device = parse_device("03:00.1");
  ASSERT_TRUE(device.ok());
  EXPECT_EQ(device.value().kind, DeviceKind::pci);
  EXPECT_EQ(device.value().name, "0000:03:00.1");
  EXPECT_EQ(parse_device("0001:03:00.1").value().name, "0001:03:00.1");
}

TEST(Device, VdevStringsAreTakenApart) {
  auto device = parse_device("net_af_packet0,iface=front,framecnt=512");
  ASSERT_TRUE(device.ok());
  EXPECT_EQ(device.value().kind, DeviceKind::af_packet);
  EXPECT_EQ(device.value().argument("iface"), "front");
  EXPECT_EQ(device.value().argument_text(), "iface=front,framecnt=512");
  EXPECT_EQ(parse_device("net_af_xdp_1,iface=x").value().kind, DeviceKind::af_xdp);
  EXPECT_EQ(parse_device("net_ring0").value().kind, DeviceKind::other_vdev);
}

TEST(Device, WhatIsNoDeviceIsRefusedWithASentence) {
  for (const char* text :
       {"", "03:00", "net_af_packet0", "net_af_packet0,iface=", "net_ring0,x", "net_ring0,=1", "Net0"})
    EXPECT_FALSE(parse_device(text).ok()) << text;
  EXPECT_NE(parse_device("net_af_xdp0").message().find("iface=NAME"), std::string::npos);
}

TEST(Device, AfPacketGetsARingForABurst) {
  const Completed port = complete("net_af_packet0,iface=a", 1500);
  EXPECT_EQ(port.mtu, 1500);
  EXPECT_EQ(port.device.argument("framesz"), "2048");
  EXPECT_EQ(port.device.argument("blocksz"), "65536");
  EXPECT_EQ(port.device.argument("framecnt"), "4096");
  EXPECT_EQ(port.device.argument("qdisc_bypass"), "0");
}

TEST(Device, AfPacketIsLimitedByItsBuffers) {
  EXPECT_EQ(complete("net_af_packet0,iface=a", 9000).mtu, 1964);
  const Completed jumbo = complete("net_af_packet0,iface=a", 9000, 16384);
  EXPECT_EQ(jumbo.mtu, 9000);
  EXPECT_EQ(jumbo.device.argument("framesz"), "16384");
  EXPECT_EQ(jumbo.device.argument("framecnt"), "1024");
  EXPECT_LT(complete("net_af_packet0,iface=lo", 65536, 65000).mtu, 65536u - 1);
}

TEST(Device, WhatTheOperatorSaysStays) {
  const Completed port = complete("net_af_packet0,iface=a,framecnt=64,framesz=1024,qdisc_bypass=1", 1500);
  EXPECT_EQ(port.device.argument("framecnt"), "64");
  EXPECT_EQ(port.device.argument("qdisc_bypass"), "1");
  EXPECT_EQ(port.mtu, 1024 - 84);
}

TEST(Device, RingsThatCannotBeAreRefused) {
  for (const char* text :
       {"net_af_packet0,iface=a,framesz=4096", "net_af_packet0,iface=a,framesz=x",
        "net_af_packet0,iface=a,framesz=2000,blocksz=4096", "net_af_packet0,iface=a,blocksz=1000"}) {
    Device device = parse_device(text).value();
    EXPECT_FALSE(complete_device(device, 1500, 2048).ok()) << text;
  }
}

TEST(Device, AfXdpCarriesNoMoreThanAPage) {
  EXPECT_EQ(complete("net_af_xdp0,iface=a", 9000, 4096).mtu, 3500);
  EXPECT_EQ(complete("net_af_xdp0,iface=a", 9000).mtu, 2034);
  EXPECT_EQ(complete("net_af_xdp0,iface=a", 1500).mtu, 1500);
}

}  // namespace
}  // namespace understudy

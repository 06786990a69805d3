// The shared object as the packetdrill tool uses it: loaded by name, filled table, packets, virtual time.
#include <cerrno>
#include <cstring>
#include <vector>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "tests/conformance/packetdrill_interface.h"

namespace {

TEST(Loading, ConnectsThroughTheTableInVirtualTime) {
  void* object = dlopen(UNDERSTUDY_PACKETDRILL_SO, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  ASSERT_NE(object, nullptr) << dlerror();
  auto* init =
      reinterpret_cast<decltype(&packetdrill_interface_init)>(dlsym(object, "packetdrill_interface_init"));
  ASSERT_NE(init, nullptr);
  PacketdrillInterface t{};
  init("profile=freebsd,sysctls=ignore", &t);
  timeval first{}, second{};
  t.gettimeofday(t.userdata, &first, nullptr);
  t.gettimeofday(t.userdata, &second, nullptr);
  EXPECT_TRUE(timercmp(&first, &second, <)) << "time passes for who waits";

  const int fd = t.socket(t.userdata, AF_INET, SOCK_STREAM, IPPROTO_TCP);
  ASSERT_GE(fd, 0);
  t.fcntl(t.userdata, fd, F_SETFL, long{O_NONBLOCK});
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(8080);
  inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
  EXPECT_EQ(t.connect(t.userdata, fd, reinterpret_cast<sockaddr*>(&to), sizeof to), -1);
  EXPECT_EQ(errno, EINPROGRESS);

  std::vector<uint8_t> packet(2000);
  size_t count = packet.size();
  long long at = 0;
  ASSERT_EQ(t.netdev_receive(t.userdata, packet.data(), &count, &at), 0);
  ASSERT_EQ(count, 60U) << "IP, TCP and the options of a SYN";
  const std::vector<uint8_t> kinds = {packet[40], packet[44], packet[45], packet[48], packet[50]};
  EXPECT_EQ(kinds, (std::vector<uint8_t>{2, 1, 3, 4, 8}))
      << "MSS, NOP, window scale, SACK-permitted, timestamps";

  // Nobody answers: the SYN comes again, a second later in a test that takes none.
  const long long sent_at = at;
  count = packet.size();
  ASSERT_EQ(t.netdev_receive(t.userdata, packet.data(), &count, &at), 0);
  EXPECT_GE(at - sent_at, 1'000'000);
  do {
    count = packet.size();
    ASSERT_EQ(t.netdev_receive(t.userdata, packet.data(), &count, &at), 0);
  } while (count > 0);  // and in the end nothing can ever come
  EXPECT_EQ(t.connect(t.userdata, fd, reinterpret_cast<sockaddr*>(&to), sizeof to), -1);
  EXPECT_EQ(errno, ETIMEDOUT);
  EXPECT_EQ(t.close(t.userdata, fd), 0);
  t.free(t.userdata);
}

}  // namespace

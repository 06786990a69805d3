// The transport against a real etcd-server.
#include "control/etcd/curl_transport.h"

#include <gtest/gtest.h>

#include "tests/unit/etcd/real_etcd.h"

namespace understudy::etcd {
namespace {

TEST_F(Etcd, ReadsAndSwaps) {
  RealEtcd etcd;
  Client client({{etcd.url()}, {}, {}, {}});
  ASSERT_TRUE(client.wait_for_leader());
  const auto nothing = client.read("a/b");
  ASSERT_TRUE(nothing.ok()) << nothing.message();
  EXPECT_EQ(nothing.value().revision, 0);
  const auto made = client.swap("a/b", 0, "first");
  ASSERT_TRUE(made.ok()) << made.message();
  EXPECT_TRUE(made.value().swapped);
  const auto again = client.swap("a/b", 0, "second");
  ASSERT_TRUE(again.ok()) << again.message();
  EXPECT_FALSE(again.value().swapped);
  EXPECT_EQ(again.value().value, "first");
  EXPECT_EQ(again.value().revision, made.value().revision);
  const auto changed = client.swap("a/b", made.value().revision, "third");
  ASSERT_TRUE(changed.ok() && changed.value().swapped);
  const auto read = client.read("a/b");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value().value, "third");
  EXPECT_EQ(read.value().revision, changed.value().revision);
  EXPECT_NE(read.value().cluster, 0U);
}

TEST_F(Etcd, OneThatIsGoneOrStandsStill) {
  RealEtcd etcd;
  Client client({{etcd.url()}, {}, {}, {}});
  ASSERT_TRUE(client.wait_for_leader());
  etcd.pause();
  const Reply silent = client.ask(kRangePath, range_request("a"), 100ms);
  EXPECT_EQ(silent.status, 0);
  EXPECT_TRUE(silent.left) << "it may yet be executed";
  etcd.resume();
  EXPECT_TRUE(client.read("a").ok());
  etcd.stop();
  // The first one may still find the old connection; what it sent there has left.
  client.ask(kRangePath, range_request("a"), 500ms);
  const Reply refused = client.ask(kRangePath, range_request("a"), 500ms);
  EXPECT_EQ(refused.status, 0);
  EXPECT_FALSE(refused.left) << refused.error;
  EXPECT_NE(refused.error.find("Failed to connect"), std::string::npos) << refused.error;
  etcd.start();
  EXPECT_TRUE(client.wait_for_leader());
}

TEST_F(Etcd, OverTlsWithCertificatesOfBothSides) {
  RealEtcd etcd(true);
  Client client({{etcd.url()}, etcd.certificate(), etcd.certificate(), etcd.key()});
  ASSERT_TRUE(client.wait_for_leader());
  EXPECT_TRUE(client.swap("a", 0, "b").ok());
  Client stranger({{etcd.url()}, etcd.other_certificate(), etcd.certificate(), etcd.key()});
  const auto untrusted = stranger.read("a");
  ASSERT_FALSE(untrusted.ok());
  EXPECT_NE(untrusted.message().find("certificate"), std::string::npos) << untrusted.message();
  Client anonymous({{etcd.url()}, etcd.certificate(), {}, {}});
  EXPECT_FALSE(anonymous.read("a").ok());
}

}  // namespace
}  // namespace understudy::etcd

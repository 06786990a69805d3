#include "control/etcd/record.h"

#include <gtest/gtest.h>

#include "control/etcd/own_cluster.h"

namespace understudy::etcd {
namespace {

TEST(EtcdRecord, Base64AsInRfc4648) {
  const std::pair<std::string, std::string> pairs[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"},
                                                       {"\xff\xfe\xfd", "//79"}};
  for (const auto& [plain, text] : pairs) {
    EXPECT_EQ(base64(plain), text);
    EXPECT_EQ(from_base64(text), plain);
  }
  for (const char* wrong : {"Z", "Zg=", "Zg===", "Z===", "=Zg=", "Zg==Zg==", "Zm9*", "Zm 9"})
    EXPECT_FALSE(from_base64(wrong)) << wrong;
}

TEST(EtcdRecord, ComesBackAsItWasWritten) {
  const Record records[] = {
      {}, {{7, NodeId(2)}, NodeId(1), false, "n2-1-5"}, {{1, NodeId(3)}, NodeId(), true, "x"}};
  for (const Record& record : records) EXPECT_EQ(decode_record(encode(record)), record) << encode(record);
}

TEST(EtcdRecord, WhatIsNoRecordIsRefused) {
  for (const char* text : {"", "{}", "7", "[]", "nonsense",
                           R"({"epoch":[1],"owner":1,"in_sync":[1],"released":false,"request":"a"})",
                           R"({"epoch":[1,70000],"owner":1,"in_sync":[],"released":false,"request":"a"})",
                           R"({"epoch":[-1,1],"owner":1,"in_sync":[],"released":false,"request":"a"})",
                           R"({"epoch":[1,1],"owner":2,"in_sync":[],"released":false,"request":"a"})",
                           R"({"epoch":[1,1],"owner":1,"in_sync":[1,2,3],"released":false,"request":"a"})",
                           R"({"epoch":[1,1],"owner":1,"in_sync":["2"],"released":false,"request":"a"})",
                           R"({"epoch":[1,1],"owner":1,"in_sync":[1],"released":0,"request":"a"})",
                           R"({"epoch":[1,1],"owner":1,"in_sync":[1],"released":false})"})
    EXPECT_FALSE(decode_record(text)) << text;
}

TEST(EtcdRecord, TheClustersIdComesBackAsItWasKept) {
  for (const uint64_t id : {uint64_t{1}, uint64_t{0xcdf818194e3a8c32}, UINT64_MAX}) {
    auto bytes = encode_cluster_id(id);
    EXPECT_EQ(decode_cluster_id(bytes), id);
    for (size_t i = 0; i < bytes.size(); ++i) {
      EXPECT_FALSE(decode_cluster_id(std::span(bytes).first(i)));
      auto damaged = bytes;
      damaged[i] ^= 0x80;
      EXPECT_FALSE(decode_cluster_id(damaged));
    }
  }
  for (const std::string text :
       {"etcd cluster_id 0x000000000000004D\n", "etcd cluster_id 0x-00000000000004d\n"})
    EXPECT_FALSE(decode_cluster_id({reinterpret_cast<const uint8_t*>(text.data()), text.size()})) << text;
}

// As etcd 3.4 answers.
const std::string kHeader =
    R"("header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"6","raft_term":"2"})";

TEST(EtcdAnswers, ARead) {
  const auto found =
      parse_range_answer(200,
                         "{" + kHeader + R"(,"kvs":[{"key":"Zm9v","create_revision":"2",)" +
                             R"("mod_revision":"5","version":"3","value":"YmFy"}],"count":"1"})",
                         "foo");
  ASSERT_TRUE(found.ok()) << found.message();
  EXPECT_EQ(found.value().cluster, 14841639068965178418U);
  EXPECT_EQ(found.value().revision, 5);
  EXPECT_EQ(found.value().value, "bar");
  const auto nothing = parse_range_answer(200, "{" + kHeader + "}", "foo");
  ASSERT_TRUE(nothing.ok());
  EXPECT_EQ(nothing.value().revision, 0);
}

TEST(EtcdAnswers, ASwap) {
  const auto done = parse_swap_answer(
      200, "{" + kHeader + R"(,"succeeded":true,"responses":[{"response_put":{"header":{"revision":"6"}}}]})",
      "foo");
  ASSERT_TRUE(done.ok()) << done.message();
  EXPECT_TRUE(done.value().swapped);
  EXPECT_EQ(done.value().revision, 6);
  const auto refused = parse_swap_answer(
      200,
      "{" + kHeader + R"(,"responses":[{"response_range":{"header":{"revision":"6"},"kvs":[{"key":"Zm9v",)" +
          R"("create_revision":"2","mod_revision":"4","version":"1","value":"YmF6"}],"count":"1"}}]})",
      "foo");
  ASSERT_TRUE(refused.ok()) << refused.message();
  EXPECT_FALSE(refused.value().swapped);
  EXPECT_EQ(refused.value().revision, 4);
  EXPECT_EQ(refused.value().value, "baz");
}

TEST(EtcdAnswers, WhatIsNoAnswerIsAnError) {
  const std::string kv = R"(,"kvs":[{"key":"Zm9v","mod_revision":"5","value":"YmFy"}]})";
  for (const std::string& body :
       {std::string(), std::string("<html>"), std::string("{}"), std::string("[]"), std::string("null"),
        "{" + kv.substr(1), "{" + kHeader + R"(,"kvs":[{"key":"YmFy","mod_revision":"5"}]})",
        "{" + kHeader + R"(,"kvs":[{"key":"Zm9v","mod_revision":"0"}]})",
        "{" + kHeader + R"(,"kvs":[{"key":"Zm9v","mod_revision":{}}]})",
        "{" + kHeader + R"(,"kvs":[{"key":"Zm9v","mod_revision":"5","value":"*"}]})",
        "{" + kHeader + R"(,"kvs":{"key":"Zm9v"}})"})
    EXPECT_FALSE(parse_range_answer(200, body, "foo").ok()) << body;
  EXPECT_FALSE(parse_range_answer(503, "{" + kHeader + kv, "foo").ok());
  const auto unavailable = parse_range_answer(
      503, R"({"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14})", "foo");
  EXPECT_EQ(unavailable.message(), "it answers with status 503: etcdserver: no leader");
  for (const std::string& body : {"{" + kHeader + "}", "{" + kHeader + R"(,"succeeded":true})",
                                  "{" + kHeader + R"(,"succeeded":true,"responses":[]})",
                                  "{" + kHeader + R"(,"succeeded":true,"responses":[{"response_range":{}}]})",
                                  "{" + kHeader + R"(,"responses":[{"response_put":{}}]})"})
    EXPECT_FALSE(parse_swap_answer(200, body, "foo").ok()) << body;
}

}  // namespace
}  // namespace understudy::etcd

// Vote frames and the file of promises: as written, so read; anything else is refused.
#include "control/cluster/vote_message.h"

#include <gtest/gtest.h>

#include "control/cluster/kept_promises.h"

namespace understudy::cluster {
namespace {

VoteMessage answer_message() {
  return {
      .kind = VoteMessage::Kind::answer,
      .group = GroupId(9),
      .asker = BootId(0x1122334455667788),
      .question = 77,
      .answer = {{5, NodeId(2)}, VoteReason::not_in_sync, {8, NodeId(3)}, {{4, NodeId(1)}, 6, NodeId(3)}}};
}

TEST(VoteMessage, EveryKindIsReadAsWritten) {
  const TakeoverRequest request{{5, NodeId(2)}, {4, NodeId(1)}, true, {3, NodeId(2)}};
  const InSyncRecord record{{4, NodeId(1)}, 3, NodeId(2)};
  for (const VoteMessage& message :
       {VoteMessage{.kind = VoteMessage::Kind::request,
       .group = GroupId(1),
       .asker = BootId(3),
       .question = 4,
       .request = request,
       .record = record},
        answer_message(),
        VoteMessage{.kind = VoteMessage::Kind::release,
        .group = GroupId(1),
        .request = {.ballot = request.ballot},
        .never_owned = true},
        VoteMessage{.kind = VoteMessage::Kind::record, .group = GroupId(1), .record = record},
        VoteMessage{.kind = VoteMessage::Kind::recorded, .group = GroupId(1), .record = record}}) {
    const auto read = decode_vote_message(encode(message));
    ASSERT_TRUE(read);
    EXPECT_EQ(encode(*read), encode(message));
    EXPECT_EQ(read->kind, message.kind);
  }
  const auto read = decode_vote_message(encode(answer_message()));
  EXPECT_EQ(read->answer.reason, VoteReason::not_in_sync);
  EXPECT_EQ(read->answer.record, answer_message().answer.record);
  EXPECT_EQ(read->question, 77U);
  const auto asked = decode_vote_message(encode({.kind = VoteMessage::Kind::request, .request = request}));
  EXPECT_EQ(asked->request.void_from, request.void_from);
  const auto released = decode_vote_message(
      encode({.kind = VoteMessage::Kind::release, .request = request, .never_owned = true}));
  EXPECT_TRUE(released->never_owned);
}

TEST(VoteMessage, WhatIsCutOrUnknownIsRefused) {
  const auto whole = encode(answer_message());
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(decode_vote_message(std::span(whole).first(length))) << length;
  auto longer = whole;
  longer.push_back(1);
  EXPECT_TRUE(decode_vote_message(longer)) << "a newer node says more";
  for (const size_t at : {size_t{0}, size_t{21}}) {  // the kind, the reason
    auto spoiled = whole;
    spoiled[at] = 200;
    EXPECT_FALSE(decode_vote_message(spoiled)) << at;
  }
}

TEST(KeptPromises, AreReadAsWrittenAndNotWhenDamaged) {
  Promises promises;
  promises[GroupId(1)] = KeptPromise{{7, NodeId(2)}, {{6, NodeId(1)}, 3, NodeId(2)}};
  promises[GroupId(5)] = std::nullopt;
  const auto whole = encode_promises(promises);
  EXPECT_EQ(decode_promises(whole), promises);
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(decode_promises(std::span(whole).first(length)));
  for (size_t at = 0; at < whole.size(); ++at) {
    auto spoiled = whole;
    spoiled[at] ^= 1;
    EXPECT_FALSE(decode_promises(spoiled)) << at;
  }
}

}  // namespace
}  // namespace understudy::cluster

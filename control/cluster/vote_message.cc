#include "control/cluster/vote_message.h"

#include "dataplane/mirror/cluster_bytes.h"

namespace understudy::cluster {
namespace {

using Kind = VoteMessage::Kind;

void write_record(mirror::ByteWriter& out, const InSyncRecord& record) {
  out.epoch(record.epoch);
  out.u32(record.version);
  out.u16(record.standby.value());
}

InSyncRecord read_record(mirror::ByteReader& in) {
  InSyncRecord record;
  record.epoch = in.epoch();
  record.version = in.u32();
  record.standby = NodeId(in.u16());
  return record;
}

void write_body(mirror::ByteWriter& out, const VoteMessage& message) {
  switch (message.kind) {
    case Kind::request:
      out.epoch(message.request.ballot);
      out.epoch(message.request.followed);
      out.boolean(message.request.cold);
      write_record(out, message.record);
      out.epoch(message.request.void_from);
      break;
    case Kind::answer:
      out.epoch(message.answer.ballot);
      out.u8(static_cast<uint8_t>(message.answer.reason));
      out.epoch(message.answer.highest);
      write_record(out, message.answer.record);
      break;
    case Kind::release:
      out.epoch(message.request.ballot);
      out.boolean(message.never_owned);
      break;
    case Kind::record:
    case Kind::recorded:
      write_record(out, message.record);
      break;
  }
}

// The ballot, or the epoch, that the message is about; nothing when it has none or a word of it is unknown.
std::optional<Epoch> read_body(mirror::ByteReader& in, VoteMessage& message) {
  switch (message.kind) {
    case Kind::request:
      message.request.ballot = in.epoch();
      message.request.followed = in.epoch();
      message.request.cold = in.boolean();
      message.record = read_record(in);
      message.request.void_from = in.epoch();
      return message.request.ballot;
    case Kind::answer: {
      message.answer.ballot = in.epoch();
      const uint8_t reason = in.u8();
      if (reason >= kVoteReasons) return std::nullopt;
      message.answer.reason = static_cast<VoteReason>(reason);
      message.answer.highest = in.epoch();
      message.answer.record = read_record(in);
      return message.answer.ballot;
    }
    case Kind::release:
      message.request.ballot = in.epoch();
      message.never_owned = in.boolean();
      return message.request.ballot;
    case Kind::record:
    case Kind::recorded:
      message.record = read_record(in);
      return message.record.epoch;
  }
  return std::nullopt;
}

}  // namespace

std::vector<uint8_t> encode(const VoteMessage& message) {
  mirror::ByteWriter out;
  out.u8(static_cast<uint8_t>(message.kind));
  out.u16(message.group.value());
  out.u64(message.asker.value());
  out.u32(message.question);
  write_body(out, message);
  return out.take();
}

std::optional<VoteMessage> decode_vote_message(std::span<const uint8_t> bytes) {
  mirror::ByteReader in(bytes);
  VoteMessage message;
  const uint8_t kind = in.u8();
  if (kind < static_cast<uint8_t>(Kind::request) || kind > static_cast<uint8_t>(Kind::recorded))
    return std::nullopt;
  message.kind = static_cast<Kind>(kind);
  message.group = GroupId(in.u16());
  message.asker = BootId(in.u64());
  message.question = in.u32();
  const auto subject = read_body(in, message);
  if (!in.ok() || !subject || subject->node == NodeId()) return std::nullopt;
  return message;
}

}  // namespace understudy::cluster

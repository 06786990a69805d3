// Vote frames and the file of promises: any bytes are safe, what was read can be written and read again, and
// a member that is told nonsense by everybody goes back behind a promise only when the candidate to whom it
// was given says that it never owned.
#include "common/check.h"
#include "control/cluster/kept_promises.h"
#include "control/cluster/members_arbiter.h"
#include "tests/fuzz/input.h"

using namespace understudy;

namespace {

constexpr GroupId kGroup{1};

cluster::MembersArbiter::Settings settings() {
  cluster::MembersArbiter::Settings settings;
  settings.self = NodeId(1);
  settings.boot = BootId(7);
  settings.members = {{NodeId(1), "n1"}, {NodeId(2), "n2"}, {NodeId(3), "n3"}};
  settings.groups = {kGroup};
  return settings;
}

void check_codecs(std::span<const uint8_t> bytes) {
  if (const auto message = cluster::decode_vote_message(bytes)) {
    const auto again = cluster::decode_vote_message(cluster::encode(*message));
    invariant(again.has_value() && cluster::encode(*again) == cluster::encode(*message),
              "a vote message changes when it is read");
  }
  if (const auto promises = cluster::decode_promises(bytes)) {
    const auto again = cluster::encode_promises(*promises);
    invariant(cluster::decode_promises(again) == promises, "promises change when they are read");
  }
}

// Whether a node takes back ballots of its own with this.
bool takes_back(std::span<const uint8_t> bytes) {
  const auto message = cluster::decode_vote_message(bytes);
  return message &&
         ((message->kind == cluster::VoteMessage::Kind::release && message->never_owned) ||
          (message->kind == cluster::VoteMessage::Kind::request && message->request.void_from != Epoch()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  cluster::MembersArbiter arbiter(settings(), {}, Instant(1s));
  Instant now{2s};
  Epoch promised;
  for (int steps = 0; steps < 64 && !input.empty(); ++steps) {
    now += Duration(input.byte()) * 1'000'000;
    const ExactCopy copy(input.bytes(input.below(80)));
    check_codecs(copy.span());
    const NodeId from(static_cast<uint16_t>(input.below(4)));
    arbiter.on_vote(from, BootId(input.byte()), copy.span(), now);
    if (input.below(4) == 0)
      arbiter.claim({kGroup, {arbiter.highest(kGroup).counter + 1, NodeId(1)}, {}, false, true}, now);
    arbiter.tick(now);
    for (const auto& action : arbiter.take_actions())
      if (const auto* keep = std::get_if<cluster::Keep>(&action))
        arbiter.on_kept(keep->sequence, input.below(8) != 0, now);
    static_cast<void>(arbiter.take_verdicts());
    const bool may_go_back =
        promised.node == settings().self || (promised.node == from && takes_back(copy.span()));
    invariant(may_go_back || arbiter.member(kGroup).kept().promised >= promised, "a promise went back");
    promised = arbiter.member(kGroup).kept().promised;
  }
  return 0;
}

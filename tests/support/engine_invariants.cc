#include "tests/support/engine_invariants.h"

#include "common/check.h"

namespace understudy::tcp {

// A friend of the engine: sees the lists that only it walks.
class EngineTestAccess {
 public:
  static void check(const Engine& engine) {
    uint32_t soft = 0;
    uint32_t sent = 0;
    uint32_t burdened = 0;
    uint32_t silent = 0;
    for (uint32_t leg = 0; leg < engine.legs_.capacity(); ++leg) {
      silent += engine.is_silent_[leg];
      if (!engine.legs_.is_live(leg)) {
        invariant(!engine.is_silent_[leg], "a leg that is gone is counted as silent");
        continue;
      }
      const Connection& c = engine.legs_[leg];
      check_numbers(engine, c);
      if (c.soft == kNone) continue;
      ++soft;
      const Soft& s = engine.soft_[c.soft];
      invariant(s.leg == leg, "a soft state belongs to another leg");
      sent += check_sent(engine, c, s);
      check_reassembly(engine, c, s);
      burdened += s.burden.kind.has_value();
    }
    invariant(soft == engine.soft_.taken(), "soft states without a leg");
    invariant(sent == engine.sent_.taken(), "records of sent segments without a leg");
    invariant(burdened == engine.embryonic_.size() + engine.stalled_.size(),
              "a queue of burdens has lost count");
    invariant(silent == engine.silent_, "the legs of silent peers are miscounted");
    invariant(engine.sources_.sources() <= burdened + silent, "a source is counted that has nothing");
    invariant(engine.pipes_.pinned() <= engine.pipes_.pinned_max(), "more memory is pinned than is allowed");
  }

 private:
  static void check_numbers(const Engine& engine, const Connection& c) {
    if (!engine.groups_[c.group].voice || !c.resumed) return;
    invariant(at_or_before(c.snd.una, c.snd.nxt), "snd.una beyond snd.nxt");
    if (c.state == State::syn_sent) return;
    invariant(at_or_before(c.rcv.committed, c.rcv.nxt), "more is committed than was received");
    invariant(at_or_before(c.rcv.acked, c.rcv.nxt), "more is acknowledged than was received");
    if (c.rx == kNone) return;
    const Pipe& rx = engine.pipes_[c.rx];
    const Seq expected = receive_seq_of(c, rx.tail) + (c.fin_received ? 1 : 0);
    invariant(c.rcv.nxt == expected, "rcv.nxt is not where the bytes end");
  }

  static uint32_t check_sent(const Engine& engine, const Connection& c, const Soft& s) {
    uint32_t count = 0;
    uint32_t in_flight = 0;
    uint32_t sacked = 0;
    uint32_t lost = 0;
    uint32_t previous = kNone;
    for (uint32_t at = s.sent_first; at != kNone; at = engine.sent_[at].next) {
      const SentSegment& segment = engine.sent_[at];
      invariant(segment.length > 0 && segment.previous == previous, "the list of sent segments is broken");
      if (previous != kNone)
        invariant(segment.begin == engine.sent_[previous].end(), "a hole between sent segments");
      invariant(!(segment.sacked && segment.lost), "a segment is both SACKed and lost");
      if (segment.sacked)
        sacked += segment.length;
      else if (!segment.lost)
        in_flight += segment.length;
      lost += segment.lost;
      previous = at;
      ++count;
    }
    invariant(previous == s.sent_last, "the last sent segment is not the last");
    if (count > 0) {
      invariant(engine.sent_[s.sent_first].begin == c.snd.una, "the sent segments do not begin at snd.una");
      invariant(engine.sent_[s.sent_last].end() == c.snd.nxt, "the sent segments do not end at snd.nxt");
    }
    invariant(in_flight == s.in_flight && sacked == s.sacked_bytes && lost == s.lost_segments,
              "the scoreboard's sums are wrong");
    return count;
  }

  static void check_reassembly(const Engine& engine, const Connection& c, const Soft& s) {
    auto& pipes = const_cast<Engine&>(engine).pipes_;
    uint32_t count = 0;
    uint64_t end = c.rx == kNone ? 0 : pipes[c.rx].tail;
    for (uint32_t at = s.reassembly_first; at != kNone; at = pipes.chunk(at).next) {
      invariant(pipes.chunk(at).length > 0 && pipes.chunk(at).begin >= end, "out-of-order data overlaps");
      end = pipes.chunk(at).end();
      ++count;
    }
    invariant(count == s.reassembly_count, "the out-of-order queue has lost count");
  }
};

}  // namespace understudy::tcp

namespace understudy {

void check_engine(const tcp::Engine& engine) {
  tcp::EngineTestAccess::check(engine);
}

}  // namespace understudy

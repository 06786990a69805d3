// Mirror records into a standby's replica, which then takes over: whatever the records said, the engine must
// be able to live with it. Also the frames of the channel that carries them.
#include "common/check.h"
#include "dataplane/mirror/channel.h"
#include "dataplane/mirror/replica.h"
#include "dataplane/service/stream_applications.h"
#include "tests/fuzz/input.h"
#include "tests/support/engine_invariants.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/segment_bench.h"

using namespace understudy;

namespace {

constexpr BootId kOwnBoot{1};
constexpr BootId kOwnersBoot{2};

struct NoWire final : mirror::FrameSink {
  void transmit_cluster(rte_mbuf* frame) override { rte_pktmbuf_free(frame); }
  void repeat_cluster(rte_mbuf*) override {}
};

tcp::EngineSettings settings() {
  tcp::EngineSettings s;
  s.legs = s.active_legs = 16;
  s.chunks = s.sent_segments = 128;
  s.receive_buffer = 20'000;
  return s;
}

// Frames with the right boots, so that the fuzzer reaches what lies behind.
rte_mbuf* frame_of(std::span<const uint8_t> payload, uint32_t sequence, uint32_t generation) {
  mirror::MirrorDataHeader header{};
  header.to_boot = kOwnBoot.value();
  header.generation = generation;
  header.sequence = sequence;
  std::vector<uint8_t> bytes(sizeof header + payload.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!payload.empty()) std::memcpy(bytes.data() + sizeof header, payload.data(), payload.size());
  return mbuf_from(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const unsigned before = test_mbufs_in_use();
  {
    SegmentBench bench(settings());
    service::Echo echo;
    service::Tally tally;
    bench.serve(7, echo, ServiceId(1));
    bench.serve(80, tally, ServiceId(2));
    bench.engine.group(0).voice = bench.engine.group(0).always_local = false;
    NoWire wire;
    DropCounters drops;
    mirror::Replica replica(bench.engine, 0);
    mirror::ChannelReceiver channel(64, test_mbuf_pool(), wire, drops);
    channel.set_address({.self_boot = kOwnBoot, .peer_boot = kOwnersBoot});
    uint32_t sequence = 1;
    for (int frames = 0; frames < 32 && !input.empty(); ++frames) {
      const uint8_t how = input.byte();
      const auto payload = input.bytes(input.word() % 1500);
      bench.now += 1ms;
      if (how & 0x80) {  // straight to the replica, where a sanitizer sees the end of the records
        const ExactCopy copy(payload);
        replica.on_frame(copy.span(), nullptr, bench.now);
      } else {
        const uint32_t number = how & 0x40 ? sequence + (how & 0x0f) : sequence++;
        rte_mbuf* frame = frame_of(payload, number, how & 0x20 ? 2 : 1);
        const std::span<const uint8_t> bytes(rte_pktmbuf_mtod(frame, const uint8_t*), frame->data_len);
        channel.receive(how & 0x10 ? BootId(3) : kOwnersBoot, bytes, frame, replica, bench.now);
      }
      channel.send_ack_if_due(replica.refused(), bench.now);
    }
    channel.close();
    replica.release(0);
    bench.engine.take_over(0, Epoch{2, NodeId(1)}, bench.now, 100ms);
    bench.keep = false;
    while (bench.engine.sweep(bench.now, 4)) bench.settle();
    bench.settle();
    bench.run_for(5s);
    check_engine(bench.engine);
  }
  invariant(test_mbufs_in_use() == before, "buffers do not come back");
  return 0;
}

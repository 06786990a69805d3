#include "tests/sim/probes.h"

namespace understudy::sim {
namespace {

constexpr std::array<std::string_view, kProbes> kNames = {
#define X(name, text) #name,
    UNDERSTUDY_SIM_PROBES(X)
#undef X
};
constexpr std::array<std::string_view, kProbes> kTexts = {
#define X(name, text) text,
    UNDERSTUDY_SIM_PROBES(X)
#undef X
};

}  // namespace

std::string_view name_of(Probe probe) {
  return kNames[static_cast<size_t>(probe)];
}
std::string_view text_of(Probe probe) {
  return kTexts[static_cast<size_t>(probe)];
}

void Probes::harvest(NodeInProcess& node) {
  for (size_t w = 0; w < node.workers(); ++w) {
    worker::Worker& worker = node.worker(w);
    const tcp::EngineCounters& c = worker.engine().counters();
    hit(Probe::believed, c.believed);
    hit(Probe::resumed, c.resumed);
    hit(Probe::challenge_ack, c.challenge_acks);
    hit(Probe::tail_loss_probe, c.tail_loss_probes);
    hit(Probe::fast_recovery, c.fast_recoveries);
    hit(Probe::timeout, c.timeouts);
    const worker::WorkerStatus& status = worker.status();
    hit(Probe::standby_dropped, status.standby_drops.load());
    hit(Probe::mirror_frame_repeated, status.groups[0].stream_retransmitted.load());
    hit(Probe::mirror_log_full, worker.drops_of(DropReason::mirror_log_full));
    hit(Probe::pool_empty, worker.drops_of(DropReason::mbuf_pool_empty));
    hit(Probe::reset_withheld, worker.drops_of(DropReason::tcp_reset_suppressed));
    hit(Probe::checksum_wrong,
        worker.drops_of(DropReason::tcp_checksum) + worker.drops_of(DropReason::ip_checksum));
    hit(Probe::paws, worker.drops_of(DropReason::tcp_paws));
    hit(Probe::duplicate_payload, worker.drops_of(DropReason::tcp_duplicate));
  }
}

}  // namespace understudy::sim

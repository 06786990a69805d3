// Heartbeats and the header of every cluster frame. What was read can be written and read again.
#include "common/check.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/mirror/heartbeat.h"
#include "tests/fuzz/input.h"

using namespace understudy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ExactCopy copy(data, size);
  if (const auto beat = mirror::decode_heartbeat(copy.span())) {
    invariant(beat->node.value() != 0 && beat->worker < beat->workers, "a heartbeat of nobody");
    invariant(beat->groups.size() <= mirror::kHeartbeatGroupsMax, "more groups than a heartbeat holds");
    const auto bytes = mirror::encode(*beat);
    const auto again = mirror::decode_heartbeat(bytes);
    invariant(again.has_value() && mirror::encode(*again) == bytes, "a heartbeat changes when it is read");
  }
  const auto parsed = mirror::parse_cluster_header(copy.span(), 77);
  if (const auto* view = std::get_if<mirror::ClusterFrameView>(&parsed)) {
    const auto whole = copy.span();
    invariant(view->payload.data() >= whole.data() &&
                  view->payload.data() + view->payload.size() <= whole.data() + whole.size(),
              "a payload outside its frame");
    static_cast<void>(mirror::decode_heartbeat(view->payload));
  }
  return 0;
}

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/result.h"
#include "control/cluster/members_arbiter.h"

namespace understudy::appliance {

// The file in which a node keeps what it promised as a member, or to which etcd cluster it belongs. Writing
// it takes as long as the disk takes, so a thread of its own does it: the control loop hears of the end.
class PromiseKeeper {
 public:
  struct Done {
    uint64_t sequence;
    bool is_kept;
  };
  // Reads what a former life has left, and sees that the folder can be written to. `wake` is called, by the
  // thread, when something is done.
  static Result<std::unique_ptr<PromiseKeeper>> open(const std::string& path, std::function<void()> wake);
  ~PromiseKeeper();

  const cluster::KeptMemory& found() const { return found_; }
  // Replaces the file with these bytes, synced. Of several that wait only the newest is written, and stands
  // for the ones before.
  void keep(const cluster::Keep& keep);
  bool has_done() const { return has_done_.load(std::memory_order_acquire); }
  std::vector<Done> take_done();

 private:
  PromiseKeeper(std::string path, std::function<void()> wake);
  void work();

  std::string path_;
  std::function<void()> wake_;
  cluster::KeptMemory found_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<cluster::Keep> wanted_;
  std::vector<Done> done_;
  std::atomic<bool> has_done_{false};
  bool ends_ = false;
  std::thread thread_;
};

// A file is either what it was or these bytes, also if the machine stops in between.
Status replace_file(const std::string& path, const std::vector<uint8_t>& bytes);

}  // namespace understudy::appliance

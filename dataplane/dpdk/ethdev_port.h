#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "common/result.h"
#include "dataplane/dpdk/device.h"
#include "dataplane/dpdk/network_interface.h"
#include "dataplane/worker/port.h"

struct rte_device;

namespace understudy {

struct EthdevPortSettings {
  std::string device;                   // PCI address, or vdev string
  rte_mempool* pool = nullptr;          // received frames come from here; outlives the port
  uint16_t mtu = 0;                     // upper limit; 0: what the device carries. PCI devices are set to it
  uint16_t receive_descriptors = 2048;  // not for socket ports: framecnt= and the driver say
  uint16_t transmit_descriptors = 1024;
};

// A DPDK device with one queue pair, promiscuous. receive, transmit and reopen belong to one thread (the
// worker that owns the port); carrier, statistics and poll_descriptor may be called by control meanwhile.
class EthdevPort final : public Port {
 public:
  // Control thread, after Eal::start. A vdev is created and belongs to the port; a PCI device must have been
  // probed.
  static Result<std::unique_ptr<EthdevPort>> open(const EthdevPortSettings& settings);
  ~EthdevPort() override;
  EthdevPort(const EthdevPort&) = delete;
  EthdevPort& operator=(const EthdevPort&) = delete;

  uint16_t receive(std::span<rte_mbuf*> frames) override;
  void transmit(std::span<rte_mbuf*> frames) override;
  MacAddress mac() const override { return mac_; }
  uint16_t mtu() const override { return mtu_; }
  PortStatistics statistics() const override;

  // Throws away every frame that the device still holds, in both directions, and starts it anew: the fence
  // that guarantees that nothing queued earlier leaves later. A vdev is created again, a PCI device stopped,
  // reset and started. When it fails the port receives nothing and drops what it is given until a later call
  // succeeds. Takes 50 to 200 ms for a socket port. Changes poll_descriptor().
  Status reopen();
  // Whether the link is up, from the kernel's interface where DPDK's driver does not watch it.
  bool carrier() const;
  // Readable when a frame has come; for poll(2), by anyone. -1: this device has none, poll it.
  int poll_descriptor() const { return descriptor_.load(std::memory_order_relaxed); }
  const Device& device() const { return device_; }  // with the defaults that were filled in

 private:
  // Written by the port's thread, read by any.
  class Counter {
   public:
    void add(uint64_t count) {
      value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<uint64_t> value_{0};
  };

  EthdevPort(EthdevPortSettings settings, Device device);
  Status start();
  Status start_when_free();
  Status create_vdev();
  Status set_up_queues();
  void close();
  rte_mbuf* admit_received(rte_mbuf* frame);
  rte_mbuf* admit_transmitted(rte_mbuf* frame);
  void collect_missed() const;

  const EthdevPortSettings settings_;
  Device device_;
  std::optional<NetworkInterface> interface_;  // of a socket port
  std::set<int> bpf_descriptors_;              // of an af_xdp port
  uint16_t port_id_;
  bool started_ = false;  // the port's thread reads it per burst
  MacAddress mac_;
  uint16_t mtu_ = 0;
  uint32_t frame_max_ = 0;  // mtu_ and the Ethernet header
  std::atomic<int> descriptor_{-1};

  Counter received_frames_, received_bytes_, transmitted_frames_, transmitted_bytes_;
  Counter receive_dropped_, transmit_dropped_;
  mutable std::mutex device_mutex_;     // the device as a whole: reopening against reading its statistics
  mutable uint64_t missed_before_ = 0;  // by earlier incarnations of the device, and by the kernel's ring
};

}  // namespace understudy

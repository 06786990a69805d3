#pragma once

#include <memory>
#include <string>
#include <type_traits>

#include <rte_errno.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "common/check.h"

namespace understudy {

// Values from one thread to another, without a lock: an rte_ring that carries T itself. One producer, one
// consumer.
template <class T>
class Mailbox {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);

 public:
  // `name` is unique in the process; `capacity` a power of two, of which one slot stays empty.
  Mailbox(const std::string& name, unsigned capacity)
      : ring_(rte_ring_create_elem(name.c_str(), sizeof(T), capacity, SOCKET_ID_ANY,
                                   RING_F_SP_ENQ | RING_F_SC_DEQ)) {
    invariant(ring_ != nullptr, "mailbox: no memory for the ring");
  }
  // False when the reader is behind by a whole ring; the caller decides whether to repeat or to count.
  bool send(const T& value) {
    return rte_ring_sp_enqueue_elem(ring_.get(), const_cast<T*>(&value), sizeof(T)) == 0;
  }
  bool receive(T& value) { return rte_ring_sc_dequeue_elem(ring_.get(), &value, sizeof(T)) == 0; }
  bool empty() const { return rte_ring_empty(ring_.get()) != 0; }

 private:
  struct FreeRing {
    void operator()(rte_ring* ring) const { rte_ring_free(ring); }
  };
  std::unique_ptr<rte_ring, FreeRing> ring_;
};

}  // namespace understudy

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/tcp/engine.h"

namespace understudy {

// What a client and the service behind the virtual address are to say to each other.
struct SessionPlan {
  enum class Service : uint8_t { proxy, echo, discard, tally };
  Service service = Service::proxy;
  uint32_t request = 1000;            // bytes from the client
  uint32_t response = 1000;           // bytes from the backend; proxied sessions only
  uint32_t rounds = 1;                // request and response take turns this often; 0: both flow at once
  bool client_closes_early = false;   // half-closes after its last byte, without waiting for the answer
  bool backend_closes_early = false;  // the same at the other end
  Duration start{0};
  Duration second_turn_at{0};                        // the client is silent after its first turn until then
  Duration client_deaf_from{0}, client_deaf_for{0};  // does not read: its window closes
  Duration backend_deaf_from{0}, backend_deaf_for{0};
  uint64_t client_resets_at = UINT64_MAX;  // aborts after this many received bytes
  uint64_t backend_resets_at = UINT64_MAX;
  bool expects_reset() const { return client_resets_at != UINT64_MAX || backend_resets_at != UINT64_MAX; }
};

// One end of a session: what it must still say, and whether what it hears is right, byte by byte.
struct Side {
  const SessionPlan* plan = nullptr;  // a backend's is known from the first byte
  bool is_client = false;
  tcp::LegId leg;
  std::vector<uint8_t> say;
  std::vector<uint8_t> expect;
  size_t said = 0;
  size_t heard = 0;
  uint64_t wrong = 0;
  bool opened = false;
  bool finished = false;       // has closed its direction
  bool peer_finished = false;  // has read the peer's FIN
  bool closed = false;
  bool aborted = false;
  tcp::CloseReason reason = tcp::CloseReason::finished;
  bool complete() const {
    return plan != nullptr && said == say.size() && heard == expect.size() && finished && peer_finished;
  }
};

// The application of a client host and of a backend host: every session of a world, each end by its plan.
class Conversation : public tcp::Application {
 public:
  Conversation(const std::vector<SessionPlan>& plans, bool is_client, Instant start)
      : plans_(plans), is_client_(is_client), start_(start) {}
  std::string_view name() const override { return "conversation"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) override;

  // Client: takes the leg that has just been opened for session `index`.
  bool begin(tcp::Engine& engine, uint32_t leg, size_t index);
  void pump(tcp::Engine& engine, Instant now);  // reads and writes on where that has become possible
  Side* of_session(size_t index);               // the end that has heard or said something; null if none has
  Side* of_leg(tcp::LegId leg);
  const std::vector<std::string>& faults() const { return faults_; }

  static std::vector<uint8_t> request_of(const SessionPlan& plan, size_t index);
  static std::vector<uint8_t> response_of(const SessionPlan& plan, size_t index);

 private:
  Side& add(tcp::Engine& engine, uint32_t leg);
  void read(tcp::Engine& engine, Side& side, Instant now, bool even_if_deaf = false);
  void write(tcp::Engine& engine, Side& side, Instant now);
  void identify(Side& side, uint8_t first);
  bool is_deaf(const Side& side, Instant now) const;
  size_t allowed(const Side& side, Instant now) const;

  const std::vector<SessionPlan>& plans_;
  const bool is_client_;
  const Instant start_;
  std::vector<std::unique_ptr<Side>> sides_;
  std::vector<std::string> faults_;
};

}  // namespace understudy

#include "dataplane/service/stream_applications.h"

#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/format.h>

namespace understudy::service {

bool Echo::attach(tcp::Engine& engine, uint32_t leg) {
  const uint32_t pipe = engine.create_pipe();
  if (pipe == tcp::kNone) return false;
  engine.pipes().add_reference(pipe);
  engine.set_receive_pipe(leg, pipe);
  engine.set_send_pipe(leg, pipe);
  return true;
}

bool Discard::attach(tcp::Engine& engine, uint32_t leg) {
  return engine.give_pipes(leg);
}

void Discard::on_data(tcp::Engine& engine, uint32_t leg, Instant) {
  const tcp::Pipe& in = engine.pipes()[engine.legs()[leg].rx];
  const bool finished = in.fin;
  engine.consume(leg, in.tail);
  if (finished) engine.finish_writing(leg);
}

bool Tally::attach(tcp::Engine& engine, uint32_t leg) {
  return engine.give_pipes(leg);
}

void Tally::on_data(tcp::Engine& engine, uint32_t leg, Instant) {
  const tcp::Pipe& in = engine.pipes()[engine.legs()[leg].rx];
  std::array<uint8_t, 2048> bytes;
  tcp::ReadCursor cursor;
  while (in.head < in.tail) {
    const uint64_t begin = in.head;
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(bytes.size(), in.tail - begin));
    engine.pipes().copy_out(in, begin, length, bytes.data(), cursor);
    fmt::memory_buffer answer;
    for (uint32_t i = 0; i < length; ++i)
      if (bytes[i] == '\n') fmt::format_to(std::back_inserter(answer), "{}\n", begin + i + 1);
    // Without a buffer for the answer the input stays where it is, and the next segment or timer tries again.
    if (!engine.write(leg, {reinterpret_cast<const uint8_t*>(answer.data()), answer.size()})) return;
    engine.consume(leg, begin + length);
  }
  if (in.fin) engine.finish_writing(leg);
}

}  // namespace understudy::service

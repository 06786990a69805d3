#include "common/log.h"

#include <array>
#include <atomic>
#include <ctime>

#include <sys/time.h>
#include <unistd.h>

namespace understudy {
namespace {
std::atomic<LogLevel> lowest_level{LogLevel::info};
constexpr std::array<std::string_view, 5> kLevelNames = {"debug", "info", "notice", "warning", "error"};
}  // namespace

void set_log_level(LogLevel lowest) {
  lowest_level = lowest;
}

void log_line(LogLevel level, std::string_view subsystem, std::string_view sentence) {
  if (level < lowest_level.load(std::memory_order_relaxed)) return;
  timeval now{};
  gettimeofday(&now, nullptr);
  tm parts{};
  localtime_r(&now.tv_sec, &parts);
  const std::string line =
      fmt::format("{:02}:{:02}:{:02}.{:06} {} {}: {}\n", parts.tm_hour, parts.tm_min, parts.tm_sec,
                  now.tv_usec, kLevelNames[static_cast<size_t>(level)], subsystem, sentence);
  // One write, so that lines of several threads do not mix; a full disk must not stop the node.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace understudy

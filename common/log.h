#pragma once

#include <string_view>

#include <fmt/format.h>

namespace understudy {

enum class LogLevel { debug, info, notice, warning, error };

// One line on stderr: level, subsystem, sentence. For control threads only; workers count and send events.
void log_line(LogLevel level, std::string_view subsystem, std::string_view sentence);
void set_log_level(LogLevel lowest);

template <class... Args>
void log_info(std::string_view subsystem, fmt::format_string<Args...> text, Args&&... args) {
  log_line(LogLevel::info, subsystem, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void log_notice(std::string_view subsystem, fmt::format_string<Args...> text, Args&&... args) {
  log_line(LogLevel::notice, subsystem, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(std::string_view subsystem, fmt::format_string<Args...> text, Args&&... args) {
  log_line(LogLevel::warning, subsystem, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(std::string_view subsystem, fmt::format_string<Args...> text, Args&&... args) {
  log_line(LogLevel::error, subsystem, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace understudy

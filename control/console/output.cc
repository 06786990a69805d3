#include "control/console/output.h"

#include <fmt/format.h>

namespace understudy::console {

void Output::put_json(const Json& json) {
  // Replaces what is no UTF-8 instead of throwing.
  text_ += json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string Output::rendered() const {
  std::string text = text_;
  if (failure_)
    text = format_ == Format::text
               ? *failure_
               : Json{{"error", *failure_}}.dump(2, ' ', false, Json::error_handler_t::replace);
  for (char& character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if ((byte < 0x20 && byte != '\n') || byte == 0x7f) character = '?';
  }
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

std::string TextTable::to_string(unsigned indent) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(column.title.size());
  for (const auto& cells : rows_)
    for (size_t i = 0; i < cells.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], cells[i].size());
  std::string text;
  const auto put_row = [&](const auto& cell_of) {
    std::string line(indent, ' ');
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) line += "  ";
      line += columns_[i].align == Align::left ? fmt::format("{:<{}}", cell_of(i), widths[i])
                                               : fmt::format("{:>{}}", cell_of(i), widths[i]);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  put_row([&](size_t i) { return columns_[i].title; });
  for (const auto& cells : rows_)
    put_row([&](size_t i) { return i < cells.size() ? cells[i] : std::string(); });
  return text;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += between;
    text += word;
  }
  return text;
}

std::string span_text(Duration span) {
  const double us = static_cast<double>(span.count()) / 1e3;
  if (us < 1000) return fmt::format("{:.0f} us", us);
  if (us < 1e6) return fmt::format("{:.1f} ms", us / 1e3);
  if (us < 60e6) return fmt::format("{:.1f} s", us / 1e6);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span).count();
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
}

std::string span_text(const std::optional<Duration>& span) {
  return span ? span_text(*span) : "-";
}

Json span_json(const std::optional<Duration>& span) {
  return span ? Json(to_us(*span)) : Json(nullptr);
}

}  // namespace understudy::console

// Every state and every event of STATE_EVENT.md: what leaves, and where the connection stands afterwards.
#include "tests/conformance/state_event.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

namespace understudy::conformance {
namespace {

struct Cell {
  std::string leaves;
  std::string then;
  std::string remark;
  bool is_empty = false;  // cannot happen; the remark says why
};

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// Sections `## PLACE` with rows `| event | leaves | then | remark |`.
std::map<std::string, std::map<std::string, Cell>> read_table() {
  std::map<std::string, std::map<std::string, Cell>> table;
  std::ifstream file(UNDERSTUDY_STATE_EVENT_TABLE);
  std::string line, place;
  while (std::getline(file, line)) {
    if (line.starts_with("## ")) place = trimmed(line.substr(3));
    if (!line.starts_with("| ") || place.empty()) continue;
    std::istringstream row(line.substr(1));
    std::string event, leaves, then, remark;
    std::getline(row, event, '|');
    std::getline(row, leaves, '|');
    std::getline(row, then, '|');
    std::getline(row, remark, '|');
    event = trimmed(event);
    if (event == "event" || event.starts_with("-")) continue;
    Cell cell{trimmed(leaves), trimmed(then), trimmed(remark)};
    cell.is_empty = cell.then == "empty";
    std::erase(cell.leaves, '`');
    table[place][event] = cell;
  }
  return table;
}

class StateEvent : public testing::TestWithParam<Place> {};

TEST_P(StateEvent, EachHasItsOutcome) {
  static const auto kTable = read_table();
  const Place place = GetParam();
  const bool prints = std::getenv("STATE_EVENT_PRINT") != nullptr;
  if (prints)
    std::cout << "\n## " << name_of(place) << "\n\n| event | leaves | then | |\n| --- | --- | --- | --- |\n";
  for (size_t i = 0; i < kEvents; ++i) {
    const auto event = static_cast<Event>(i);
    const std::string name(name_of(event));
    const auto section = kTable.find(std::string(name_of(place)));
    const Cell* cell = nullptr;
    if (section != kTable.end())
      if (const auto at = section->second.find(name); at != section->second.end()) cell = &at->second;
    if (!prints) {
      ASSERT_NE(cell, nullptr) << name << " has no row";
      if (cell->is_empty) {
        EXPECT_FALSE(cell->remark.empty()) << name << ": why is it empty?";
        continue;
      }
    }
    Script s(plain_settings());
    bring_to(s, place, event == Event::old_timestamp);
    const std::string outcome = outcome_of(s, place, event);
    if (prints)
      std::cout << "| " << name << " | " << (outcome.starts_with(" |") ? "" : "`")
                << outcome.substr(0, outcome.find(" | ")) << (outcome.starts_with(" |") ? "" : "`")
                << outcome.substr(outcome.find(" | ")) << " | |\n";
    else
      EXPECT_EQ(outcome, cell->leaves + " | " + cell->then) << name;
  }
}

std::vector<Place> places() {
  std::vector<Place> all;
  for (size_t i = 0; i < kPlaces; ++i) all.push_back(static_cast<Place>(i));
  return all;
}

INSTANTIATE_TEST_SUITE_P(Conformance, StateEvent, testing::ValuesIn(places()),
                         [](const auto& given) { return std::string(name_of(given.param)); });

}  // namespace
}  // namespace understudy::conformance

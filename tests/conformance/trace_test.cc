// RFC9293.md may not rot: each function and each test that it names is where it says, and no requirement is
// left out.
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

namespace understudy::conformance {
namespace {

const std::string kRoot = UNDERSTUDY_SOURCE_ROOT;

std::string text_of(const std::string& path) {
  std::ifstream file(kRoot + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Long names stand on a line of their own.
std::string in_one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\n';
    if (!blank || line.empty() || line.back() != ' ') line += blank ? ' ' : c;
  }
  return line;
}

// `path: name, name` items of a cell, each in backticks; names that follow without a path belong to the last.
std::vector<std::pair<std::string, std::string>> references_in(const std::string& cell) {
  std::vector<std::pair<std::string, std::string>> found;
  for (size_t open = cell.find('`'); open != std::string::npos; open = cell.find('`', open)) {
    const size_t close = cell.find('`', open + 1);
    if (close == std::string::npos) break;
    const std::string item = cell.substr(open + 1, close - open - 1);
    open = close + 1;
    const size_t colon = item.find(": ");
    if (colon == std::string::npos) continue;
    std::istringstream names(item.substr(colon + 2));
    for (std::string name; std::getline(names, name, ',');)
      found.emplace_back(item.substr(0, colon), name.substr(name.find_first_not_of(' ')));
  }
  return found;
}

struct Row {
  std::string requirement, done_by, shown_by;
};

std::map<std::string, Row> rows() {
  std::map<std::string, Row> all;
  std::istringstream text(text_of("tests/conformance/RFC9293.md"));
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("| ")) continue;
    std::istringstream cells(line.substr(1));
    std::string id;
    Row row;
    std::getline(cells, id, '|');
    std::getline(cells, row.requirement, '|');
    std::getline(cells, row.done_by, '|');
    std::getline(cells, row.shown_by, '|');
    id = id.substr(1, id.find_last_not_of(' '));
    if (id.find('-') != std::string::npos && id[0] != '-') all[id] = row;
  }
  return all;
}

TEST(Trace, NoRequirementIsLeftOut) {
  const auto all = rows();
  const auto expect_all = [&](const std::string& kind, int last) {
    for (int i = 1; i <= last; ++i) {
      const std::string id = kind + "-" + std::to_string(i);
      EXPECT_TRUE(all.contains(id)) << id;
    }
  };
  expect_all("MUST", 69);
  expect_all("SHLD", 31);
  expect_all("MAY", 18);
  expect_all("REC", 1);
  for (const auto& [id, row] : all)
    EXPECT_GT(row.done_by.size() + row.shown_by.size(), 10U)
        << id << " says neither who does it nor why nobody does";
}

TEST(Trace, WhatIsNamedIsThere) {
  std::map<std::string, std::string> files;
  for (const auto& [id, row] : rows()) {
    for (const auto& [path, name] : references_in(row.done_by)) {
      if (!files.contains(path)) files[path] = text_of(path);
      ASSERT_FALSE(files[path].empty()) << id << ": there is no " << path;
      EXPECT_NE(files[path].find(name), std::string::npos) << id << ": no " << name << " in " << path;
    }
    for (const auto& [path, name] : references_in(row.shown_by)) {
      if (!files.contains(path)) files[path] = text_of(path);
      ASSERT_FALSE(files[path].empty()) << id << ": there is no " << path;
      const size_t dot = name.find('.');
      ASSERT_NE(dot, std::string::npos) << id << ": " << name << " is no test";
      const std::string suite = name.substr(0, dot), test = name.substr(dot + 1);
      const bool there = in_one_line(files[path]).find("(" + suite + ", " + test + ")") != std::string::npos;
      EXPECT_TRUE(there) << id << ": no test " << name << " in " << path;
    }
  }
}

}  // namespace
}  // namespace understudy::conformance

#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

namespace understudy::sim {

// How one owner follows another, as the switches see it: behind whom their tables hold the group to be, and
// what a node says in its name when it is back after it stood still or had no carrier.
class Succession {
 public:
  static constexpr size_t kTables = 2;  // front, back
  // The table of this switch says so; the same again is no news.
  void held_behind(size_t table, size_t node);
  // The nodes, one after the other.
  const std::vector<size_t>& path(size_t table) const { return paths_[table]; }

  void is_back(size_t node) { heard_[node] = {}; }
  void owns(size_t node) { heard_.erase(node); }  // and may speak as it likes
  void hear(size_t node, bool is_arp, uint8_t tcp_flags);
  // Sentences about nodes that said more than a burst, or RST, FIN or ARP.
  std::vector<std::string> complaints() const;

 private:
  struct Said {
    unsigned segments = 0, resets = 0, fins = 0, claims = 0;
  };
  std::array<std::vector<size_t>, kTables> paths_;
  std::map<size_t, Said> heard_;
};

std::string describe_path(const std::vector<size_t>& path);

}  // namespace understudy::sim

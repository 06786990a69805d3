#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/config/config.h"
#include "control/config/document.h"

namespace understudy::config {

// The faults of one file, gathered in any order and told in the file's.
class FaultList {
 public:
  void add(const Mark& mark, std::string_view sentence);
  bool empty() const { return faults_.empty(); }
  Faults sorted() const;

 private:
  struct Entry {
    Mark mark;
    std::string sentence;
  };
  std::vector<Entry> faults_;
};

// Where each value stood, by its path: "groups[0].virtual_ips[1]". What is absent stands where its parent
// does.
class Places {
 public:
  void record(const std::string& path, const Mark& mark) { marks_[path] = mark; }
  const Mark& at(const std::string& path) const;

 private:
  std::map<std::string, Mark> marks_;
};

// What reading hands from function to function.
struct Reading {
  FaultList faults;
  Places places;
};

struct DurationRange {
  Duration least, most;
};
struct NumberRange {
  uint64_t least, most;
};
template <class T>
struct Word {
  std::string_view word;
  T meaning;
};

enum class Need { required, optional };

// The keys of one mapping. Each call asks for one key, checks it, and leaves `into` untouched when the
// value is absent or faulty. finish() names the keys that nobody asked for.
class Fields {
 public:
  // `what` names the mapping in sentences: "node `n1`".
  Fields(Reading& reading, const Value& value, std::string path, std::string what);

  void text(std::string_view key, std::string& into, Need need);
  void number(std::string_view key, uint64_t& into, NumberRange range, Need need);
  template <class T>
  void number(std::string_view key, T& into, NumberRange range, Need need) {
    uint64_t wide = into;
    number(key, wide, range, need);
    into = static_cast<T>(wide);
  }
  void duration(std::string_view key, Duration& into, DurationRange range);
  void size(std::string_view key, uint64_t& into, NumberRange range);
  void boolean(std::string_view key, bool& into);
  void address(std::string_view key, IpAddress& into, Need need);
  void port(std::string_view key, std::optional<PortNumber>& into);
  // True when a known word stood there.
  template <class T>
  bool choice(std::string_view key, T& into, std::span<const Word<T>> words, Need need = Need::optional) {
    const Value* value = scalar(key, need);
    if (value == nullptr) return false;
    std::vector<std::string_view> known;
    for (const auto& word : words) {
      if (word.word == value->text) {
        into = word.meaning;
        return true;
      }
      known.push_back(word.word);
    }
    unknown_word(*value, key, known);
    return false;
  }
  // The elements of a list; an empty or absent required list is a fault.
  std::span<const Value> list(std::string_view key, Need need);
  // The mapping under `key`, or nullptr.
  const Value* mapping(std::string_view key, Need need);
  const Value* scalar(std::string_view key, Need need);
  // The value of any kind, or nullptr; absence is reported when required.
  const Value* find(std::string_view key, Need need);

  std::string path_of(std::string_view key) const;
  void fault(const Value& value, std::string_view sentence) { reading_.faults.add(value.mark, sentence); }
  void finish();

 private:
  void unknown_word(const Value& value, std::string_view key, const std::vector<std::string_view>& known);

  Reading& reading_;
  const Value& value_;
  std::string path_;
  std::string what_;
  std::vector<std::string> asked_;
};

// addresses.cc. IPv6 addresses may stand in brackets (then in quotes, for YAML).
// A scalar as the unicast address of one host, or a fault.
std::optional<IpAddress> read_address(Reading& reading, const Value& value);
// Such an address with the length of its network, or a fault. Not the network's own or broadcast address.
std::optional<Prefix> read_host_prefix(Reading& reading, const Value& value);
// A network, or a fault: 0.0.0.0/0, fd00:40::/64.
std::optional<Prefix> read_network(Reading& reading, const Value& value);
// The network without the host's bits: 10.10.0.0/24 of 10.10.0.11/24.
Prefix network_of(const Prefix& prefix);

// The word of `known` that `word` was probably meant to be; empty when none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace understudy::config

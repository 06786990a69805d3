#include "control/observe/node_metrics.h"

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/unit/console/fake_source.h"

namespace understudy::observe {
namespace {

// What the specification demands of a text, read line by line: each family described once and before its
// samples, no family torn apart, each sample's name as its type wants it, no sample twice, the end marked.
std::vector<std::string> faults_of(const std::string& text) {
  static const std::regex kDescription(R"(# (TYPE|UNIT|HELP) (understudy_[a-z0-9_]+) (.*))");
  static const std::regex kSample(R"((understudy_[a-z0-9_]+)(\{([a-z_]+="[^"\n]*",?)*\})? [0-9.]+)");
  std::vector<std::string> faults;
  std::map<std::string, std::string> types;
  std::set<std::string> seen;
  std::string family, line, last;
  std::istringstream lines(text);
  while (std::getline(lines, line)) {
    last = line;
    std::smatch match;
    if (line == "# EOF") continue;
    if (std::regex_match(line, match, kDescription)) {
      if (match[1] == "TYPE" && !types.emplace(match[2], match[3]).second) faults.push_back("twice: " + line);
      if (match[1] == "TYPE") family = match[2];
      if (match[1] == "UNIT" && !family.ends_with("_" + match[3].str())) faults.push_back("unit: " + line);
      if (match[2] != family) faults.push_back("torn: " + line);
    } else if (std::regex_match(line, match, kSample)) {
      const std::string type = types[family];
      const std::string suffix = type == "counter" ? "_total" : type == "info" ? "_info" : "";
      if (match[1] != family + suffix) faults.push_back("name: " + line);
      if (!seen.insert(line.substr(0, line.rfind(' '))).second) faults.push_back("sample twice: " + line);
    } else {
      faults.push_back("neither: " + line);
    }
  }
  if (last != "# EOF") faults.push_back("no end");
  return faults;
}

TEST(NodeMetrics, KeepToTheSpecification) {
  console::FakeSource source;
  const std::string text = node_metrics(source);
  for (const std::string& fault : faults_of(text)) ADD_FAILURE() << fault;
  EXPECT_FALSE(faults_of("# TYPE understudy_x counter\nunderstudy_x 1\n").empty())
      << "the check checks nothing";
}

TEST(NodeMetrics, TellWhatTheConsoleTells) {
  console::FakeSource source;
  const std::string text = node_metrics(source);
  const auto expect = [&](const std::string& line) {
    EXPECT_NE(text.find("\n" + line + "\n"), std::string::npos) << line << "\n" << text;
  };
  expect(R"(understudy_node_info{cluster="example",node="n1",id="1",boot="0000000000000abc"} 1)");
  expect(R"(understudy_peer_alive{peer="n2"} 1)");
  expect(R"(understudy_peer_link_silence_seconds{peer="n2",link="front"} 0.012000000)");
  expect(R"(understudy_group_owned{group="web"} 1)");
  expect(R"x(understudy_group_state{group="web",state="owner(protected)"} 1)x");
  expect(R"(understudy_group_connections{group="web",protection="unprotected"} 2)");
  expect(R"(understudy_group_takeovers_total{group="web"} 3)");
  expect(R"(understudy_group_last_takeover_seconds{group="web",part="detection"} 0.100000000)");
  expect(R"(understudy_port_received_frames_total{port="front"} 123)");
  expect(R"(understudy_port_transmitted_bytes_total{port="back"} 456789)");
  expect(R"(understudy_worker_longest_stall_seconds{worker="0"} 0.001500000)");
  expect(R"(understudy_tcp_segments_received_total{worker="0"} 12345)");
  expect(R"(understudy_tcp_payload_sent_bytes_total{worker="0"} 67890)");
  expect(R"(understudy_dropped_frames_total{reason="tcp_checksum"} 5)");
  expect(R"(understudy_backend_up{pool="nginx",backend="b1"} 0)");
  EXPECT_EQ(text.find("part=\"first_packet\""), std::string::npos) << "it has not been seen yet";
}

}  // namespace
}  // namespace understudy::observe

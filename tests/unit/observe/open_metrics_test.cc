#include "control/observe/open_metrics.h"

#include <gtest/gtest.h>

namespace understudy::observe {
namespace {

TEST(OpenMetrics, FamiliesWithTypesUnitsAndSuffixes) {
  OpenMetrics out;
  out.counter("port_received", "bytes", "Bytes received");
  out.sample({{"port", "front"}}, uint64_t{18446744073709551615U});
  out.gauge("worker_longest_stall", "seconds", "Its longest absence");
  out.sample({{"worker", "0"}}, Duration(1500us));
  out.gauge("plain", "", "Without labels");
  out.sample({}, uint64_t{7});
  out.info("node", "Which node this is");
  out.sample({{"cluster", "a"}, {"node", "n1"}}, uint64_t{1});
  EXPECT_EQ(out.finish(),
            "# TYPE understudy_port_received_bytes counter\n"
            "# UNIT understudy_port_received_bytes bytes\n"
            "# HELP understudy_port_received_bytes Bytes received\n"
            "understudy_port_received_bytes_total{port=\"front\"} 18446744073709551615\n"
            "# TYPE understudy_worker_longest_stall_seconds gauge\n"
            "# UNIT understudy_worker_longest_stall_seconds seconds\n"
            "# HELP understudy_worker_longest_stall_seconds Its longest absence\n"
            "understudy_worker_longest_stall_seconds{worker=\"0\"} 0.001500000\n"
            "# TYPE understudy_plain gauge\n"
            "# HELP understudy_plain Without labels\n"
            "understudy_plain 7\n"
            "# TYPE understudy_node info\n"
            "# HELP understudy_node Which node this is\n"
            "understudy_node_info{cluster=\"a\",node=\"n1\"} 1\n"
            "# EOF\n");
}

TEST(OpenMetrics, WhatStandsInLabelsIsEscaped) {
  OpenMetrics out;
  out.gauge("x", "", "");
  out.sample({{"name", "a\"b\\c\nd"}}, uint64_t{0});
  EXPECT_NE(out.finish().find("understudy_x{name=\"a\\\"b\\\\c\\nd\"} 0\n"), std::string::npos);
}

}  // namespace
}  // namespace understudy::observe

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "control/appliance/commands.h"
#include "control/appliance/options.h"
#include "control/appliance/run.h"

namespace understudy::appliance {
namespace {

struct Dispatch {
  int operator()(const RunOptions& options) const { return run_appliance(options); }
  int operator()(const CheckOptions& options) const { return run_check(options); }
  int operator()(const ConsoleOptions& options) const { return run_console(options); }
  int operator()(const DoctorOptions& options) const { return run_doctor(options); }
  int operator()(const VersionOptions&) const {
    fmt::print("understudy {}\n", UNDERSTUDY_VERSION);
    return 0;
  }
  int operator()(const HelpOptions&) const {
    fmt::print("{}", help_text());
    return 0;
  }
};

int dispatch(const std::vector<std::string>& words) {
  const auto options = parse_options(words);
  if (options) return std::visit(Dispatch(), options.value());
  fmt::print(stderr, "understudy: {}\n", options.message());
  return 2;
}

}  // namespace
}  // namespace understudy::appliance

int main(int count, char** words) {
  try {
    return understudy::appliance::dispatch({words + (count > 0 ? 1 : 0), words + count});
  } catch (const std::exception& fault) {
    std::fputs(fault.what(), stderr);
    std::fputs("\n", stderr);
    return 1;
  }
}

#pragma once

#include "control/appliance/options.h"

namespace understudy::appliance {

// Is a node until it is told to end: 0; 2 when the configuration is unusable or names what this machine has
// not got (each fault on stderr, with its place), or when another node has the same id; 1 when anything else
// fails.
int run_appliance(const RunOptions& options);

}  // namespace understudy::appliance

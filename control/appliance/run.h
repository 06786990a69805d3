#pragma once

#include "control/appliance/options.h"

namespace understudy::appliance {

// Is a node until it is told to end: 0; 2 when the configuration is unusable, with each fault on stderr;
// 1 when the machine or the ports do not play along.
int run_appliance(const RunOptions& options);

}  // namespace understudy::appliance

#pragma once

#include <string>

#include "control/appliance/options.h"

namespace understudy::appliance {

// `understudy check`: warnings and faults on stderr, one per line. 0 good, 2 unusable.
int run_check(const CheckOptions& options);
// `understudy console`. 0, or 1 if a command failed or no node answers.
int run_console(const ConsoleOptions& options);
// `understudy doctor`: 0 when nothing is missing, 1 when something is, 2 when the configuration is unusable.
int run_doctor(const DoctorOptions& options);

}  // namespace understudy::appliance

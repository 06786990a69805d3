#pragma once

#include "tests/conformance/profile.h"

namespace understudy::conformance {

// Scripts set up the system under test with `sysctl`, in a network namespace of their own as a rule. The
// system under test is the engine here, so what they have set of net.ipv4.tcp_* replaces the profile's. Only
// what the engine has a setting for is looked at, and what cannot be read stays as it is.
void apply_system_settings(ProfileSettings& settings);
// What a script for FreeBSD has set with `sysctl -w`: lines `name=value` in the file that the environment
// variable UNDERSTUDY_SYSCTLS names (PACKETDRILL.md tells who writes it). Without it, that system's defaults.
void apply_freebsd_settings(ProfileSettings& settings);

}  // namespace understudy::conformance

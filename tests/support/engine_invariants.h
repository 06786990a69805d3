#pragma once

#include "dataplane/tcp/engine.h"

namespace understudy {

// What must hold in an engine between any two events, whatever the network has said. Ends the process, with
// a sentence, when it does not: for fuzzers, and for tests with strangers in them.
void check_engine(const tcp::Engine& engine);

}  // namespace understudy

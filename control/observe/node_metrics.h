#pragma once

#include <string>

#include "control/console/views.h"

namespace understudy::observe {

// All metrics of a node as OpenMetrics text: what the console shows, for machines that look every few
// seconds. Any thread; takes what the console's commands take of `source`, and never waits for a worker.
std::string node_metrics(console::Source& source);

}  // namespace understudy::observe

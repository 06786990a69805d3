#pragma once

#include "control/config/config.h"
#include "control/config/reader.h"

namespace understudy::config {

// Reads the document into `config`, section by section, each value on its own merits. A faulty value leaves
// its default (an unspecified address, an empty name, id 0), so that what validate() compares keeps its
// index. secret_file is left to read_secret: its text is returned in `secret_file`.
void read_sections(Reading& reading, const Value& document, Config& config, std::string& secret_file);

void read_nodes(Reading& reading, std::span<const Value> list, Config& config);
void read_pools(Reading& reading, std::span<const Value> list, Config& config);
void read_groups(Reading& reading, std::span<const Value> list, Config& config);

// What holds between values: names, addresses, ranges, roles. Adds faults, and warnings to `config`.
void validate(Reading& reading, Config& config);
// The part of validate() about addresses and networks.
void validate_addresses(Reading& reading, const Config& config);

// The cluster's secret from a file beside the configuration, or, when `secret_file` is empty, from the
// cluster's name with a warning.
void read_secret(Reading& reading, const std::string& secret_file, Config& config);

}  // namespace understudy::config

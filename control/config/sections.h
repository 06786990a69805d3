#pragma once

#include "control/config/config.h"
#include "control/config/reader.h"

namespace understudy::config {

// As named in the file; empty where it names none.
struct SecretFiles {
  std::string sealing;
  std::string accepted;
};

// Reads the document into `config`, section by section, each value on its own merits. A faulty value leaves
// its default (an unspecified address, an empty name, id 0), so that what validate() compares keeps its
// index. The secret files are left to read_secret.
void read_sections(Reading& reading, const Value& document, Config& config, SecretFiles& files);

void read_etcd(Reading& reading, const Value& value, const std::string& config_file, ClusterConfig& cluster);
void read_nodes(Reading& reading, std::span<const Value> list, Config& config);
void read_pools(Reading& reading, std::span<const Value> list, Config& config);
void read_groups(Reading& reading, std::span<const Value> list, Config& config);

// What holds between values: names, addresses, ranges, roles. Adds faults, and warnings to `config`.
void validate(Reading& reading, Config& config);
// The part of validate() about who decides who owns: nodes, leases and time-outs against each other.
void validate_arbiter(Reading& reading, const Config& config);
// Of that, what only the arbiter `etcd` needs.
void validate_etcd(Reading& reading, const Config& config);
// The part of validate() about addresses and networks.
void validate_addresses(Reading& reading, const Config& config);
// Of the groups and the spares that they will need.
void check_number_of_groups(Reading& reading, const Config& config);

// Gives each group with `failback: new_connections` its twin. `config` is valid.
void add_spares(Config& config);

// The cluster's secret from a file beside the configuration, or, when none is named, from the cluster's name
// with a warning; and the keys for frames between nodes.
void read_secret(Reading& reading, const SecretFiles& files, Config& config);

}  // namespace understudy::config

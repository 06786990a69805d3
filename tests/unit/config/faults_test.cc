#include <gtest/gtest.h>

#include "control/config/config.h"
#include "tests/unit/config/base.h"

namespace understudy::config {
namespace {

struct FaultCase {
  std::string_view name;
  std::vector<std::pair<std::string_view, std::string_view>> changes;
  std::vector<std::string> expected;  // exactly these lines, in this order
};

const FaultCase kCases[] = {
    {"MembersWithoutThird",
     {{"arbiter: none", "arbiter: members"}},
     {"a.yaml:3:12: `arbiter: members` needs a majority of at least three nodes, and there are 2: with two, "
      "the "
      "death of either would leave none; add a node (it need not be a successor of any group) or choose "
      "`none`"}},
    {"LeaseWithoutArbiter",
     {{"  shards: 64", "  shards: 64\n  lease: 80ms"}},
     {"a.yaml:9:10: `lease` means nothing with `arbiter: none`: two nodes without an arbiter have no leases; "
      "remove it or choose `arbiter: members` or `etcd`"}},
    {"EtcdWithoutEndpoints",
     {{"arbiter: none", "arbiter: etcd"}},
     {"a.yaml:3:12: `arbiter: etcd` needs to know where etcd is; add `etcd: {endpoints: "
      "[\"http://10.30.0.1:2379\"]}` to the cluster"}},
    {"EtcdOfAnotherArbiter",
     {{"arbiter: none", "arbiter: none\n  etcd: {endpoints: [\"http://e1:2379\"]}"}},
     {"a.yaml:4:9: `etcd` means nothing unless `arbiter: etcd` is chosen; remove it or choose that"}},
    {"EtcdEndpointsThatAreNone",
     {{"arbiter: none",
       "arbiter: etcd\n  etcd: {endpoints: [\"e1:2379\", \"http://e1\", \"https://[::1]:2379\", "
       "\"https://[::1]:2379\", \"http://e1:0\", \"http://a b:1\", \"http://e1:2379/v3\"]}"}},
     {"a.yaml:4:22: `e1:2379` is no endpoint of etcd; write its scheme, host and port, as in "
      "\"https://etcd1.example:2379\"",
      "a.yaml:4:33: `http://e1` is no endpoint of etcd; write its scheme, host and port, as in "
      "\"https://etcd1.example:2379\"",
      "a.yaml:4:68: `https://[::1]:2379` is listed twice; remove one",
      "a.yaml:4:90: `http://e1:0` is no endpoint of etcd; write its scheme, host and port, as in "
      "\"https://etcd1.example:2379\"",
      "a.yaml:4:105: `http://a b:1` is no endpoint of etcd; write its scheme, host and port, as in "
      "\"https://etcd1.example:2379\"",
      "a.yaml:4:121: `http://e1:2379/v3` is no endpoint of etcd; write its scheme, host and port, as in "
      "\"https://etcd1.example:2379\""}},
    {"EtcdWithFilesThatAreNotThere",
     {{"arbiter: none",
       "arbiter: etcd\n  etcd: {endpoints: [\"http://e1:2379\"], ca_file: /nowhere/ca.pem, certificate_file: "
       "/etc}"}},
     {"a.yaml:4:22: `http://e1:2379` is spoken to without TLS, and yet there are files for it; write "
      "https:// "
      "or remove the files",
      "a.yaml:4:50: the ca_file /nowhere/ca.pem cannot be read: No such file or directory; name one in PEM "
      "format",
      "a.yaml:4:85: the certificate_file /etc cannot be read: not a regular file; name one in PEM format",
      "a.yaml:4:85: this node shows itself to etcd with a certificate and its key; give both "
      "`certificate_file` and `key_file`, or neither"}},
    {"EtcdThatIsWaitedForTooLong",
     {{"arbiter: none",
       "arbiter: etcd\n  etcd: {endpoints: [\"http://e1:2379\"], timeout: 41ms, prefix: \"a b\"}"}},
     {"a.yaml:4:50: a request to etcd is given up after 41ms, and an owner that nobody echoes has to be "
      "confirmed within its lease of 80ms: one lost answer would silence it; shorten `timeout` to 40ms or "
      "lengthen `lease`",
      "a.yaml:4:64: `a b` cannot begin the names of keys; use up to 128 letters, digits, `-`, `_`, `.` and "
      "`/`, as in understudy/"}},
    {"EtcdClusterIdThatIsNone",
     {{"arbiter: none", "arbiter: etcd\n  etcd: {endpoints: [\"http://e1:2379\"], cluster_id: 0xg1}"}},
     {"a.yaml:4:53: `0xg1` is no id of an etcd cluster; write it as `etcdctl endpoint status -w json` shows "
      "`cluster_id` (14841639068965178418), or in hexadecimal as etcd's log does (0xcdf818194e3a8c32)"}},
    {"EtcdClusterIdThatIsTooLong",
     {{"arbiter: none",
       "arbiter: etcd\n  etcd: {endpoints: [\"http://e1:2379\"], cluster_id: 18446744073709551616}"}},
     {"a.yaml:4:53: `18446744073709551616` is no id of an etcd cluster; write it as `etcdctl endpoint status "
      "-w json` shows `cluster_id` (14841639068965178418), or in hexadecimal as etcd's log does "
      "(0xcdf818194e3a8c32)"}},
    {"EtcdLeaseLongerThanSuspicion",
     {{"arbiter: none", "arbiter: etcd\n  etcd: {endpoints: [\"http://e1:2379\"]}\n  lease: 100ms"},
      {"standby_timeout: 100ms", "standby_timeout: 120ms"}},
     {"a.yaml:5:10: an owner may speak for 100ms after its last echoed heartbeat, so others wait 101ms "
      "before "
      "they claim its group in etcd; but a silent owner is suspected after 100ms already (heartbeat.interval "
      "x misses), and its successor would only wait; shorten `lease` to 80ms or raise `misses`"}},
    {"EtcdAndStandbyGivenUpBeforeTheLeaseIsOver",
     {{"arbiter: none", "arbiter: etcd\n  etcd: {endpoints: [\"http://e1:2379\"]}"},
      {"standby_timeout: 100ms", "standby_timeout: 90ms"}},
     {"a.yaml:6:20: an owner that hears nobody would give up its standby after 90ms already, and fall silent "
      "itself after 80ms only (`lease`): then nobody in sync is left to succeed it; raise `standby_timeout` "
      "to 100ms or more, a heartbeat beyond the lease, or shorten `lease`"}},
    {"LeaseLongerThanSuspicion",
     {{"arbiter: none", "arbiter: members\n  lease: 100ms"},
      {"standby_timeout: 100ms", "standby_timeout: 200ms"},
      {"routes:",
       "  - {name: n3, id: 3, ports: [{name: a, device: net_tap0, roles: [front, back, peer], address: "
       "10.10.0.13/24}]}\nroutes:"}},
     {"a.yaml:4:10: an owner may speak for 100ms after its last echoed heartbeat, so members wait 101ms "
      "before "
      "they grant its group to another; but a silent owner is suspected after 100ms already "
      "(heartbeat.interval x misses), and its successor would only be refused; shorten `lease` to 80ms or "
      "raise `misses`"}},
    {"LeaseShorterThanHeartbeats",
     {{"arbiter: none", "arbiter: members\n  lease: 50ms"},
      {"routes:",
       "  - {name: n3, id: 3, ports: [{name: a, device: net_tap0, roles: [front, back, peer], address: "
       "10.10.0.13/24}]}\nroutes:"}},
     {"a.yaml:4:10: `lease` (50ms) must span 3 heartbeats (20ms each), or an owner falls silent whenever one "
      "of "
      "them or its echo is late; lengthen it or shorten heartbeat.interval"}},
    {"StandbyGivenUpBeforeTheLeaseIsOver",
     {{"arbiter: none", "arbiter: members"},
      {"standby_timeout: 100ms", "standby_timeout: 90ms"},
      {"routes:",
       "  - {name: n3, id: 3, ports: [{name: a, device: net_tap0, roles: [front, back, peer], address: "
       "10.10.0.13/24}]}\nroutes:"}},
     {"a.yaml:5:20: an owner that hears nobody would give up its standby after 90ms already, and fall silent "
      "itself after 80ms only (`lease`): then nobody in sync is left to succeed it; raise `standby_timeout` "
      "to "
      "100ms or more, a heartbeat beyond the lease, or shorten `lease`"}},
    {"TooFewMissesForALease",
     {{"arbiter: none", "arbiter: members"},
      {"misses: 5", "misses: 3"},
      {"routes:",
       "  - {name: n3, id: 3, ports: [{name: a, device: net_tap0, roles: [front, back, peer], address: "
       "10.10.0.13/24}]}\nroutes:"}},
     {"a.yaml:4:14: `lease` (48ms) must span 3 heartbeats (20ms each), or an owner falls silent whenever one "
      "of "
      "them or its echo is late; raise heartbeat.misses to 4 or more"}},
    {"ColdTakeoverBeforeSuspicion",
     {{"arbiter: none", "arbiter: members\n  cold_takeover_after: 150ms"},
      {"routes:",
       "  - {name: n3, id: 3, ports: [{name: a, device: net_tap0, roles: [front, back, peer], address: "
       "10.10.0.13/24}]}\nroutes:"}},
     {"a.yaml:4:24: after 150ms without a node that holds the connections they would be given up, but a node "
      "counts as dead after 100ms only; raise `cold_takeover_after` to at least twice that"}},
    {"PromisesWithoutPath",
     {{"    idle: poll", "    idle: poll\n    promises: here"}},
     {"a.yaml:16:15: `here` is no absolute path; name the file in which this node keeps what it promised as "
      "a "
      "member"}},
    {"UnknownKeyWithNeighbour",
     {{"shards: 64", "shard: 64"}},
     {"a.yaml:8:3: unknown key `shard` in the cluster; did you mean `shards`?"}},
    {"UnknownKeyWithoutNeighbour",
     {{"tcp: {receive_buffer: 256KiB}", "tcp: {colour: blue}"}},
     {"a.yaml:9:7: unknown key `colour` in tcp; known keys: receive_buffer, ecn, hop_limit"}},
    {"RepeatedKey",
     {{"  shards: 64", "  shards: 64\n  shards: 32"}},
     {"a.yaml:9:3: `shards` stands twice in the cluster; remove one"}},
    {"MetricsWithoutPort",
     {{"tcp: {receive_buffer: 256KiB}", "metrics: {listen: 127.0.0.1}"}},
     {"a.yaml:9:19: `127.0.0.1` is no address and port; write 127.0.0.1:9464 or \"[::1]:9464\""}},
    {"MetricsPortTooLarge",
     {{"tcp: {receive_buffer: 256KiB}", "metrics: {listen: 127.0.0.1:94640}"}},
     {"a.yaml:9:19: `127.0.0.1:94640` is no address and port; write 127.0.0.1:9464 or \"[::1]:9464\""}},
    {"MetricsWithoutBrackets",
     {{"tcp: {receive_buffer: 256KiB}", "metrics: {listen: \"::1:9464\"}"}},
     {"a.yaml:9:19: `::1:9464` is no address and port; write 127.0.0.1:9464 or \"[::1]:9464\""}},
    {"UnknownSection",
     {{"routes:", "route:"}},
     {"a.yaml:27:1: unknown key `route` in the file; did you mean `routes`?"}},
    {"MappingExpected",
     {{"{receive_buffer: 256KiB}", "256KiB"}},
     {"a.yaml:9:6: tcp must be a mapping of keys to values, but `256KiB` stands here"}},
    {"ListExpected",
     {{"[n1, n2]", "n1"}},
     {"a.yaml:41:17: `successors` must be a list, but `n1` stands here; write [a, b] or one `- ` per line"}},
    {"ValueExpected",
     {{"workers: 2", "workers: [2]"}},
     {"a.yaml:13:14: `workers` must be a single value, but a list stands here"}},
    {"NumberExpected",
     {{"id: 2", "id: two"}},
     {"a.yaml:23:9: `id` must be a whole number from 1 to 65535, but `two` stands here"}},
    {"NumberTooLarge",
     {{"id: 2", "id: 65536"}},
     {"a.yaml:23:9: `id` must be a whole number from 1 to 65535, but `65536` stands here"}},
    {"NegativeNumber",
     {{"rise: 1", "rise: -1"}},
     {"a.yaml:31:49: `rise` must be a whole number from 1 to 1000, but `-1` stands here"}},
    {"BooleanExpected",
     {{"protect: no", "protect: perhaps"}},
     {"a.yaml:44:68: `protect` must be true or false, but `perhaps` stands here"}},
    {"KeyWithoutValue",
     {{"name: n2", "name:"}},
     {"a.yaml:22:5: `name` of a node has no value; give one or remove the key",
      "a.yaml:41:22: there is no node `n2`; did you mean `n1`?",
      "a.yaml:49:18: there is no node `n2`; did you mean `n1`?"}},
    {"BadDuration",
     {{"interval: 20ms", "interval: 20"}},
     {"a.yaml:4:25: `20` is not a duration; `interval` takes a whole number and a unit: 500us, 20ms, 1s, "
      "5min, 1h"}},
    {"BadDurationUnit",
     {{"5min", "5 minutes"}},
     {"a.yaml:43:80: `5 minutes` is not a duration; `idle_timeout` takes a whole number and a unit: 500us, "
      "20ms, 1s, 5min, 1h"}},
    {"KeepaliveAfterTheIdleTimeout",
     {{"idle_timeout: 5min", "keepalive: {interval: 10s}"}},
     {"a.yaml:43:77: the keep-alive of service `http` would begin after 2h, but its `idle_timeout` ends an "
      "idle "
      "connection after 15min; shorten `idle` or lengthen `idle_timeout`"}},
    {"KeepaliveOfOneProbe",
     {{"idle_timeout: 5min", "keepalive: {idle: 10s, probes: 1}"}},
     {"a.yaml:43:97: `probes` must be a whole number from 2 to 15, but `1` stands here"}},
    {"UserTimeoutTooShort",
     {{"idle_timeout: 5min", "user_timeout: 100ms"}},
     {"a.yaml:43:80: `user_timeout` must be from 1s to 24h, but `100ms` stands here"}},
    {"BadSize",
     {{"256KiB", "256KB"}},
     {"a.yaml:9:23: `256KB` is not a size; `receive_buffer` takes a whole number and a unit: 256KiB, 512MiB, "
      "2GiB"}},
    {"SizeOutOfRange",
     {{"256MiB", "1MiB"}},
     {"a.yaml:16:13: `memory` must be from 32MiB to 1024GiB, but `1MiB` stands here"}},
    {"MissingKeys",
     {{"    id: 2\n    ports", "    ports"}, {"via: 10.10.0.1", "metric: 1"}},
     {"a.yaml:22:5: a node has no `id`; add the key", "a.yaml:27:5: a route has no `via`; add the key",
      "a.yaml:27:21: unknown key `metric` in a route; known keys: to, via"}},
    {"MissingSection",
     {{"cluster:\n  name: example", "cluster:"}},
     {"a.yaml:2:3: the cluster has no `name`; add the key"}},
    {"DuplicateNodeName",
     {{"name: n2", "name: n1"}},
     {"a.yaml:22:11: the node name `n1` is taken on line 11; give each its own",
      "a.yaml:41:22: there is no node `n2`; did you mean `n1`?",
      "a.yaml:49:18: there is no node `n2`; did you mean `n1`?"}},
    {"DuplicateNodeId",
     {{"id: 2", "id: 1"}},
     {"a.yaml:23:9: the node id `1` is taken on line 12; give each its own"}},
    {"DuplicateNodeAddress",
     {{"10.10.0.12/24", "10.10.0.11/24"}},
     {"a.yaml:25:86: 10.10.0.11 cannot be the address of port `front` of node `n2`, it is the address of "
      "port `front` of node `n1` already; choose a free address"}},
    {"NodeAddressIsNetwork",
     {{"10.10.0.12/24", "10.10.0.0/24"}},
     {"a.yaml:25:86: `10.10.0.0/24` is the first (network) address of its network; give one between"}},
    {"NodeAddressIsBroadcast",
     {{"10.10.0.12/24", "10.10.0.255/24"}},
     {"a.yaml:25:86: `10.10.0.255/24` is the last (broadcast) address of its network; give one between"}},
    {"NodeAddressWithoutLength",
     {{"10.10.0.12/24", "10.10.0.12"}},
     {"a.yaml:25:86: `10.10.0.12` lacks the length of its network; write 10.10.0.12/24 for a network of 256 "
      "addresses"}},
    {"NodeAddressMissing",
     {{", address: 10.10.0.12/24", ""}},
     {"a.yaml:25:9: port `front` of node `n2` has a front or back role and no `address`; give it the node's "
      "own address there, as in 10.10.0.11/24"}},
    {"AddressMalformed",
     {{"10.10.0.12/24", "10.10.0.300/24"}},
     {"a.yaml:25:86: `10.10.0.300` is not an address; write four numbers, as in 10.10.0.1, or an IPv6 "
      "address, as in fd00:10::1"}},
    {"VirtualIpOfAFamilyWithoutANetwork",
     {{"10.10.0.10/24", "fd00::1/64"}},
     {"a.yaml:39:19: virtual IP fd00::1 lies in no front network of node `n1`; take an address of such a "
      "network, or correct the address of a front port"}},
    {"Ipv6AddressWithoutLength",
     {{"10.10.0.12/24", "[10.10.0.12/24, \"fd00:10::12\"]"}},
     {"a.yaml:25:102: `fd00:10::12` lacks the length of its network; write fd00:10::12/64 for a network of "
      "the "
      "usual size"}},
    {"LinkLocalAddress",
     {{"10.10.0.12/24", "[10.10.0.12/24, \"fe80::12/64\"]"}},
     {"a.yaml:25:102: `fe80::12` means something on one link only; give a global or unique local address"}},
    {"MappedAddress",
     {{"10.10.0.12/24", "[10.10.0.12/24, \"::ffff:10.10.0.13/120\"]"}},
     {"a.yaml:25:102: `::ffff:10.10.0.13` is an IPv4 address written as IPv6; write 10.10.0.13"}},
    {"FirstAddressOfAnIpv6Network",
     {{"10.10.0.12/24", "[10.10.0.12/24, \"fd00:10::/64\"]"}},
     {"a.yaml:25:102: `fd00:10::/64` is the first (network) address of its network; give one between"}},
    {"PortsShareAnIpv6Network",
     {{"10.10.0.12/24", "[10.10.0.12/24, \"fd00:10::12/64\"]"},
      {"10.20.0.22/24", "[10.20.0.22/24, \"fd00:10::22/64\"]"}},
     {"a.yaml:26:105: ports `front` and `back` of node `n2` lie in one network, fd00:10::/64; give the roles "
      "to one port or use two networks"}},
    {"BackendOfAFamilyWithoutSource",
     {{"10.20.0.12, port", "\"fd00:20::12\", port"}},
     {"a.yaml:34:29: backend `b2` at fd00:20::12 is IPv6, and group `web` has no such source address; add "
      "one to "
      "its `source_addresses`"}},
    {"TwoPortsInOneNetwork",
     {{"10.20.0.22/24", "10.10.0.22/24"}},
     {"a.yaml:26:89: ports `front` and `back` of node `n2` lie in one network, 10.10.0.0/24; give the roles "
      "to one port or use two networks",
      "a.yaml:40:24: source address 10.20.0.100 lies in no back network of node `n2`; take an address of "
      "such a network, or correct the address of a back port"}},
    {"VirtualIpOutsideItsNetwork",
     {{"10.10.0.10/24", "10.11.0.10/24"}},
     {"a.yaml:39:19: virtual IP 10.11.0.10 lies in no front network of node `n1`; take an address of such a "
      "network, or correct the address of a front port"}},
    {"VirtualIpInBackNetwork",
     {{"10.10.0.10/24", "10.20.0.10/24"}},
     {"a.yaml:39:19: virtual IP 10.20.0.10 lies in no front network of node `n1`; take an address of such a "
      "network, or correct the address of a front port"}},
    {"VirtualIpOfOtherLength",
     {{"10.10.0.10/24", "10.10.0.10/16"}},
     {"a.yaml:39:19: virtual IP 10.10.0.10 says /16, but port `front` of node `n1` is in 10.10.0.0/24; write "
      "10.10.0.10/24"}},
    {"SourceAddressOutsideItsNetwork",
     {{"10.20.0.100/24", "10.10.0.100/24"}},
     {"a.yaml:40:24: source address 10.10.0.100 lies in no back network of node `n1`; take an address of "
      "such a network, or correct the address of a back port"}},
    {"BackendUnreachable",
     {{"0.0.0.0/0", "10.40.0.0/24"}, {"10.20.0.12, port", "10.50.0.12, port"}},
     {"a.yaml:34:29: backend `b2` at 10.50.0.12 is in no network of node `n1` and no route leads there; add "
      "one under `routes`"}},
    {"GatewayNotConnected",
     {{"10.10.0.1}", "10.30.0.1}"}},
     {"a.yaml:28:26: gateway 10.30.0.1 lies in no network of node `n1`; name a router that shares a network "
      "with a port of every node"}},
    {"GatewayIsOurself",
     {{"10.10.0.1}", "10.10.0.12}"}},
     {"a.yaml:28:26: 10.10.0.12 cannot be a gateway, it is the address of port `front` of node `n2`; give "
      "another address"}},
    {"RouteMalformed",
     {{"0.0.0.0/0", "default"}},
     {"a.yaml:28:10: `default` is not a network; write 0.0.0.0/0 or ::/0 for everything, 10.40.0.0/24 or "
      "fd00:40::/64 for one network"}},
    {"GatewayOfTheOtherFamily",
     {{"0.0.0.0/0", "\"::/0\""}},
     {"a.yaml:28:10: the gateway of `::/0`, 10.10.0.1, is of the other family; name one that is IPv6"}},
    {"VirtualIpInTwoGroups",
     {{"10.10.0.20/24", "10.10.0.10/24"}},
     {"a.yaml:48:19: 10.10.0.10 cannot be a virtual IP of group `second`, it is a virtual IP of group `web` "
      "already; choose a free address"}},
    {"VirtualIpIsNodeAddress",
     {{"10.10.0.20/24", "10.10.0.11/24"}},
     {"a.yaml:48:19: 10.10.0.11 cannot be a virtual IP of group `second`, it is the address of port `front` "
      "of node `n1` already; choose a free address"}},
    {"BackendIsVirtualIp",
     {{"10.20.0.12, port", "10.10.0.20, port"}},
     {"a.yaml:34:29: 10.10.0.20 cannot be a backend, it is a virtual IP of group `second`; give another "
      "address"}},
    {"PortRangesOverlap",
     {{"7000-7009", "70-7009"}},
     {"a.yaml:44:29: services `http` and `echo` both listen on port 80; let each port belong to one"}},
    {"PortRangeMalformed",
     {{"7000-7009", "7009-7000"}},
     {"a.yaml:44:29: `7009-7000` is not a port or a range of ports; write 80 or 19000-19099, each from 1 to "
      "65535"}},
    {"SourceAddressShared",
     {{"    arp: gratuitous", "    arp: gratuitous\n    source_addresses: [10.20.0.100/24]"}},
     {"a.yaml:48:24: 10.20.0.100 cannot be a source address of group `second`, it is a source address of "
      "group `web` already; choose a free address"}},
    {"MacMulticast",
     {{"02:55:53:00:00:01", "03:55:53:00:00:01"}},
     {"a.yaml:38:10: `03:55:53:00:00:01` is a multicast address; make the first byte even, best 02"}},
    {"MacZero",
     {{"02:55:53:00:00:01", "00:00:00:00:00:00"}},
     {"a.yaml:38:10: the MAC address is all zeros; give one of your own, as in \"02:55:53:00:00:01\""}},
    {"MacMalformed",
     {{"02:55:53:00:00:01", "02-55-53"}},
     {"a.yaml:38:10: `02-55-53` is not a MAC address; write six hex pairs, as in \"02:55:53:00:00:01\""}},
    {"MacMissing",
     {{"    mac: \"02:55:53:00:00:01\"\n", ""}},
     {"a.yaml:36:5: a group has no `mac`; add the key"}},
    {"MacDuplicated",
     {{"    arp: gratuitous", "    mac: \"02:55:53:00:00:01\""}},
     {"a.yaml:47:10: the group MAC `02:55:53:00:00:01` is taken on line 38; give each its own"}},
    {"UnknownPool",
     {{"pool: nginx", "pool: ngnix"}},
     {"a.yaml:43:59: there is no pool `ngnix`; did you mean `nginx`?"}},
    {"UnknownNode", {{"[n1, n2]", "[n1, n3]"}}, {"a.yaml:41:22: there is no node `n3`; did you mean `n1`?"}},
    {"NodeTwiceInSuccessors",
     {{"[n1, n2]", "[n1, n1]"}},
     {"a.yaml:41:22: node `n1` stands in the list already; remove one"}},
    {"ProxyWithoutPool",
     {{", pool: nginx", ""}},
     {"a.yaml:43:9: service `http` is a proxy and names no `pool`; say which backends it sends to"}},
    {"PoolOnNonProxy",
     {{"application: tally", "application: tally, pool: nginx"}},
     {"a.yaml:52:62: service `tally` is no proxy and takes no `pool`; remove the key or set `application: "
      "proxy`"}},
    {"UnknownApplication",
     {{"application: tally", "application: taly"}},
     {"a.yaml:52:49: `application` cannot be `taly`; did you mean `tally`?"}},
    {"ProxyWithoutSourceAddresses",
     {{"    source_addresses: [10.20.0.100/24]\n", ""}},
     {"a.yaml:36:5: group `web` has a proxy service and no `source_addresses`; add an address of the back "
      "network, from which it talks to backends"}},
    {"LeaseNotShorterThanTimeout",
     {{"in_sync_lease: 60ms", "in_sync_lease: 100ms"}},
     {"a.yaml:6:18: in_sync_lease (100ms) must be shorter than standby_timeout (100ms), or a standby that "
      "was dropped could still believe that it is in sync; shorten it to 60ms"}},
    {"LeaseShorterThanTwoHeartbeats",
     {{"in_sync_lease: 60ms", "in_sync_lease: 30ms"}},
     {"a.yaml:6:18: in_sync_lease (30ms) must span two heartbeats (20ms each), or one lost frame makes a "
      "standby stale; lengthen it or shorten heartbeat.interval"}},
    {"HeartbeatTooSmall",
     {{"interval: 20ms", "interval: 500us"}},
     {"a.yaml:4:25: `interval` must be from 1ms to 10s, but `500us` stands here"}},
    {"OneMissedHeartbeat",
     {{"misses: 5", "misses: 1"}},
     {"a.yaml:4:39: `misses` must be a whole number from 2 to 1000, but `1` stands here"}},
    {"DeadTooSoon",
     {{"interval: 20ms, misses: 5", "interval: 2ms, misses: 3"}},
     {"a.yaml:4:14: a node would count as dead after 6ms of silence, which a busy processor can cause by "
      "itself; interval x misses must be at least 10ms"}},
    {"ShardsNoPowerOfTwo",
     {{"shards: 64", "shards: 48"}},
     {"a.yaml:8:11: `shards` must be a power of two, and 48 is none; choose 64"}},
    {"MoreWorkersThanShards",
     {{"shards: 64", "shards: 1"}},
     {"a.yaml:13:14: node `n1` has 2 workers for 1 shards, so some would have nothing to do; lower `workers` "
      "or raise `cluster.shards`"}},
    {"WeightZero",
     {{"weight: 3", "weight: 0"}},
     {"a.yaml:33:59: `weight` must be a whole number from 1 to 256, but `0` stands here"}},
    {"FewerCpusThanWorkers",
     {{"[0, 1]", "[0]"}},
     {"a.yaml:14:12: node `n1` has 2 workers and only 1 of `cpus`; list one for each worker, or remove the "
      "key to run on any"}},
    {"CpuTwice", {{"[0, 1]", "[1, 1]"}}, {"a.yaml:14:15: processor 1 is listed twice; remove one"}},
    {"CpuNonsense",
     {{"[0, 1]", "[0, all]"}},
     {"a.yaml:14:15: `all` is not the number of a processor; see `lscpu --extended`"}},
    {"NoWorkers",
     {{"workers: 2", "workers: 0"}},
     {"a.yaml:13:14: `workers` must be a whole number from 1 to 128, but `0` stands here"}},
    {"EmptyLists",
     {{"[10.10.0.10/24]", "[]"}, {"[n2, n1]", "[]"}},
     {"a.yaml:39:18: `virtual_ips` of a group is empty; list at least one",
      "a.yaml:49:17: `successors` of a group is empty; list at least one"}},
    {"RolesMissing",
     {{"[back, peer]", "[back]"}},
     {"a.yaml:25:7: no port of node `n2` has the peer role; add it to the `roles` of one, a port may have "
      "several"}},
    {"RoleUnknown",
     {{"[back, peer]", "[back, pear]"}},
     {"a.yaml:25:7: no port of node `n2` has the peer role; add it to the `roles` of one, a port may have "
      "several",
      "a.yaml:26:73: a role cannot be `pear`; choose from: front, back, peer"}},
    {"DeviceUnknown",
     {{"\"0000:03:00.0\"", "eth0"}},
     {"a.yaml:20:30: `eth0` is neither a PCI address (0000:03:00.0) nor a virtual device; for a kernel "
      "interface write \"net_af_packet0,iface=NAME\""}},
    {"DeviceTwice",
     {{"net_af_packet2,iface=peer", "net_af_packet0,iface=peer"}},
     {"a.yaml:21:30: the device `net_af_packet0` is taken on line 19; give each its own"}},
    {"NameMalformed",
     {{"name: web", "name: we b"}},
     {"a.yaml:36:11: `we b` cannot be a name; use up to 63 letters, digits, `-`, `_` and `.`"}},
    {"CheckWithoutPort",
     {{", port: 8080", ""}},
     {"a.yaml:34:9: backend `b2` has no `port`, and the pool's check does not say which to try; add `check: "
      "{port: N}` to pool `nginx`"}},
    {"ConsoleSocketRelative",
     {{"    idle: poll", "    idle: poll\n    console_socket: n1.sock"}},
     {"a.yaml:16:21: `n1.sock` cannot be a socket; give an absolute path of at most 107 bytes"}},
    {"SecretFileMissing",
     {{"  arbiter: none", "  arbiter: none\n  secret_file: /nowhere/at-all.secret"}},
     {"a.yaml:4:16: the secret file /nowhere/at-all.secret cannot be read: No such file or directory; make "
      "one with `(umask 077; head -c 32 /dev/urandom > /nowhere/at-all.secret)` and give every node the "
      "same"}},
    {"NotYaml",
     {{"[n1, n2]", "[n1, n2"}},
     {"a.yaml:42:13: this is not YAML: end of sequence flow not found; correct the line or quote the value"}},
    {"SecondDocument",
     {{"groups:", "---\ngroups:"}},
     {"a.yaml:35:1: a second document begins; remove the `---` before it"}},
    {"SeveralFaultsInOrder",
     {{"weight: 3", "weight: 0"}, {"shards: 64", "shard: 64"}, {"[n1, n2]", "[n1, m2]"}, {"20ms", "20"}},
     {"a.yaml:4:25: `20` is not a duration; `interval` takes a whole number and a unit: 500us, 20ms, 1s, "
      "5min, 1h",
      "a.yaml:8:3: unknown key `shard` in the cluster; did you mean `shards`?",
      "a.yaml:33:59: `weight` must be a whole number from 1 to 256, but `0` stands here",
      "a.yaml:41:22: there is no node `m2`; did you mean `n2`?"}},
};

class ConfigFaults : public ::testing::TestWithParam<FaultCase> {};

TEST_P(ConfigFaults, NamesPlaceFaultAndCure) {
  const auto result = parse(spoiled(GetParam().changes), "a.yaml");
  ASSERT_TRUE(std::holds_alternative<Faults>(result));
  EXPECT_EQ(std::get<Faults>(result).lines, GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(Each, ConfigFaults, ::testing::ValuesIn(kCases),
                         [](const auto& each) { return std::string(each.param.name); });

// Found by fuzzing: yaml-cpp's LoadAll does not return from such a text.
TEST(ConfigFaults, AStrayCommaOrBracketIsNamed) {
  for (const std::string text : {",", "# a comment\n]", "cluster, nodes"}) {
    const auto result = parse(text, "a.yaml");
    ASSERT_TRUE(std::holds_alternative<Faults>(result)) << text;
    EXPECT_FALSE(std::get<Faults>(result).lines.empty()) << text;
  }
  EXPECT_EQ(
      std::get<Faults>(parse("\n,", "a.yaml")).lines,
      std::vector<std::string>{"a.yaml:2:1: this is not YAML: what stands here belongs to nothing; remove "
                               "it or quote the value"});
}

}  // namespace
}  // namespace understudy::config

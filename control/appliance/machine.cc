#include <array>
#include <cstring>
#include <utility>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/appliance/doctor.h"

namespace understudy::appliance {
namespace {

template <class Query>
bool ask_ethtool(int socket, const std::string& interface, Query& query) {
  ifreq request{};
  if (interface.size() >= sizeof request.ifr_name) return false;
  std::memcpy(request.ifr_name, interface.c_str(), interface.size() + 1);
  request.ifr_data = reinterpret_cast<char*>(&query);
  return ioctl(socket, SIOCETHTOOL, &request) == 0;
}

std::optional<InterfaceFeatures> features_of(const std::string& interface) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return std::nullopt;
  std::optional<InterfaceFeatures> features;
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (ask_ethtool(descriptor, interface, driver)) {
    features = InterfaceFeatures{driver.driver, {}};
    constexpr std::array<std::pair<uint32_t, const char*>, 4> kQueries = {
        {{ETHTOOL_GTXCSUM, "tx"}, {ETHTOOL_GTSO, "tso"}, {ETHTOOL_GGSO, "gso"}, {ETHTOOL_GGRO, "gro"}}};
    for (const auto& [command, name] : kQueries) {
      ethtool_value value{command, 0};
      if (ask_ethtool(descriptor, interface, value) && value.data != 0) features->offloads.emplace_back(name);
    }
  }
  close(descriptor);
  return features;
}

}  // namespace

Machine Machine::this_one() {
  Machine machine;
  machine.features = features_of;
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) == 0) machine.host_name = name.data();
  return machine;
}

}  // namespace understudy::appliance

#include "control/appliance/doctor.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

namespace understudy::appliance {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kCapNetAdmin = 1U << 12, kCapNetRaw = 1U << 13, kCapIpcLock = 1U << 14;

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The rest of the line that begins with `key`.
std::string line_after(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key)) return line.substr(key.size());
  return "";
}

uint64_t capabilities(const Machine& machine) {
  const std::string digits = line_after(read_text(machine.root / "proc/self/status"), "CapEff:");
  return std::strtoull(digits.c_str(), nullptr, 16);
}

// "0-3,7" as numbers.
std::set<unsigned> cpu_list(const std::string& text) {
  std::set<unsigned> cpus;
  std::istringstream ranges(text);
  for (std::string range; std::getline(ranges, range, ',');) {
    char* end = nullptr;
    const unsigned long first = std::strtoul(range.c_str(), &end, 10);
    const unsigned long last = *end == '-' ? std::strtoul(end + 1, nullptr, 10) : first;
    for (unsigned long cpu = first; cpu <= last && cpu < 65536; ++cpu)
      cpus.insert(static_cast<unsigned>(cpu));
  }
  return cpus;
}

struct Examination {
  const Machine& machine;
  std::vector<Finding> findings;
  void add(std::string lack, std::string cure) { findings.push_back({std::move(lack), std::move(cure)}); }
  bool exists(const fs::path& below_root) const {
    std::error_code fault;
    return fs::exists(fs::symlink_status(machine.root / below_root, fault));
  }
};

void check_privileges(Examination& exam) {
  const uint64_t held = capabilities(exam.machine);
  if ((held & kCapNetRaw) == 0 || (held & kCapNetAdmin) == 0)
    exam.add("This process may not open raw sockets and set up interfaces (CAP_NET_RAW, CAP_NET_ADMIN).",
             "sudo understudy ...");
  const std::string limit =
      line_after(read_text(exam.machine.root / "proc/self/limits"), "Max locked memory");
  std::istringstream words(limit);
  std::string soft;
  words >> soft;
  constexpr uint64_t kEnough = 64U << 20;
  if ((held & kCapIpcLock) == 0 && soft != "unlimited" && std::strtoull(soft.c_str(), nullptr, 10) < kEnough)
    exam.add(fmt::format("Only {} bytes of memory may be locked, too few for packet buffers.", soft),
             "ulimit -l unlimited");
}

// Without them libIPSec_MB seals no frame, and the program ends with its first worker.
void check_instructions(Examination& exam) {
  std::istringstream words(line_after(read_text(exam.machine.root / "proc/cpuinfo"), "flags"));
  std::set<std::string> flags;
  for (std::string word; words >> word;) flags.insert(word);
  if (flags.empty() || (flags.contains("aes") && flags.contains("pclmulqdq") && flags.contains("sse4_2")))
    return;
  exam.add(
      "This processor does not offer AES-NI, PCLMULQDQ and SSE4.2, by which frames between nodes are sealed.",
      "grep -m1 -w aes /proc/cpuinfo    # in a virtual machine: give it the host's processor model");
}

void check_hugepages(Examination& exam, const config::NodeConfig* node) {
  if (node != nullptr && node->hugepages == config::Hugepages::never) return;
  uint64_t free_mb = 0;
  for (const auto& [name, page_mb] :
       {std::pair{"hugepages-2048kB", 2U}, std::pair{"hugepages-1048576kB", 1024U}}) {
    const auto text = read_text(exam.machine.root / "sys/kernel/mm/hugepages" / name / "free_hugepages");
    free_mb += std::strtoull(text.c_str(), nullptr, 10) * page_mb;
  }
  const uint64_t wanted_mb = node != nullptr ? node->memory_mb : 512;
  if (free_mb >= wanted_mb) return;
  const bool required = node != nullptr && node->hugepages == config::Hugepages::always;
  exam.add(fmt::format("{} MiB of hugepages are free and {} MiB are wanted{}.", free_mb, wanted_mb,
                       required ? "" : "; a node runs without them, more slowly"),
           fmt::format("sudo sysctl -w vm.nr_hugepages={}", (wanted_mb + 1) / 2));
}

void check_cpus(Examination& exam, const config::NodeConfig& node) {
  const auto online = cpu_list(read_text(exam.machine.root / "sys/devices/system/cpu/online"));
  for (const unsigned cpu : node.cpus)
    if (!online.contains(cpu))
      exam.add(fmt::format("Node `{}` is to run on processor {}, which this machine does not have online.",
                           node.name, cpu),
               fmt::format("lscpu --extended    # and name one of its processors in `cpus` ({})",
                           node.mark.to_string()));
  if (node.workers > online.size())
    exam.add(fmt::format("Node `{}` has {} workers, and this machine has {} processors.", node.name,
                         node.workers, online.size()),
             fmt::format("nproc    # and lower `workers` ({})", node.mark.to_string()));
}

// A driver's plugin, in the folder where Debian's DPDK looks for them.
bool has_driver(const Machine& machine, const std::string& driver) {
  std::error_code fault;
  for (fs::directory_iterator arch(machine.root / "usr/lib", fault), end; !fault && arch != end;
       arch.increment(fault)) {
    std::error_code inner;
    for (fs::directory_iterator version(arch->path() / "dpdk", inner); !inner && version != end;
         version.increment(inner)) {
      std::error_code deepest;
      for (fs::directory_iterator plugin(version->path(), deepest); !deepest && plugin != end;
           plugin.increment(deepest))
        if (plugin->path().filename().string().starts_with("librte_" + driver + ".so")) return true;
    }
  }
  return false;
}

std::string argument_of(const std::string& device, std::string_view key) {
  std::istringstream arguments(device);
  for (std::string argument; std::getline(arguments, argument, ',');)
    if (argument.starts_with(key)) return argument.substr(key.size());
  return "";
}

void check_interface(Examination& exam, const config::PortConfig& port, const std::string& interface) {
  if (!exam.exists(fs::path("sys/class/net") / interface)) {
    exam.add(
        fmt::format("Port `{}` wants the interface `{}`, which is not here.", port.name, interface),
        fmt::format("ip link    # and name one of its interfaces in `device` ({})", port.mark.to_string()));
    return;
  }
  const auto features = exam.machine.features ? exam.machine.features(interface) : std::nullopt;
  if (!features || features->driver != "veth" || features->offloads.empty()) return;
  std::string switches, names;
  for (const std::string& offload : features->offloads) {
    switches += fmt::format(" {} off", offload);
    names += (names.empty() ? "" : ", ") + offload;
  }
  exam.add(fmt::format(
               "The veth interface `{}` has {} on: its kernel side sends frames without checksums or larger "
               "than the MTU.",
               interface, names),
           fmt::format("sudo ethtool -K {}{}", interface, switches));
}

void check_pci(Examination& exam, const config::PortConfig& port) {
  const std::string address = port.device.size() == 7 ? "0000:" + port.device : port.device;
  const fs::path device = fs::path("sys/bus/pci/devices") / address;
  if (!exam.exists(device)) {
    exam.add(
        fmt::format("Port `{}` wants the PCI device {}, which is not here.", port.name, address),
        fmt::format("lspci -D | grep -i ethernet    # and name one in `device` ({})", port.mark.to_string()));
    return;
  }
  std::error_code fault;
  const std::string driver =
      fs::read_symlink(exam.machine.root / device / "driver", fault).filename().string();
  static const std::set<std::string> kUsable = {"vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core",
                                                "mlx4_core"};
  if (!kUsable.contains(driver))
    exam.add(fmt::format("The PCI device {} of port `{}` is bound to {}, where DPDK cannot use it.", address,
                         port.name, driver.empty() ? "no driver" : "`" + driver + "`"),
             fmt::format("sudo modprobe vfio-pci && sudo dpdk-devbind.py --bind=vfio-pci {}", address));
}

void check_port(Examination& exam, const config::PortConfig& port) {
  if (!port.device.starts_with("net_")) {
    check_pci(exam, port);
    return;
  }
  const std::string name = port.device.substr(0, port.device.find(','));
  // net_af_packet0 is served by the driver net_af_packet.
  const std::string driver = name.substr(0, name.find_last_not_of("0123456789") + 1);
  if (!has_driver(exam.machine, driver))
    exam.add(fmt::format("DPDK's driver `{}` of port `{}` is not installed.", driver, port.name),
             "sudo apt-get install dpdk libdpdk-dev");
  const std::string interface = argument_of(port.device, "iface=");
  // A tap makes its interface itself.
  if (!interface.empty() && driver != "net_tap") check_interface(exam, port, interface);
}

Result<const config::NodeConfig*> choose_node(const Machine& machine, const config::Config& config,
                                              const std::optional<std::string>& name) {
  if (!name && config.nodes.size() == 1) return &config.nodes.front();
  const config::NodeConfig* node = config.find_node(name.value_or(machine.host_name));
  if (node != nullptr) return node;
  std::string names;
  for (const auto& known : config.nodes) names += (names.empty() ? "" : ", ") + known.name;
  return Error{name ? fmt::format("{} has no node `{}`; choose from: {}", config.file, *name, names)
                    : fmt::format("{} has several nodes; say with --node which this machine is to be: {}",
                                  config.file, names)};
}

}  // namespace

Result<std::vector<Finding>> examine(const Machine& machine, const config::Config* config,
                                     const std::optional<std::string>& name) {
  const config::NodeConfig* node = nullptr;
  if (config != nullptr) {
    const auto chosen = choose_node(machine, *config, name);
    if (!chosen) return chosen.error();
    node = chosen.value();
  }
  Examination exam{machine, {}};
  check_privileges(exam);
  check_instructions(exam);
  check_hugepages(exam, node);
  if (node == nullptr) {
    if (!has_driver(machine, "net_af_packet"))
      exam.add("DPDK's drivers are not installed.", "sudo apt-get install dpdk libdpdk-dev");
    return exam.findings;
  }
  check_cpus(exam, *node);
  for (const auto& port : node->ports) check_port(exam, port);
  return exam.findings;
}

}  // namespace understudy::appliance

#include "control/appliance/run.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include "common/log.h"
#include "control/appliance/node.h"
#include "control/console/commands.h"
#include "control/console/console_server.h"
#include "control/console/terminal.h"
#include "control/observe/metrics_server.h"
#include "control/observe/node_metrics.h"

namespace understudy::appliance {
namespace {

std::atomic<Node*> running_node{nullptr};

// SIGTERM and SIGINT end the node in an orderly way: the successor is told at once.
void on_signal(int) {
  if (Node* node = running_node.load()) node->quit();
}

void catch_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

}  // namespace

int run_appliance(const RunOptions& options) {
  auto loaded = config::load(options.config);
  if (const auto* faults = std::get_if<config::Faults>(&loaded)) {
    for (const std::string& line : faults->lines) fmt::print(stderr, "{}\n", line);
    return 2;
  }
  auto& config = std::get<config::Config>(loaded);
  for (const std::string& warning : config.warnings) log_warning("config", "{}", warning);
  const config::NodeConfig* node_config = config.find_node(options.node);
  if (node_config == nullptr) {
    fmt::print(stderr, "{}: there is no node \"{}\"; --node takes a name from the list `nodes`\n",
               options.config, options.node);
    return 2;
  }
  const std::string socket = node_config->console_socket;
  const std::optional<config::MetricsConfig> listen = config.metrics;
  auto node = Node::create(std::move(config), options);
  if (!node) {  // the machine has not got what the configuration names
    log_error("node", "{}", node.message());
    return 2;
  }
  console::CommandTable table;
  console::add_commands(table, *node.value());
  auto server = console::ConsoleServer::start(table, socket);
  if (!server) {
    log_error("console", "{}", server.message());
    return 1;
  }
  std::unique_ptr<observe::MetricsServer> metrics;
  if (listen) {
    auto started = observe::MetricsServer::start(listen->address, listen->port,
                                                 [&node] { return observe::node_metrics(*node.value()); });
    if (!started) {
      log_error("metrics", "{}: {}", listen->mark.to_string(), started.message());
      return 2;
    }
    metrics = std::move(started).value();
  }
  running_node.store(node.value().get());
  catch_signals();
  std::atomic<bool> ended{false};
  std::thread terminal;
  if (options.interactive)
    terminal = std::thread([&] { console::run_interactive(table, [&] { return ended.load(); }); });
  const int code = node.value()->run();
  ended.store(true);
  if (terminal.joinable()) terminal.join();
  running_node.store(nullptr);
  metrics.reset();
  server.value().reset();
  return code;
}

}  // namespace understudy::appliance

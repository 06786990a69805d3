#include <fmt/format.h>

#include "control/console/commands.h"

namespace understudy::console {
namespace {

std::string full_name(const CounterView& counter) {
  return fmt::format("{}{}{}", counter.name, counter.unit.empty() ? "" : "_", counter.unit);
}

// One row for each counter of the engines, one column for each worker.
std::string counters_text(const std::vector<WorkerView>& workers) {
  if (workers.empty() || workers[0].counters.empty()) return {};
  std::vector<TextTable::Column> columns = {{"COUNTER"}};
  for (const WorkerView& worker : workers) columns.push_back({fmt::format("W{}", worker.id), Align::right});
  columns.push_back({"WHAT IT COUNTS"});
  TextTable table(columns);
  for (size_t i = 0; i < workers[0].counters.size(); ++i) {
    std::vector<std::string> cells = {full_name(workers[0].counters[i])};
    for (const WorkerView& worker : workers) cells.push_back(std::to_string(worker.counters[i].value));
    cells.emplace_back(workers[0].counters[i].text);
    table.row(cells);
  }
  return fmt::format("\n{}", table.to_string());
}

}  // namespace

void add_show_worker(CommandTable& table, Source& source) {
  table.add({"show worker",
             "what each worker does, and the counters of its TCP engine",
             {},
             [&source](const Arguments&, Output& out) {
               Json list = Json::array();
               TextTable text({{"WORKER", Align::right},
                               {"CPU", Align::right},
                               {"SHARDS", Align::right},
                               {"LEGS", Align::right},
                               {"LOOPS", Align::right},
                               {"BUSY", Align::right},
                               {"LONGEST STALL", Align::right}});
               const std::vector<WorkerView> workers = source.workers();
               for (const WorkerView& worker : workers) {
                 Json counters = Json::object();
                 for (const CounterView& counter : worker.counters)
                   counters[full_name(counter)] = counter.value;
                 list.push_back({{"id", worker.id},
                                 {"cpu", worker.cpu < 0 ? Json(nullptr) : Json(worker.cpu)},
                                 {"shards", worker.shards},
                                 {"connections", worker.connections},
                                 {"loops", worker.loops},
                                 {"busy_percent", worker.busy_percent},
                                 {"longest_stall_us", to_us(worker.longest_stall)},
                                 {"stalls", worker.stalls},
                                 {"standby_drops", worker.standby_drops},
                                 {"counters", counters}});
                 text.row({std::to_string(worker.id), worker.cpu < 0 ? "any" : std::to_string(worker.cpu),
                           std::to_string(worker.shards), std::to_string(worker.connections),
                           std::to_string(worker.loops), fmt::format("{} %", worker.busy_percent),
                           span_text(worker.longest_stall)});
               }
               if (out.format() == Format::json)
                 out.put_json(Json{{"workers", list}});
               else
                 out.put(text.to_string() + counters_text(workers));
             }});
}

}  // namespace understudy::console

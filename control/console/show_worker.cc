#include <fmt/format.h>

#include "control/console/commands.h"

namespace understudy::console {

void add_show_worker(CommandTable& table, Source& source) {
  table.add({"show worker", "what each worker does", {}, [&source](const Arguments&, Output& out) {
               Json list = Json::array();
               TextTable text({{"WORKER", Align::right},
                               {"CPU", Align::right},
                               {"SHARDS", Align::right},
                               {"LEGS", Align::right},
                               {"LOOPS", Align::right},
                               {"BUSY", Align::right},
                               {"LONGEST STALL", Align::right}});
               for (const WorkerView& worker : source.workers()) {
                 list.push_back({{"id", worker.id},
                                 {"cpu", worker.cpu < 0 ? Json(nullptr) : Json(worker.cpu)},
                                 {"shards", worker.shards},
                                 {"connections", worker.connections},
                                 {"loops", worker.loops},
                                 {"busy_percent", worker.busy_percent},
                                 {"longest_stall_us", to_us(worker.longest_stall)}});
                 text.row({std::to_string(worker.id), worker.cpu < 0 ? "any" : std::to_string(worker.cpu),
                           std::to_string(worker.shards), std::to_string(worker.connections),
                           std::to_string(worker.loops), fmt::format("{} %", worker.busy_percent),
                           span_text(worker.longest_stall)});
               }
               if (out.format() == Format::json)
                 out.put_json(Json{{"workers", list}});
               else
                 out.put(text.to_string());
             }});
}

}  // namespace understudy::console

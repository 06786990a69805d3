#include "control/console/commands.h"

namespace understudy::console {

void add_show_backend(CommandTable& table, Source& source) {
  table.add({"show backend",
             "backends, whether they answer and what they carry",
             {},
             [&source](const Arguments&, Output& out) {
               Json list = Json::array();
               TextTable text({{"POOL"},
                               {"BACKEND"},
                               {"ADDRESS"},
                               {"PORT", Align::right},
                               {"STATE"},
                               {"WEIGHT", Align::right},
                               {"OPEN", Align::right},
                               {"SESSIONS", Align::right},
                               {"WHY"}});
               for (const BackendView& backend : source.backends()) {
                 list.push_back({{"pool", backend.pool},
                                 {"name", backend.name},
                                 {"address", backend.address.to_string()},
                                 {"port", backend.port ? Json(backend.port->value()) : Json(nullptr)},
                                 {"up", backend.up},
                                 {"why", backend.why},
                                 {"weight", backend.weight},
                                 {"open_sessions", backend.open_sessions},
                                 {"sessions_total", backend.sessions_total}});
                 text.row({backend.pool, backend.name, backend.address.to_string(),
                           backend.port ? std::to_string(backend.port->value()) : "asked",
                           backend.up ? "up" : "DOWN", std::to_string(backend.weight),
                           std::to_string(backend.open_sessions), std::to_string(backend.sessions_total),
                           backend.why});
               }
               if (out.format() == Format::json)
                 out.put_json(Json{{"backends", list}});
               else
                 out.put(list.empty() ? "No backends are configured.\n" : text.to_string());
             }});
}

}  // namespace understudy::console

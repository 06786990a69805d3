#include "control/console/commands.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::console {

void add_help(CommandTable& table) {
  table.add({"help", "list the commands", {}, [&table](const Arguments&, Output& out) {
               Json list = Json::array();
               size_t width = 0;
               for (const auto& command : table.commands()) width = std::max(width, command->words.size());
               std::string text;
               for (const auto& command : table.commands()) {
                 list.push_back({{"command", command->words}, {"help", command->help}});
                 text += fmt::format("{:<{}}  {}\n", command->words, width, command->help);
               }
               if (out.format() == Format::json)
                 out.put_json(list);
               else
                 out.put(text + "Each takes a last word `json`.\n");
             }});
}

void add_quit(CommandTable& table, Source& source) {
  table.add({"quit",
             "end this node; its groups go to their standbys",
             {},
             [&source](const Arguments&, Output& out) {
               source.quit();
               if (out.format() == Format::json)
                 out.put_json(Json{{"quitting", true}});
               else
                 out.put("The node ends.\n");
             }});
}

void add_commands(CommandTable& table, Source& source) {
  add_show_cluster(table, source);
  add_show_conn(table, source);
  add_show_port(table, source);
  add_show_events(table, source);
  add_show_drops(table, source);
  add_show_worker(table, source);
  add_show_backend(table, source);
  add_show_neighbour(table, source);
  add_show_receipts(table, source);
  add_explain_group(table, source);
  add_failover_group(table, source);
  add_help(table);
  add_quit(table, source);
}

}  // namespace understudy::console

#pragma once

#include "control/console/command_table.h"
#include "control/console/views.h"

namespace understudy::console {

// One noun per file. `table` and `source` outlive each other's use.
void add_show_cluster(CommandTable& table, Source& source);
void add_show_conn(CommandTable& table, Source& source);
void add_show_port(CommandTable& table, Source& source);
void add_show_events(CommandTable& table, Source& source);
void add_show_drops(CommandTable& table, Source& source);
void add_show_worker(CommandTable& table, Source& source);
void add_show_backend(CommandTable& table, Source& source);
void add_show_neighbour(CommandTable& table, Source& source);
void add_failover_group(CommandTable& table, Source& source);
void add_explain_group(CommandTable& table, Source& source);
void add_show_receipts(CommandTable& table, Source& source);
void add_help(CommandTable& table);
void add_quit(CommandTable& table, Source& source);

// All of the above. A new command is a new file and a new line here.
void add_commands(CommandTable& table, Source& source);

}  // namespace understudy::console

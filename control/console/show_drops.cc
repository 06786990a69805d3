#include "control/console/commands.h"

namespace understudy::console {

void add_show_drops(CommandTable& table, Source& source) {
  table.add({"show drops", "dropped frames by reason", {}, [&source](const Arguments&, Output& out) {
               Json list = Json::array();
               TextTable text({{"FRAMES", Align::right}, {"REASON"}, {"MEANING"}});
               bool any = false;
               for (const DropView& drop : source.drops()) {
                 list.push_back({{"reason", drop.name}, {"text", drop.text}, {"frames", drop.frames}});
                 if (drop.frames == 0) continue;  // a machine wants every key, a person what happened
                 any = true;
                 text.row({std::to_string(drop.frames), drop.name, drop.text});
               }
               if (out.format() == Format::json)
                 out.put_json(Json{{"drops", list}});
               else
                 out.put(any ? text.to_string() : "Nothing was dropped.\n");
             }});
}

}  // namespace understudy::console

#include "control/console/commands.h"

namespace understudy::console {

void add_show_events(CommandTable& table, Source& source) {
  table.add(
      {"show events", "what happened, the latest last", {}, [&source](const Arguments&, Output& out) {
         Json list = Json::array();
         TextTable text({{"AGO", Align::right}, {"SUBJECT"}, {"EVENT"}});
         for (const EventView& event : source.events()) {
           list.push_back({{"ago_us", to_us(event.ago)}, {"subject", event.subject}, {"text", event.text}});
           text.row({span_text(event.ago), event.subject, event.text});
         }
         if (out.format() == Format::json)
           out.put_json(Json{{"events", list}});
         else
           out.put(list.empty() ? "No events yet.\n" : text.to_string());
       }});
}

}  // namespace understudy::console

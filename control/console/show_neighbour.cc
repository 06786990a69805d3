#include "control/console/commands.h"

namespace understudy::console {

void add_show_neighbour(CommandTable& table, Source& source) {
  table.add(
      {"show neighbour", "next hops and their MAC addresses", {}, [&source](const Arguments&, Output& out) {
         Json list = Json::array();
         TextTable text({{"ADDRESS"}, {"PORT"}, {"STATE"}, {"MAC"}, {"AGE", Align::right}});
         for (const NeighbourView& neighbour : source.neighbours()) {
           const std::string mac = neighbour.mac ? neighbour.mac->to_string() : "";
           list.push_back({{"address", neighbour.address.to_string()},
                           {"port", neighbour.port},
                           {"state", neighbour.state},
                           {"mac", mac.empty() ? Json(nullptr) : Json(mac)},
                           {"age_us", span_json(neighbour.age)}});
           text.row({neighbour.address.to_string(), neighbour.port, neighbour.state, mac.empty() ? "-" : mac,
                     span_text(neighbour.age)});
         }
         if (out.format() == Format::json)
           out.put_json(Json{{"neighbours", list}});
         else
           out.put(list.empty() ? "No neighbours are known.\n" : text.to_string());
       }});
}

}  // namespace understudy::console

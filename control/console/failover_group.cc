#include <fmt/format.h>

#include "control/console/commands.h"

namespace understudy::console {
namespace {

std::vector<std::string> group_names(Source& source) {
  std::vector<std::string> names;
  for (const GroupView& group : source.cluster().groups) names.push_back(group.name);
  return names;
}

std::vector<std::string> node_names(Source& source) {
  std::vector<std::string> names;
  for (const PeerView& peer : source.cluster().peers) names.push_back(peer.name);
  return names;
}

}  // namespace

void add_failover_group(CommandTable& table, Source& source) {
  table.add({"failover group GROUP to NODE",
             "hand a group that this node owns over to its synced standby, with all connections",
             {{"GROUP", Parameter::Kind::text, "a group's name", [&source] { return group_names(source); }},
              {"NODE", Parameter::Kind::text, "a node's name", [&source] { return node_names(source); }}},
             [&source](const Arguments& arguments, Output& out) {
               const std::string group = *arguments.text("GROUP");
               const std::string node = *arguments.text("NODE");
               const Result<HandOverView> done = source.hand_over(group, node);
               if (!done) return out.fail(done.message());
               if (out.format() == Format::json)
                 out.put_json(Json{{"group", group}, {"owner", node}, {"took_us", to_us(done.value().took)}});
               else
                 out.put(fmt::format("Group {} is {}'s now; handed over in {}.\n", group, node,
                                     span_text(done.value().took)));
             }});
}

}  // namespace understudy::console

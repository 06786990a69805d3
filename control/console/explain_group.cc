#include <fmt/format.h>

#include "control/console/commands.h"
#include "control/console/takeover.h"

namespace understudy::console {
namespace {

std::vector<std::string> group_names(Source& source) {
  std::vector<std::string> names;
  for (const GroupView& group : source.cluster().groups) names.push_back(group.name);
  return names;
}

std::string now_text(const GroupView& group) {
  return fmt::format(
      "Group {}: {} for {}\n"
      "  why            {}\n"
      "  owner          {}, epoch {}.{}\n"
      "  standby        {}\n"
      "  legs           {} protected, {} unprotected\n",
      group.name, group.state, span_text(group.in_state), group.why.empty() ? "-" : group.why,
      group.owner.empty() ? "nobody" : group.owner, group.epoch.counter, group.epoch.node.value(),
      group.standby.empty() ? "nobody" : group.standby, group.protected_legs, group.unprotected_legs);
}

std::string takeover_text(const TakeoverView& t) {
  std::string text = fmt::format("\n{} ago, {}, epoch {}.{}\n  why            {}\n", span_text(t.ago), t.what,
                                 t.epoch.counter, t.epoch.node.value(), t.why);
  if (!t.signs_of_life.empty()) text += fmt::format("  signs of life  {}\n", t.signs_of_life);
  return text + fmt::format(
                    "  consent        {}\n"
                    "  held here      {}\n"
                    "  lost           {}\n"
                    "  took           {}\n",
                    t.consent, t.holdings, t.losses, split_text(t));
}

std::string events_text(const std::vector<EventView>& events) {
  if (events.empty()) return {};
  TextTable table({{"AGO", Align::right}, {"SUBJECT"}, {"EVENT"}});
  for (const EventView& event : events) table.row({span_text(event.ago), event.subject, event.text});
  return fmt::format("\n{}", table.to_string());
}

Json to_json(const GroupStoryView& story) {
  Json takeovers = Json::array(), transitions = Json::array(), events = Json::array();
  for (const TakeoverView& takeover : story.takeovers) takeovers.push_back(takeover_json(takeover));
  for (const TransitionView& t : story.transitions)
    transitions.push_back({{"ago_us", to_us(t.ago)}, {"from", t.from}, {"to", t.to}, {"why", t.why}});
  for (const EventView& event : story.events)
    events.push_back({{"ago_us", to_us(event.ago)}, {"subject", event.subject}, {"text", event.text}});
  const GroupView& group = story.group;
  return {{"group", group.name},
          {"state", group.state},
          {"in_state_us", to_us(group.in_state)},
          {"why", group.why},
          {"owner", group.owner},
          {"epoch", {{"counter", group.epoch.counter}, {"node", group.epoch.node.value()}}},
          {"takeovers", takeovers},
          {"transitions", transitions},
          {"events", events}};
}

}  // namespace

void add_explain_group(CommandTable& table, Source& source) {
  table.add({"explain group GROUP",
             "what happened to a group and why, with the evidence",
             {{"GROUP", Parameter::Kind::text, "a group's name", [&source] { return group_names(source); }}},
             [&source](const Arguments& arguments, Output& out) {
               const std::string name = *arguments.text("GROUP");
               const auto story = source.story(name);
               if (!story)
                 return out.fail(fmt::format("there is no group `{}`; this node knows: {}", name,
                                             joined(group_names(source), ", ")));
               if (out.format() == Format::json) return out.put_json(to_json(*story));
               out.put(now_text(story->group));
               // How it came to be as it is; what lies further back is in `show receipts`.
               if (!story->takeovers.empty()) out.put(takeover_text(story->takeovers.back()));
               out.put(events_text(story->events));
             }});
}

void add_show_receipts(CommandTable& table, Source& source) {
  table.add({"show receipts",
             "this node's takeovers, each with its timeline and counts",
             {},
             [&source](const Arguments&, Output& out) {
               Json list = Json::array();
               std::string text;
               for (const std::string& name : group_names(source)) {
                 const auto story = source.story(name);
                 if (!story) continue;
                 for (const TakeoverView& takeover : story->takeovers) {
                   Json receipt = {{"group", name}};
                   receipt.update(takeover_json(takeover));
                   list.push_back(std::move(receipt));
                   text += fmt::format("{}Group {}{}", text.empty() ? "" : "\n", name, takeover_text(takeover));
                 }
               }
               if (out.format() == Format::json)
                 out.put_json(Json{{"receipts", list}});
               else
                 out.put(text.empty() ? "This node has taken over nothing since it started.\n" : text);
             }});
}

}  // namespace understudy::console

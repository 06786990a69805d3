#include "control/console/command_table.h"

#include <stdexcept>

#include <gtest/gtest.h>

namespace understudy::console {
namespace {

Command echo_command() {
  return {"say WORD [times COUNT] [loudly]",
          "say a word",
          {{"COUNT", Parameter::Kind::number, "", {}},
           {"WORD", Parameter::Kind::text, "",
            [] {
              return std::vector<std::string>{"hello", "help"};
            }}},
          [](const Arguments& arguments, Output& out) {
            for (uint64_t i = 0; i < arguments.number("COUNT").value_or(1); ++i)
              out.put(*arguments.text("WORD"));
          }};
}

TEST(CommandTable, OptionalPartsMayBeLeftOut) {
  CommandTable table;
  table.add(echo_command());
  EXPECT_EQ(table.execute("say x").text, "x\n");
  EXPECT_EQ(table.execute("  say\tx   times 3 ").text, "xxx\n");
  EXPECT_EQ(table.execute("say x times 2 loudly\r\n").text, "xx\n");
  EXPECT_EQ(table.execute("say x # and nothing else").text, "x\n");
}

TEST(CommandTable, EmptyLinesAndCommentsAreFine) {
  CommandTable table;
  table.add(echo_command());
  for (const char* line : {"", "   ", "\n", "# a comment"}) {
    const Reply reply = table.execute(line);
    EXPECT_TRUE(reply.ok) << line;
    EXPECT_EQ(reply.text, "");
  }
}

TEST(CommandTable, BadInputGetsASentence) {
  CommandTable table;
  table.add(echo_command());
  EXPECT_EQ(table.execute("shout x").text, "there is no command `shout x`; `help` lists the commands\n");
  EXPECT_FALSE(table.execute("say").ok);
  EXPECT_FALSE(table.execute("say x times -1").ok);
  EXPECT_FALSE(table.execute("say x times 99999999999999999999999").ok);
  EXPECT_FALSE(table.execute("say x y").ok);
  EXPECT_FALSE(table.execute("say " + std::string(200, 'x')).ok);
  EXPECT_EQ(table.execute(std::string(481, 'x')).text,
            "the line is longer than 480 characters and was not looked at\n");
  EXPECT_EQ(table.execute(std::string("say \0", 5)).text,
            "the line holds the byte 0x00, which no command has; `help` lists the commands\n");
  EXPECT_FALSE(table.execute("say \xff\xfe").ok);
  EXPECT_FALSE(table.execute(std::string(480, ' ') + "x").ok);
}

TEST(CommandTable, EveryByteAndManyShapesSurvive) {
  CommandTable table;
  table.add(echo_command());
  uint32_t state = 1;
  for (int round = 0; round < 5000; ++round) {
    std::string line = round % 2 == 0 ? "say " : "";
    const size_t length = (state >> 8) % 600;
    for (size_t i = 0; i < length; ++i) {
      state = state * 1664525 + 1013904223;
      line += static_cast<char>(round % 3 == 0 ? state >> 24 : 32 + (state >> 24) % 95);
    }
    const Reply reply = table.execute(line);
    EXPECT_TRUE(reply.text.empty() || reply.text.back() == '\n');
  }
  EXPECT_EQ(table.execute("say x").text, "x\n");
}

TEST(CommandTable, WorkersArePausedForThoseWhoNeedIt) {
  CommandTable table;
  std::string story;
  table.set_pauser([&](bool pause) { story += pause ? "pause " : "resume "; });
  table.add({"calm", "", {}, [&](const Arguments&, Output&) { story += "calm "; }, WorkersMust::run});
  table.add(
      {"delicate", "", {}, [&](const Arguments&, Output&) { story += "delicate "; }, WorkersMust::pause});
  table.add({"broken",
             "",
             {},
             [](const Arguments&, Output&) { throw std::runtime_error("no luck"); },
             WorkersMust::pause});
  EXPECT_TRUE(table.execute("calm").ok);
  EXPECT_TRUE(table.execute("delicate").ok);
  const Reply broken = table.execute("broken");
  EXPECT_FALSE(broken.ok);
  EXPECT_EQ(broken.text, "the command failed: no luck\n");
  EXPECT_EQ(story, "calm pause delicate resume pause resume ");
}

TEST(CommandTable, CompletesWordsAndParameters) {
  CommandTable table;
  table.add(echo_command());
  char into[128] = {};
  int state = 0;
  ASSERT_GT(table.complete("sa", &state, into, sizeof into), 0);
  EXPECT_STREQ(into, "y ");
  state = 0;
  ASSERT_GT(table.complete("say h", &state, into, sizeof into), 0);
  EXPECT_STREQ(into, "el");
}

TEST(Output, NoAnswerLooksLikeItsEnd) {
  Output out(Format::text);
  out.put("a\x04ok\nb\x1b[0m");
  EXPECT_EQ(out.rendered(), "a?ok\nb?[0m\n");
}

TEST(Output, Spans) {
  EXPECT_EQ(span_text(Duration(999us)), "999 us");
  EXPECT_EQ(span_text(Duration(12'340us)), "12.3 ms");
  EXPECT_EQ(span_text(Duration(2500ms)), "2.5 s");
  EXPECT_EQ(span_text(Duration(200s)), "3 min 20 s");
  EXPECT_EQ(span_text(Duration(2h)), "2 h 0 min");
  EXPECT_EQ(span_text(std::optional<Duration>()), "-");
}

}  // namespace
}  // namespace understudy::console

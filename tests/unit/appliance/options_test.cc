#include "control/appliance/options.h"

#include <gtest/gtest.h>

namespace understudy::appliance {
namespace {

using Words = std::vector<std::string>;

template <class T>
T parsed(const Words& words) {
  const auto options = parse_options(words);
  EXPECT_TRUE(options.ok()) << options.message();
  return std::get<T>(options.value());
}

std::string refusal(const Words& words) {
  const auto options = parse_options(words);
  return options.ok() ? "accepted" : options.message();
}

TEST(Options, Run) {
  const auto plain = parsed<RunOptions>({"run", "a.yaml", "--node", "n1"});
  EXPECT_EQ(plain.config, "a.yaml");
  EXPECT_EQ(plain.node, "n1");
  EXPECT_FALSE(plain.interactive);
  EXPECT_TRUE(plain.eal_arguments.empty());
  const auto full = parsed<RunOptions>(
      {"run", "--interactive", "--node=n2", "b.yaml", "--", "--no-huge", "-m", "64", "--help", "--"});
  EXPECT_EQ(full.config, "b.yaml");
  EXPECT_EQ(full.node, "n2");
  EXPECT_TRUE(full.interactive);
  EXPECT_EQ(full.eal_arguments, (Words{"--no-huge", "-m", "64", "--help", "--"}));
}

TEST(Options, RunMisused) {
  const std::string usage = "; usage: understudy run CONFIG --node NAME [--interactive] [-- EAL ARGUMENTS]";
  EXPECT_EQ(refusal({"run"}), "`run` needs a configuration file" + usage);
  EXPECT_EQ(refusal({"run", "a.yaml"}), "`run` needs --node, which of the file's nodes to be" + usage);
  EXPECT_EQ(refusal({"run", "a.yaml", "b.yaml", "--node", "n1"}), "`b.yaml` is a word too many" + usage);
  EXPECT_EQ(refusal({"run", "a.yaml", "--nodes", "n1"}), "unrecognised option '--nodes'" + usage);
  EXPECT_EQ(refusal({"run", "a.yaml", "--node"}),
            "the required argument for option '--node' is missing" + usage);
  EXPECT_NE(refusal({"run", "a.yaml", "--node", "n1", "--node", "n2"}), "accepted");
}

TEST(Options, Check) {
  EXPECT_EQ(parsed<CheckOptions>({"check", "a.yaml"}).config, "a.yaml");
  EXPECT_EQ(refusal({"check"}), "`check` needs a configuration file; usage: understudy check CONFIG");
  EXPECT_EQ(refusal({"check", "a", "b"}), "`b` is a word too many; usage: understudy check CONFIG");
}

TEST(Options, Console) {
  const auto plain = parsed<ConsoleOptions>({"console"});
  EXPECT_TRUE(plain.client.socket.empty() && plain.client.command.empty());
  const auto full = parsed<ConsoleOptions>(
      {"console", "--socket", "/a.sock", "--stop-on-error", "--echo", "show", "conn", "--limit"});
  EXPECT_EQ(full.client.socket, "/a.sock");
  EXPECT_TRUE(full.client.stop_on_error && full.client.echo);
  EXPECT_EQ(full.client.command, (Words{"show", "conn", "--limit"}));
  EXPECT_EQ(parsed<ConsoleOptions>({"console", "--socket=/b", "--", "help"}).client.command, Words{"help"});
  EXPECT_NE(refusal({"console", "--colour", "help"}).find("unrecognised option '--colour'"),
            std::string::npos);
  EXPECT_NE(refusal({"console", "--socket"}), "accepted");
}

TEST(Options, Doctor) {
  EXPECT_FALSE(parsed<DoctorOptions>({"doctor"}).config);
  const auto full = parsed<DoctorOptions>({"doctor", "a.yaml", "--node", "n1"});
  EXPECT_EQ(full.config, "a.yaml");
  EXPECT_EQ(full.node, "n1");
  EXPECT_EQ(
      refusal({"doctor", "--node", "n1"}),
      "--node needs the configuration file that has it; usage: understudy doctor [CONFIG] [--node NAME]");
}

TEST(Options, VersionHelpAndStrangers) {
  parsed<VersionOptions>({"version"});
  parsed<VersionOptions>({"--version"});
  parsed<HelpOptions>({"help"});
  parsed<HelpOptions>({"--help"});
  parsed<HelpOptions>({"run", "--help"});
  EXPECT_EQ(refusal({}), "a command is missing; `understudy help` lists them");
  EXPECT_EQ(refusal({"start"}), "there is no command `start`; `understudy help` lists them");
  EXPECT_NE(refusal({"version", "now"}), "accepted");
  for (const char* command : {"run", "check", "console", "doctor", "version"})
    EXPECT_NE(help_text().find(std::string("understudy ") + command), std::string::npos);
}

}  // namespace
}  // namespace understudy::appliance

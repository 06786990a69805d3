#include "control/console/terminal.h"

#include <thread>

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include "control/console/commands.h"
#include "tests/unit/console/fake_source.h"

namespace understudy::console {
namespace {

// What a terminal of two ends shows after `keys`, until `wanted` appears or three seconds pass.
std::string screen_until(int screen, std::string_view wanted) {
  std::string shown;
  pollfd wait{screen, POLLIN, 0};
  while (shown.find(wanted) == std::string::npos && poll(&wait, 1, 3000) > 0) {
    char block[4096];
    const ssize_t length = read(screen, block, sizeof block);
    if (length <= 0) break;
    shown.append(block, static_cast<size_t>(length));
  }
  return shown;
}

TEST(Terminal, EditsCompletesAndEnds) {
  int screen = -1, keyboard = -1;
  ASSERT_EQ(openpty(&screen, &keyboard, nullptr, nullptr, nullptr), 0);
  FakeSource source;
  CommandTable table;
  add_commands(table, source);
  std::vector<std::string> entered;
  Terminal terminal(table, "understudy> ", keyboard, keyboard, [&](std::string_view line) {
    entered.emplace_back(line.substr(0, line.find('\n')));
    write_all(keyboard, table.execute(line).text);
    return entered.size() == 2 ? Terminal::After::end : Terminal::After::go_on;
  });
  std::thread thread([&] { terminal.run([] { return false; }); });
  EXPECT_NE(screen_until(screen, "understudy> ").find("understudy> "), std::string::npos);
  EXPECT_TRUE(write_all(screen, "show dr\t\n"));
  EXPECT_NE(screen_until(screen, "tcp_checksum").find("tcp_checksum"), std::string::npos);
  EXPECT_TRUE(write_all(screen, "nonsense\n"));
  EXPECT_NE(screen_until(screen, "there is no command").find("there is no command `nonsense`"),
            std::string::npos);
  thread.join();
  ASSERT_EQ(entered.size(), 2U);
  EXPECT_EQ(entered[0], "show drops ");
  close(screen);
  close(keyboard);
}

TEST(Terminal, EndsWhenToldTo) {
  int in[2];
  ASSERT_EQ(pipe(in), 0);
  CommandTable table;
  Terminal terminal(table, "> ", in[0], STDOUT_FILENO,
                    [](std::string_view) { return Terminal::After::go_on; });
  int asked = 0;
  terminal.run([&] { return ++asked > 1; });
  EXPECT_EQ(asked, 2);
  close(in[0]);
  close(in[1]);
}

}  // namespace
}  // namespace understudy::console

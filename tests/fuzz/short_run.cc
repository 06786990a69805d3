// A main for a fuzz target built without libFuzzer: plays the seeds in the folder named, then random inputs
// for two seconds. The same inputs every time; with a file instead of a folder, that input only. An input
// that ends the process is left in a file of the working directory.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "common/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Half of them are a seed with some bytes changed.
Bytes random_input(understudy::Random& random, const std::vector<Bytes>& seeds) {
  if (!seeds.empty() && random.chance(1, 2)) {
    Bytes input = seeds[random.below(static_cast<uint32_t>(seeds.size()))];
    for (uint32_t changes = 1 + random.below(8); changes > 0 && !input.empty(); --changes)
      input[random.below(static_cast<uint32_t>(input.size()))] = static_cast<uint8_t>(random.next());
    return input;
  }
  Bytes input(random.below(random.chance(1, 4) ? 2000 : 200));
  for (uint8_t& byte : input) byte = static_cast<uint8_t>(random.next());
  return input;
}

// Not what a signal handler may do by the letter; but the process is about to end, and the input would be
// lost.
const Bytes* playing = nullptr;
void keep_input(int number) {
  if (std::FILE* file = std::fopen("fuzz-finding", "wb")) {
    std::fwrite(playing->data(), 1, playing->size(), file);
    std::fclose(file);
    std::fputs("the input is in ./fuzz-finding\n", stderr);
  }
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void play(const Bytes& input) {
  playing = &input;
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

int main(int count, char** arguments) {
  using Clock = std::chrono::steady_clock;
  for (const int number : {SIGABRT, SIGSEGV, SIGFPE, SIGILL}) std::signal(number, keep_input);
  std::vector<Bytes> seeds;
  const std::filesystem::path given = count > 1 ? arguments[1] : "";
  if (std::filesystem::is_directory(given)) {
    for (const auto& entry : std::filesystem::directory_iterator(given))
      seeds.push_back(read_file(entry.path()));
  } else if (std::filesystem::exists(given)) {
    seeds.push_back(read_file(given));
  }
  for (const Bytes& seed : seeds) play(seed);
  size_t executions = seeds.size();
  understudy::Random random(1);
  const auto end = Clock::now() + std::chrono::seconds(2);
  for (; !std::filesystem::is_regular_file(given) && Clock::now() < end; ++executions) {
    const Bytes input = random_input(random, seeds);
    play(input);
  }
  std::printf("%zu executions, %zu of them seeds\n", executions, seeds.size());
  return 0;
}

#include <algorithm>

#include <gtest/gtest.h>

#include "dataplane/dpdk/eal.h"

namespace understudy {
namespace {

EalSettings settings_for(unsigned workers, std::vector<unsigned> cpus = {}) {
  EalSettings settings;
  settings.file_prefix = "unit";
  settings.memory_mb = 128;
  settings.workers = workers;
  settings.cpus = std::move(cpus);
  return settings;
}

bool has(const EalArguments& arguments, const std::string& wanted) {
  return std::ranges::count(arguments.arguments, wanted) == 1;
}

TEST(EalArguments, EnoughHugepagesAreUsedWithoutFiles) {
  auto result = eal_arguments(settings_for(1), 128, {0, 1});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(has(result.value(), "--in-memory"));
  EXPECT_FALSE(has(result.value(), "--no-huge"));
  EXPECT_TRUE(result.value().notice.empty());
}

TEST(EalArguments, TooFewHugepagesMeanOrdinaryPagesAndANotice) {
  auto result = eal_arguments(settings_for(1), 127, {0, 1});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(has(result.value(), "--no-huge"));
  EXPECT_TRUE(has(result.value(), "--no-shconf"));
  EXPECT_FALSE(has(result.value(), "--in-memory"));  // the environment refuses the two together
  EXPECT_NE(result.value().notice.find("127 MB"), std::string::npos);
}

TEST(EalArguments, HugepagesThatMustBeThereAreAnErrorWithACure) {
  EalSettings settings = settings_for(1);
  settings.hugepages = HugepageUse::always;
  auto result = eal_arguments(settings, 0, {0});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.message().find("vm.nr_hugepages"), std::string::npos);
}

TEST(EalArguments, HugepagesThatAreNotWantedAreNotMentioned) {
  EalSettings settings = settings_for(1);
  settings.hugepages = HugepageUse::never;
  auto result = eal_arguments(settings, 4096, {0});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(has(result.value(), "--no-huge"));
  EXPECT_TRUE(result.value().notice.empty());
}

TEST(EalArguments, WorkersFloatUnlessProcessorsAreNamed) {
  EXPECT_TRUE(has(eal_arguments(settings_for(2), 0, {0, 1, 2, 3}).value(),
                  "--lcores=0@(0,1,2,3),1@(0,1,2,3),2@(0,1,2,3)"));
  EXPECT_TRUE(has(eal_arguments(settings_for(3, {0, 1}), 0, {0, 1}).value(),
                  "--lcores=0@(0,1),1@(0,1),2@(0,1),3@(0,1)"));
}

TEST(EalArguments, NamedProcessorsPinWorkersAndLeaveTheRestToControl) {
  EXPECT_TRUE(
      has(eal_arguments(settings_for(2, {2, 3, 0}), 0, {0, 1, 2, 3}).value(), "--lcores=0@(0),1@(2),2@(3)"));
  EXPECT_TRUE(has(eal_arguments(settings_for(2, {0, 1}), 0, {0, 1}).value(), "--lcores=0@(0,1),1@(0),2@(1)"));
}

TEST(EalArguments, ProcessorsThatCannotBeUsedAreRefused) {
  auto foreign = eal_arguments(settings_for(1, {7}), 0, {0, 1});
  ASSERT_FALSE(foreign.ok());
  EXPECT_NE(foreign.message().find("processor 7"), std::string::npos);
  EXPECT_FALSE(eal_arguments(settings_for(1, {1, 1}), 0, {0, 1}).ok());
  EXPECT_FALSE(eal_arguments(settings_for(0), 0, {0}).ok());
  EXPECT_FALSE(eal_arguments(settings_for(100'000), 0, {0}).ok());
}

TEST(EalArguments, PciIsProbedOnlyForNamedDevices) {
  EXPECT_TRUE(has(eal_arguments(settings_for(1), 0, {0}).value(), "--no-pci"));
  EalSettings settings = settings_for(1);
  settings.pci_devices = {"0000:03:00.0"};
  settings.extra_arguments = {"--log-level=debug"};
  auto result = eal_arguments(settings, 0, {0});
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(has(result.value(), "--no-pci"));
  EXPECT_TRUE(has(result.value(), "0000:03:00.0"));
  EXPECT_EQ(result.value().arguments.back(), "--log-level=debug");
}

TEST(EalArguments, AProcessNeedsAPrefixOfItsOwn) {
  EalSettings settings = settings_for(1);
  settings.file_prefix.clear();
  EXPECT_FALSE(eal_arguments(settings, 0, {0}).ok());
}

}  // namespace
}  // namespace understudy

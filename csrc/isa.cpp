#include "isa.h"

#include <string.h>

#include <atomic>

#include "edgepers.h"

namespace edgepers {

#define EDGEPERS_DECLARE(isa)  \
  namespace isa {              \
  extern const Kernels kTable; \
  }
EDGEPERS_ALL(EDGEPERS_DECLARE)

namespace {

// From the best to the one that always runs: the build's list, worst first, reversed.
#define EDGEPERS_ENTRY(isa) &isa::kTable,
const Kernels* const kTables[] = {EDGEPERS_ALL(EDGEPERS_ENTRY)};
constexpr int kCount = sizeof kTables / sizeof *kTables;

std::atomic<const Kernels*> chosen{nullptr};

const Kernels* best(int limit) {
  while (limit > 0 && !kTables[limit]->usable()) limit--;
  return kTables[limit];
}

}  // namespace

const Kernels& kernels() {
  const Kernels* table = chosen.load(std::memory_order_acquire);
  if (!table) chosen.store(table = best(kCount - 1), std::memory_order_release);
  return *table;
}

}  // namespace edgepers

extern "C" int edgepers_abi(void) { return EDGEPERS_ABI; }

extern "C" int edgepers_window(void) { return edgepers::kWindow; }

extern "C" const char* edgepers_isa(void) { return edgepers::kernels().name; }

extern "C" int edgepers_limit_isa(const char* name) {
  for (int i = edgepers::kCount - 1; i >= 0; i--) {
    if (name && strcmp(name, edgepers::kTables[i]->name)) continue;
    edgepers::chosen.store(edgepers::best(i));
    return 1;
  }
  return 0;
}

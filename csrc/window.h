// What the definition of the windowed entropy fixes, for CPUs and GPUs alike.
#pragma once

namespace edgepers {

constexpr int kWindow = 16;      // rows; edgepers_window() tells it to whoever loads the library
constexpr float kTiny = 1e-30f;  // a smaller float32 sum of squares has lost digits to underflow

}  // namespace edgepers

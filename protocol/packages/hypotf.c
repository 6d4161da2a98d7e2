#include <math.h>

// In the C library since ever, and anew since its version 2.35, which older ones then seem to lack. Swift's overlay of
// that library names it, and nothing here calls it. A double holds the squares of floats exactly.
float hypotf(float x, float y) { return (float)sqrt((double)x * x + (double)y * y); }

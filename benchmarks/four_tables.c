/* The floor under record_many: four count tables in turn and nothing else, no moments, no checks but the one
 * that keeps a stray value inside the tables.  test_histogram.py compiles it as its own peer. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CELLS 4096
#define SHIFT 45

static uint32_t cell(double x, uint64_t first)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t at = (bits >> SHIFT) - first;
    return (uint32_t)(at < CELLS - 1 ? at : CELLS - 1);
}

/* `tables`: 4 * CELLS zeroed counts; `first`: the key of the first cell. */
void four_tables(uint32_t *tables, uint64_t first, const double *values, size_t n)
{
    uint32_t *a = tables, *b = a + CELLS, *c = b + CELLS, *d = c + CELLS;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        a[cell(values[i], first)]++;
        b[cell(values[i + 1], first)]++;
        c[cell(values[i + 2], first)]++;
        d[cell(values[i + 3], first)]++;
    }
    for (; i < n; i++) {
        a[cell(values[i], first)]++;
    }
}

#include "pfs_minute.h"

static int64_t second_of(int64_t now_ns)
{
    return now_ns > 0 ? now_ns / INT64_C(1000000000) : 0;
}

void pfs_minute_init(pfs_minute *minute)
{
    for (int i = 0; i < PFS_MINUTE_SLOTS; i++) {
        minute->second[i] = -1;
        minute->count[i] = 0;
    }
}

void pfs_minute_add(pfs_minute *minute, int64_t now_ns)
{
    int64_t second = second_of(now_ns);
    unsigned slot = (unsigned)second & (PFS_MINUTE_SLOTS - 1);
    if (minute->second[slot] < second) {
        minute->second[slot] = second;
        minute->count[slot] = 0;
    }
    minute->count[slot]++;
}

uint64_t pfs_minute_count(const pfs_minute *minute, int64_t now_ns)
{
    int64_t now = second_of(now_ns);
    uint64_t sum = 0;
    for (int i = 0; i < PFS_MINUTE_SLOTS; i++) {
        int64_t second = minute->second[i];
        if (second >= 0 && second <= now && now - second < PFS_MINUTE_SECONDS) {
            sum += minute->count[i];
        }
    }
    return sum;
}

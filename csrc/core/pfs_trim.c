#include "pfs_trim.h"

#include <math.h>

#define ROUNDING 1e-9 /* 1.15 * 100 is 114.99999999999999 in doubles; 115 is meant */

static unsigned role(uint8_t mark)
{
    return mark & (unsigned)PFS_TRIM_ROLE;
}

/* Clears OPENS from the user messages between a call and its reply. */
static void join_turns(uint8_t *marks, size_t count, const uint32_t *answers)
{
    uint32_t earliest = PFS_TRIM_NOTHING; /* call of a reply further on */
    for (size_t i = count; i-- > 0;) {
        if (earliest < i) {
            marks[i] &= (uint8_t)~PFS_TRIM_OPENS;
        }
        if (role(marks[i]) == PFS_TRIM_TOOL && answers[i] < earliest) {
            earliest = answers[i];
        }
    }
}

/* Walks the tool messages and their calls, twice: a pinned reply fixes its call, then a fixed call
 * all its replies. */
static void fix_groups(uint8_t *marks, size_t count, const uint32_t *answers)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t nearest = SIZE_MAX;
        for (size_t i = 0; i < count; i++) {
            if (marks[i] & PFS_TRIM_OPENS) {
                nearest = SIZE_MAX;
            }
            if (marks[i] & PFS_TRIM_CALLS) {
                nearest = i;
            }
            if (role(marks[i]) != PFS_TRIM_TOOL) {
                continue;
            }
            size_t call = nearest;
            if (answers != NULL) {
                call = answers[i] == PFS_TRIM_NOTHING ? SIZE_MAX : answers[i];
            }
            if (call != SIZE_MAX) {
                size_t from = pass == 0 ? i : call, to = pass == 0 ? call : i;
                marks[to] |= marks[from] & PFS_TRIM_FIXED;
            }
        }
    }
}

static void fix_opening(uint8_t *marks, size_t count)
{
    size_t opening = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        if (marks[i] & PFS_TRIM_OPENS) {
            opening = i;
        }
        if ((marks[i] & PFS_TRIM_FIXED) && role(marks[i]) != PFS_TRIM_SYSTEM) {
            if (role(marks[i]) != PFS_TRIM_USER && opening != SIZE_MAX) {
                marks[opening] |= PFS_TRIM_FIXED;
            }
            return;
        }
    }
}

size_t pfs_trim_arrange(uint8_t *marks, size_t count, const uint32_t *answers, bool keep_system)
{
    uint8_t pins = 0, tools = 0;
    for (size_t i = 0; i < count; i++) { /* no branches: compilers do many marks at once */
        unsigned mark = marks[i] & (PFS_TRIM_ROLE | PFS_TRIM_PINNED | PFS_TRIM_CALLS);
        unsigned stays = (mark & PFS_TRIM_PINNED) != 0;
        stays |= (unsigned)keep_system & (unsigned)((mark & PFS_TRIM_ROLE) == PFS_TRIM_SYSTEM);
        mark |= (mark & PFS_TRIM_ROLE) == PFS_TRIM_USER ? PFS_TRIM_OPENS : 0;
        marks[i] = (uint8_t)(mark | stays * (PFS_TRIM_EXEMPT | PFS_TRIM_FIXED));
        pins |= marks[i] & PFS_TRIM_PINNED;
        tools |= (mark & PFS_TRIM_ROLE) == PFS_TRIM_TOOL;
    }
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        length += !(marks[i] & PFS_TRIM_EXEMPT);
    }
    if (answers != NULL) {
        join_turns(marks, count, answers);
    }
    if (pins != 0 && tools != 0) {
        fix_groups(marks, count, answers);
    }
    if (pins != 0) {
        fix_opening(marks, count);
    }
    return length;
}

pfs_trim_reason pfs_trim_by_length(const pfs_trim_policy *policy, const uint8_t *marks,
                                   size_t count, size_t length, size_t *cut)
{
    double safe = 2.0 * (double)policy->max_pairs + 5.0;
    *cut = 0;
    if (!((double)length > policy->trim_threshold * safe + ROUNDING)) {
        return PFS_TRIM_NONE;
    }
    bool emergency = (double)length > policy->emergency_threshold * safe + ROUNDING;
    double keep = fmax(1.0, floor(policy->safe_level * (double)policy->max_pairs + ROUNDING));
    size_t start = count, turns = 0, messages = 0, in_turn = 0;
    for (size_t i = count; i-- > 0;) {
        in_turn += !(marks[i] & PFS_TRIM_EXEMPT);
        if (!(marks[i] & PFS_TRIM_OPENS)) {
            continue;
        }
        turns += in_turn > 0;
        messages += in_turn;
        in_turn = 0;
        if ((double)turns > keep || (emergency && turns > 1 && (double)messages > 2.0 * keep)) {
            break;
        }
        start = i;
    }
    if (start == count && !emergency) {
        return PFS_TRIM_NONE; /* no turn: nothing whole to keep, and no need yet to lose it all */
    }
    if (pfs_trim_removed(marks, start) == 0) {
        return PFS_TRIM_NONE;
    }
    *cut = start;
    return emergency ? PFS_TRIM_EMERGENCY : PFS_TRIM_TRIGGER;
}

size_t pfs_trim_turn_before(const uint8_t *marks, size_t end)
{
    while (--end > 0 && !(marks[end] & PFS_TRIM_OPENS)) {
    }
    return end;
}

size_t pfs_trim_removed(const uint8_t *marks, size_t cut)
{
    size_t removed = 0;
    for (size_t i = 0; i < cut; i++) {
        removed += !(marks[i] & PFS_TRIM_FIXED);
    }
    return removed;
}

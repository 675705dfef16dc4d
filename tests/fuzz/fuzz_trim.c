/* Histories from bytes: two bytes of policy, one with flags, then a byte a message (its role, its
 * flags, and for a tool message how far back its call is).  Checks what every cut must keep to. */
#include <stdlib.h>
#include <string.h>

#include "pfs_trim.h"

#include "fuzzing.h"

static unsigned role(uint8_t mark)
{
    return mark & (unsigned)PFS_TRIM_ROLE;
}

static void check_cut(const uint8_t *marks, size_t count, const uint32_t *answers, size_t cut)
{
    REQUIRE(cut <= count);
    if (pfs_trim_removed(marks, cut) == 0) {
        return;
    }
    bool first = true, opened = false;
    size_t nearest = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        bool kept = i >= cut || (marks[i] & PFS_TRIM_FIXED);
        opened |= (marks[i] & PFS_TRIM_OPENS) != 0;
        if (marks[i] & PFS_TRIM_OPENS) {
            nearest = SIZE_MAX;
        }
        if (marks[i] & PFS_TRIM_CALLS) {
            nearest = i;
        }
        REQUIRE(kept || !(marks[i] & PFS_TRIM_PINNED));
        if (role(marks[i]) == PFS_TRIM_TOOL) {
            size_t call = answers == NULL                  ? nearest
                          : answers[i] == PFS_TRIM_NOTHING ? SIZE_MAX
                                                           : answers[i];
            if (call != SIZE_MAX) { /* together or not at all */
                bool call_kept = call >= cut || (marks[call] & PFS_TRIM_FIXED);
                REQUIRE(kept == call_kept);
            }
        }
        if (kept && first && role(marks[i]) != PFS_TRIM_SYSTEM) {
            first = false; /* the user's, unless no user spoke before what is pinned */
            REQUIRE(role(marks[i]) == PFS_TRIM_USER || ((marks[i] & PFS_TRIM_FIXED) && !opened));
        }
    }
    REQUIRE(cut == count || (marks[cut] & PFS_TRIM_OPENS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    pfs_trim_policy policy = {.max_pairs = 1 + data[0] % 16,
                              .safe_level = 0.1 + (data[0] >> 4) / 10.0,
                              .trim_threshold = 0.1 + (data[1] & 15) / 8.0,
                              .emergency_threshold = 0.1 + (data[1] >> 4) / 8.0};
    bool keep_system = data[2] & 1, told = data[2] & 2;
    data += 3;
    size_t count = size - 3;
    uint8_t *marks = malloc(count + 1);
    uint32_t *answers = told ? malloc((count + 1) * sizeof *answers) : NULL;
    REQUIRE(marks != NULL && (answers != NULL || !told));
    for (size_t i = 0; i < count; i++) {
        marks[i] = data[i] & 15;
        if (role(marks[i]) != PFS_TRIM_ASSISTANT) {
            marks[i] &= (uint8_t)~PFS_TRIM_CALLS;
        }
        if (told) {
            size_t back = data[i] >> 4;
            bool there = back > 0 && back <= i && (marks[i - back] & PFS_TRIM_CALLS);
            answers[i] = there ? (uint32_t)(i - back) : PFS_TRIM_NOTHING;
        }
    }
    size_t length = pfs_trim_arrange(marks, count, answers, keep_system), cut = 99;
    REQUIRE(length <= count);
    pfs_trim_reason reason = pfs_trim_by_length(&policy, marks, count, length, &cut);
    REQUIRE((reason == PFS_TRIM_NONE) == (cut == 0));
    REQUIRE(reason == PFS_TRIM_NONE || pfs_trim_removed(marks, cut) > 0);
    check_cut(marks, count, answers, cut);
    for (size_t end = count; end > 0;) { /* every cut that a token budget may choose */
        size_t turn = pfs_trim_turn_before(marks, end);
        REQUIRE(turn < end);
        if (turn > 0) {
            check_cut(marks, count, answers, turn);
        }
        end = turn;
    }
    free(marks);
    free(answers);
    return 0;
}

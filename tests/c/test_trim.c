/* Cuts of small histories written as letters: u user, a assistant, c assistant that calls tools,
 * t tool, s system; capitals are pinned. */
#include "harness.h"

#include <ctype.h>

#include "pfs_trim.h"

static const pfs_trim_policy SMALL = {.max_pairs = 2, /* safe 9; trims above 13.5, to 2 turns */
                                      .trim_threshold = 1.5,
                                      .safe_level = 1.2,
                                      .emergency_threshold = 2.0};

static uint8_t marks[1000];
static size_t count, length;

static void history(const char *letters, const uint32_t *answers, bool keep_system)
{
    count = strlen(letters);
    for (size_t i = 0; i < count; i++) {
        switch (tolower((unsigned char)letters[i])) {
        case 'u':
            marks[i] = PFS_TRIM_USER;
            break;
        case 'a':
            marks[i] = PFS_TRIM_ASSISTANT;
            break;
        case 'c':
            marks[i] = PFS_TRIM_ASSISTANT | PFS_TRIM_CALLS;
            break;
        case 't':
            marks[i] = PFS_TRIM_TOOL;
            break;
        default:
            marks[i] = PFS_TRIM_SYSTEM;
            break;
        }
        marks[i] |= isupper((unsigned char)letters[i]) ? PFS_TRIM_PINNED : 0;
    }
    length = pfs_trim_arrange(marks, count, answers, keep_system);
}

/* What a cut leaves of the letters. */
static const char *left(const char *letters, size_t cut)
{
    static char text[1000];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (i >= cut || (marks[i] & PFS_TRIM_FIXED)) {
            text[n++] = letters[i];
        }
    }
    text[n] = 0;
    CHECK(n == count - pfs_trim_removed(marks, cut));
    return text;
}

static void expect(const char *letters, pfs_trim_reason reason, const char *kept)
{
    size_t cut = 99;
    history(letters, NULL, true);
    CHECK(pfs_trim_by_length(&SMALL, marks, count, length, &cut) == reason);
    CHECK(strcmp(left(letters, cut), kept) == 0);
}

TEST(thresholds)
{
    expect("", PFS_TRIM_NONE, "");
    expect("uauauauauauau", PFS_TRIM_NONE, "uauauauauauau");           /* 13 */
    expect("uauauauauauaua", PFS_TRIM_TRIGGER, "uaua");                /* 14 */
    expect("suauauauauauaua", PFS_TRIM_TRIGGER, "suaua");              /* s does not count */
    expect("suauauUauauauau", PFS_TRIM_NONE, "suauauUauauauau");       /* nor does U */
    expect("uauauauauauauauaua", PFS_TRIM_TRIGGER, "uaua");            /* 18 */
    expect("uauauauauauauauauau", PFS_TRIM_EMERGENCY, "uau");          /* 19, open turn */
    expect("auauauauauauauaua", PFS_TRIM_TRIGGER, "uaua");             /* starts with a */
    expect("aaaaaaaaaaaaaua", PFS_TRIM_TRIGGER, "ua");                 /* no turn is lost */
    expect("uaaaaaaaaaaaaaaaua", PFS_TRIM_NONE, "uaaaaaaaaaaaaaaaua"); /* 2 turns */
    expect("uaaaaaaaaaaaaaaaaua", PFS_TRIM_EMERGENCY, "ua"); /* forced: 2 turns, but of 4 at most */
    expect("uauaaaaaaaaaaaaaaaaaa", PFS_TRIM_EMERGENCY, "uaaaaaaaaaaaaaaaaaa"); /* newest: whole */
    expect("aaaaaaaaaaaaaaaa", PFS_TRIM_NONE, "aaaaaaaaaaaaaaaa"); /* outside of any turn */
    expect("aaaaaaaaaaaaaaaaaaa", PFS_TRIM_EMERGENCY, "");         /* forced there too */
    expect("uaaaaaaaaaaaaaaaaaaaaaaa", PFS_TRIM_NONE, "uaaaaaaaaaaaaaaaaaaaaaaa");
}

TEST(turns_of_pinned_messages_do_not_count)
{
    expect("uauauauauauauaUA", PFS_TRIM_TRIGGER, "uauaUA");
    expect("uauauauauauauaUa", PFS_TRIM_TRIGGER, "uaUa");
}

TEST(groups_stay_together)
{
    expect("ucttauctauctauctaua", PFS_TRIM_EMERGENCY, "ua");
    expect("ucttauctaucta", PFS_TRIM_NONE, "ucttauctaucta");
    expect("ucTtauctauctaucttaua", PFS_TRIM_EMERGENCY, "ucTtua"); /* a pinned reply: its group */
    expect("uCttauctauctauctaaua", PFS_TRIM_EMERGENCY, "uCttua"); /* a pinned call: its replies */
    expect("uauAuauauauauauauaua", PFS_TRIM_EMERGENCY, "uAuaua"); /* and what opens its turn */
    expect("uaUauAuauauauauauauaua", PFS_TRIM_EMERGENCY,
           "UAuaua"); /* unless a user opens already */
    expect("AuauauauauauauauauauA", PFS_TRIM_EMERGENCY, "AuauA");
}

TEST(late_replies_hold_turns_together)
{
    /*                       0123456789012345678 */
    const char *letters = "uauauauauauaucuauta";
    uint32_t answers[19];
    size_t cut = 0;
    for (size_t i = 0; i < 19; i++) {
        answers[i] = PFS_TRIM_NOTHING;
    }
    answers[17] = 13;
    history(letters, answers, true);
    CHECK(pfs_trim_by_length(&SMALL, marks, count, length, &cut) == PFS_TRIM_EMERGENCY);
    CHECK(cut == 12);
    CHECK(pfs_trim_turn_before(marks, 19) == 12);
    history(letters, NULL, true); /* the negative control: not told, it cuts in between */
    CHECK(pfs_trim_by_length(&SMALL, marks, count, length, &cut) == PFS_TRIM_EMERGENCY);
    CHECK(cut == 16);
}

TEST(system_messages_may_count)
{
    size_t cut = 0;
    history("suauauauauauau", NULL, false);
    CHECK(length == 14);
    CHECK(pfs_trim_by_length(&SMALL, marks, count, length, &cut) == PFS_TRIM_TRIGGER);
    CHECK(strcmp(left("suauauauauauau", cut), "uau") == 0);
}

TEST(levels_are_decimal)
{
    /* 1.15 * 100 is 114.99999999999999 in binary; 115 turns are meant.  Likewise the thresholds. */
    static char letters[1000];
    pfs_trim_policy policy = {100, 1.2, 1.15, 2.0};
    size_t cut = 0;
    memset(letters, 0, sizeof letters);
    for (size_t i = 0; i < 246; i++) {
        letters[i] = i % 2 ? 'a' : 'u';
    }
    history(letters, NULL, true);
    CHECK(pfs_trim_by_length(&policy, marks, count, length, &cut) == PFS_TRIM_NONE); /* 1.2 * 205 */
    letters[246] = 'u';
    letters[247] = 'a';
    history(letters, NULL, true);
    CHECK(pfs_trim_by_length(&policy, marks, count, length, &cut) == PFS_TRIM_TRIGGER);
    CHECK(count - cut == 230);
}

int main(void)
{
    RUN(thresholds);
    RUN(turns_of_pinned_messages_do_not_count);
    RUN(groups_stay_together);
    RUN(late_replies_hold_turns_together);
    RUN(system_messages_may_count);
    RUN(levels_are_decimal);
    FINISH();
}

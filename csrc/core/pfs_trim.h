/* What to keep of a conversation: whole turns, newest first.
 *
 * A history is an array of marks, one byte a message.  A turn is a user message with everything up
 * to the next one ("pair" in the chat-loop guide); what stands before the first user message
 * belongs to no turn.  A trim is one number, the cut: messages from there on stay, of those before
 * it only the fixed ones do.  No allocation, no state: any thread, on its own array.
 */
#ifndef PFS_TRIM_H
#define PFS_TRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_status.h"

enum {
    /* Set by the caller: a role, and flags. */
    PFS_TRIM_USER = 0,
    PFS_TRIM_ASSISTANT = 1,
    PFS_TRIM_TOOL = 2, /* a reply to a call */
    PFS_TRIM_SYSTEM = 3,
    PFS_TRIM_ROLE = 3,   /* mask */
    PFS_TRIM_PINNED = 4, /* stays, and does not count */
    PFS_TRIM_CALLS = 8,  /* calls tools: its replies stay with it */
    /* Set by pfs_trim_arrange. */
    PFS_TRIM_OPENS = 16,  /* a turn starts here */
    PFS_TRIM_EXEMPT = 32, /* does not count towards the length */
    PFS_TRIM_FIXED = 64   /* stays whatever the cut */
};

typedef struct {
    int64_t max_pairs;          /* >= 1 */
    double trim_threshold;      /* of the safe length, 2 * max_pairs + 5: where trimming begins */
    double safe_level;          /* of max_pairs: how many turns it leaves */
    double emergency_threshold; /* of the safe length: where it is forced */
} pfs_trim_policy;

typedef enum {
    PFS_TRIM_NONE,
    PFS_TRIM_TRIGGER,
    PFS_TRIM_EMERGENCY,
    PFS_TRIM_TOKENS
} pfs_trim_reason;

#define PFS_TRIM_NOTHING UINT32_MAX

/* Finds turns, and what stays: system messages (if keep_system) and pinned ones, the whole group of
 * a call and its replies if one of them is pinned, and the user message that opens the turn of the
 * first of all these, so that they do not start with an assistant's answer.
 *
 * answers: NULL when every tool message answers the nearest call before it in its own turn; else,
 * for each tool message, the index of its call, before it, or PFS_TRIM_NOTHING.  User messages
 * between a call and its reply open no turn, so that no cut can part them.
 * Returns the length: how many messages count. */
size_t pfs_trim_arrange(uint8_t *marks, size_t count, const uint32_t *answers, bool keep_system);

/* The cut that the length of an arranged history asks for; *cut = 0 with PFS_TRIM_NONE.
 *
 * Above trim_threshold * safe: the newest floor(safe_level * max_pairs) turns stay (at least one);
 * turns of which nothing counts are not counted.  Above emergency_threshold * safe, moreover: no
 * more messages than these turns have at two each, except the newest turn, which stays whole; and
 * a history without any turn goes. */
pfs_trim_reason pfs_trim_by_length(const pfs_trim_policy *policy, const uint8_t *marks,
                                   size_t count, size_t length, size_t *cut);

/* The start of the last turn before `end` (> 0); 0 if there is none. */
size_t pfs_trim_turn_before(const uint8_t *marks, size_t end);

/* How many messages a cut removes. */
size_t pfs_trim_removed(const uint8_t *marks, size_t cut);

#endif

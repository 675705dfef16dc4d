/* Looks at the payload of a streamed event without decoding it: does this delta carry visible text,
 * reasoning, usage, an error?  What to look for is a list of rules, one for each bit of the answer;
 * a dialect is such a list.
 *
 *     choices[].delta.content           the value there says something: it is not null, false, 0,
 *                                       "", {} or []; of a rule that counts, 0 does
 *     type=response.output_text.delta   the value there is this string, number, true, false or null
 *
 * Keys are parted by dots (and so hold none, nor `[` or `=`), `[]` stands for every element of an
 * array, `[3]` for the fourth and `[-1]` for the last; a path may start with them, and an empty
 * path is the value itself.
 *
 * This is no validator: objects and arrays on the way to a rule are read, all others are only
 * searched for their end.  Repeated keys all count.  One pass, no allocation, no recursion deeper
 * than the rules.  Thread rule: rules are constant once made; any number of threads may scan.
 */
#ifndef PFS_JSON_SCAN_H
#define PFS_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_status.h"

#define PFS_JSON_MAX_RULES 64
#define PFS_JSON_MAX_DEPTH 32 /* keys and [] of a rule */
#define PFS_JSON_MAX_PLACE 9  /* digits of a place in an array */

typedef struct {
    size_t offset, length; /* length 0: the rule did not match */
} pfs_json_span;

typedef struct pfs_json_node pfs_json_node;

typedef struct {
    const pfs_alloc *alloc;
    pfs_json_node *nodes;
    char *text; /* of the rules */
    size_t count, node_count;
    uint64_t counting; /* rules of which 0 says something: none, unless the owner sets them */
    struct {
        const char *equals; /* NULL: says something */
        size_t length;
    } rules[PFS_JSON_MAX_RULES];
} pfs_json_rules;

/* Makes `rules` (not initialised) of `count` NUL-terminated texts, which are copied.  PFS_EINVAL
 * when there are more than PFS_JSON_MAX_RULES; PFS_EFORMAT when *wrong (may be NULL) is not a path,
 * or is too deep; PFS_ENOMEM.  `rules` is untouched then. */
pfs_status pfs_json_rules_init(pfs_json_rules *rules, const char *const *texts, size_t count,
                               size_t *wrong, const pfs_alloc *alloc);

void pfs_json_rules_clear(pfs_json_rules *rules);

/* *matched: bit i is set when rule i matches anywhere.  spans: NULL, or an array of one for each
 * rule, which gets the raw JSON of its first match.  PFS_EFORMAT: not JSON as far as it was read,
 * or cut short; outputs are untouched but for spans, which then mean nothing. */
pfs_status pfs_json_scan(const pfs_json_rules *rules, const char *bytes, size_t length,
                         uint64_t *matched, pfs_json_span *spans);

/* Whether a value, as raw as a span has it, is the string `text`. */
bool pfs_json_is_text(const char *json, size_t length, const char *text, size_t text_length);

#endif

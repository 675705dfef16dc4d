/* The lines of a head, read in place into "name\0value\0", and what stands in a value. */
#ifndef PFS_HTTP_FIELDS_H
#define PFS_HTTP_FIELDS_H

#include "pfs_http.h"

static inline bool pfs_http_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline char pfs_http_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* The value of one line without white space around it; NULL when a control character is in it. */
const char *pfs_http_trim(const char *from, size_t *n);

/* The length of the line at `at` without its end; *next is where the one after it starts. */
size_t pfs_http_line_length(const char *text, size_t at, size_t length, size_t *next);

/* Reads the lines from `at` on.  NULL, or what is wrong; then the text is good for nothing. */
const char *pfs_http_read_fields(pfs_http_fields *fields, size_t at);

/* The next member of a comma-separated list, trimmed; false when there are no more. */
bool pfs_http_member(const char **list, const char **item, size_t *n);

/* Whether an item is this word, which is in lower case; the item's case does not matter. */
bool pfs_http_same(const char *item, size_t n, const char *word);

/* A plain number up to INT64_MAX, or -1. */
int64_t pfs_http_number(const char *item, size_t n);

#endif

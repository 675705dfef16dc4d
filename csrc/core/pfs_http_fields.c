#include "pfs_http_fields.h"

#include <string.h>

/* Letters, digits and the marks that a token may have (RFC 9110, 5.6.2). */
static bool is_token(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

const char *pfs_http_trim(const char *from, size_t *n)
{
    while (*n != 0 && pfs_http_is_blank(from[*n - 1])) {
        --*n;
    }
    while (*n != 0 && pfs_http_is_blank(*from)) {
        from++;
        --*n;
    }
    for (size_t i = 0; i < *n; i++) {
        unsigned char c = (unsigned char)from[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return NULL;
        }
    }
    return from;
}

size_t pfs_http_line_length(const char *text, size_t at, size_t length, size_t *next)
{
    const char *lf = (const char *)memchr(text + at, '\n', length - at);
    size_t end = lf == NULL ? length : (size_t)(lf - text);
    *next = lf == NULL ? length : end + 1;
    return end > at && text[end - 1] == '\r' ? end - at - 1 : end - at;
}

const char *pfs_http_read_fields(pfs_http_fields *fields, size_t at)
{
    char *text = fields->text.at;
    size_t length = fields->text.length, to = at, start = at, count = 0, next;
    for (; at < length; at = next) {
        size_t n = pfs_http_line_length(text, at, length, &next), name = 0;
        if (n == 0) {
            break; /* the blank line */
        }
        if (pfs_http_is_blank(
                text[at])) { /* folded: goes on the line before it, behind one space */
            const char *more = pfs_http_trim(text + at, &n);
            if (to == start) {
                return "a folded line with no header before it";
            }
            if (more == NULL) {
                return "a control character in a header";
            }
            to--;
            if (n != 0) {
                if (text[to - 1] != '\0') {
                    text[to++] = ' ';
                }
                memmove(text + to, more, n);
                to += n;
            }
            text[to++] = '\0';
            continue;
        }
        while (name < n && is_token((unsigned char)text[at + name])) {
            name++;
        }
        if (name == 0 || name == n || text[at + name] != ':') {
            return "a header line that is not \"name: value\"";
        }
        if (++count > PFS_HTTP_MAX_FIELDS) {
            return "too many headers";
        }
        size_t value_length = n - name - 1;
        const char *value = pfs_http_trim(text + at + name + 1, &value_length);
        if (value == NULL) {
            return "a control character in a header";
        }
        for (size_t i = 0; i < name; i++) {
            text[to++] = pfs_http_lower(text[at + i]);
        }
        text[to++] = '\0';
        memmove(text + to, value, value_length);
        to += value_length;
        text[to++] = '\0';
    }
    fields->fields = start;
    fields->text.length = to;
    fields->read = true;
    return NULL;
}

static bool each(const pfs_http_fields *fields, size_t *cursor, const char **name,
                 const char **value)
{
    size_t at = *cursor == 0 ? fields->fields : *cursor;
    if (!fields->read || at >= fields->text.length) {
        return false;
    }
    *name = fields->text.at + at;
    *value = *name + strlen(*name) + 1;
    *cursor = (size_t)(*value - fields->text.at) + strlen(*value) + 1;
    return true;
}

bool pfs_http_each(const pfs_http *h, bool trailers, size_t *cursor, const char **name,
                   const char **value)
{
    return each(trailers ? &h->trailers : &h->head, cursor, name, value);
}

const char *pfs_http_header(const pfs_http *h, const char *name)
{
    const char *found, *value;
    for (size_t cursor = 0; each(&h->head, &cursor, &found, &value);) {
        if (strcmp(found, name) == 0) {
            return value;
        }
    }
    return NULL;
}

bool pfs_http_member(const char **list, const char **item, size_t *n)
{
    while (**list != '\0') {
        const char *at = *list;
        size_t length = strcspn(at, ",");
        *list = at + length + (at[length] == ',');
        while (length != 0 && pfs_http_is_blank(*at)) {
            at++;
            length--;
        }
        while (length != 0 && pfs_http_is_blank(at[length - 1])) {
            length--;
        }
        if (length != 0) {
            *item = at;
            *n = length;
            return true;
        }
    }
    return false;
}

bool pfs_http_same(const char *item, size_t n, const char *word)
{
    size_t i = 0;
    while (i < n && word[i] != '\0' && pfs_http_lower(item[i]) == word[i]) {
        i++;
    }
    return i == n && word[i] == '\0';
}

int64_t pfs_http_number(const char *item, size_t n)
{
    int64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (item[i] < '0' || item[i] > '9' || value > (INT64_MAX - (item[i] - '0')) / 10) {
            return -1;
        }
        value = value * 10 + (item[i] - '0');
    }
    return n == 0 ? -1 : value;
}

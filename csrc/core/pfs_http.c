/* A state machine over the bytes.  A head is collected line by line and read when it is complete:
 * in place, each field becoming "name\0value\0", which is never longer than its line was.  Bodies
 * pass through as slices.  RFC 9112; how a response's length is found is its section 6.3.
 */
#include "pfs_http.h"

#include <string.h>

#include "pfs_http_fields.h"

pfs_status pfs_http_init(pfs_http *h, size_t max_head, const pfs_alloc *alloc)
{
    if (max_head < 64 || max_head > (size_t)1 << 30) {
        return PFS_EINVAL;
    }
    *h = (pfs_http){.alloc = alloc, .max_head = max_head};
    return PFS_OK;
}

void pfs_http_clear(pfs_http *h)
{
    pfs_bytes_release(&h->head.text, h->alloc);
    pfs_bytes_release(&h->trailers.text, h->alloc);
    (void)pfs_http_init(h, h->max_head, h->alloc);
}

void pfs_http_begin(pfs_http *h, bool head_request)
{
    pfs_bytes head = h->head.text, trailers = h->trailers.text;
    (void)pfs_http_init(h, h->max_head, h->alloc);
    h->head_request = head_request;
    h->head.text = head;
    h->trailers.text = trailers;
    pfs_bytes_reuse(&h->head.text, h->alloc, PFS_HTTP_KEEP);
    pfs_bytes_reuse(&h->trailers.text, h->alloc, PFS_HTTP_KEEP);
}

pfs_status pfs_http_feed(pfs_http *h, const char *chunk, size_t length, int64_t at_ns)
{
    if (h->failed != PFS_OK) {
        return h->failed;
    }
    if (h->chunk != NULL && h->at < h->length) {
        return PFS_EINVAL;
    }
    if (length != 0) {
        h->chunk = chunk;
        h->length = length;
        h->at = 0;
        h->at_ns = at_ns;
        h->begun = true;
    }
    return PFS_OK;
}

static pfs_status fail(pfs_http *h, pfs_status status, const char *wrong)
{
    h->failed = status;
    h->wrong = wrong;
    h->chunk = NULL;
    h->length = h->at = 0;
    return status;
}

/* ---- the head -------------------------------------------------------------------------------- */

/* Reads "HTTP/1.x NNN reason".  NULL, or what is wrong. */
static const char *read_status(pfs_http *h, const char *line, size_t n)
{
    if (n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || (n > 12 && line[12] != ' ')) {
        return "the answer does not start with an HTTP/1 status line";
    }
    int64_t status = pfs_http_number(line + 9, 3);
    size_t reason = n - 12;
    if (status < 100 || status > 999 || pfs_http_trim(line + 12, &reason) == NULL) {
        return "the answer does not start with an HTTP/1 status line";
    }
    h->minor = line[7] - '0';
    h->status = (int)status;
    return NULL;
}

/* Finds out how the body ends.  NULL, or what is wrong. */
static const char *read_framing(pfs_http *h)
{
    const char *name, *value, *item;
    size_t n, codings = 0;
    int64_t content_length = -1;
    bool close = false, stay = false, chunked = false, upgrade = h->status == 101;
    for (size_t cursor = 0; pfs_http_each(h, false, &cursor, &name, &value);) {
        if (strcmp(name, "content-length") == 0) {
            bool any = false;
            for (const char *list = value; pfs_http_member(&list, &item, &n); any = true) {
                int64_t length = pfs_http_number(item, n);
                if (length < 0) {
                    return "a content-length that is not a number";
                }
                if (content_length >= 0 && length != content_length) {
                    return "content-lengths that contradict each other";
                }
                content_length = length;
            }
            if (!any) {
                return "a content-length that is not a number";
            }
        } else if (strcmp(name, "transfer-encoding") == 0) {
            for (const char *list = value; pfs_http_member(&list, &item, &n); codings++) {
                chunked = pfs_http_same(item, n, "chunked");
            }
            if (codings != 1 || !chunked) {
                return "a transfer-encoding other than chunked";
            }
        } else if (strcmp(name, "connection") == 0) {
            for (const char *list = value; pfs_http_member(&list, &item, &n);) {
                close = close || pfs_http_same(item, n, "close");
                stay = stay || pfs_http_same(item, n, "keep-alive");
            }
        }
    }
    h->keep_alive = !close && (h->minor == 1 || stay) && !upgrade;
    h->chunked = chunked;
    if (h->head_request || h->status < 200 || h->status == 204 || h->status == 304) {
        /* A length that such a response may not have: who knows what the peer will send. */
        if (h->status == 204 && (chunked || content_length > 0)) {
            h->keep_alive = false;
        }
        h->chunked = false;
        h->state = PFS_HTTP_AT_END;
    } else if (chunked) {
        h->keep_alive = h->keep_alive && content_length < 0 && h->minor == 1;
        h->state = PFS_HTTP_IN_SIZE;
        h->digits = h->chunk_line = 0;
    } else if (content_length >= 0) {
        h->left = (uint64_t)content_length;
        h->state = content_length == 0 ? PFS_HTTP_AT_END : PFS_HTTP_IN_LENGTH;
    } else {
        h->keep_alive = false;
        h->state = PFS_HTTP_IN_CLOSE;
    }
    return NULL;
}

/* Adds what is there of the line under way.  PFS_OK: a blank line has come, the block is complete;
 * PFS_EEMPTY: it has not, and the bytes are used up. */
static pfs_status collect(pfs_http *h, pfs_http_fields *fields)
{
    while (h->at < h->length) {
        const char *from = h->chunk + h->at;
        const char *lf = (const char *)memchr(from, '\n', h->length - h->at);
        size_t n = lf == NULL ? h->length - h->at : (size_t)(lf - from) + 1;
        /* The status line is looked at as it comes, so that what is no HTTP ends here and not
         * after max_head bytes of it. */
        size_t start = fields->text.length;
        if (fields == &h->head && start < 7) {
            size_t shown = n < 7 - start ? n : 7 - start;
            if (memcmp(from, &"HTTP/1."[start], shown) != 0) {
                return fail(h, PFS_EFORMAT, "the answer does not start with an HTTP/1 status line");
            }
        }
        if (n > h->max_head - start) {
            return fail(h, PFS_ERANGE, "the answer's head or trailers are too large");
        }
        if (pfs_bytes_append(&fields->text, h->alloc, from, n) != PFS_OK) {
            return PFS_ENOMEM;
        }
        h->at += n;
        if (lf == NULL) {
            break;
        }
        size_t length = fields->text.length - fields->line;
        const char *line = fields->text.at + fields->line;
        fields->line = fields->text.length;
        if (length == 1 || (length == 2 && line[0] == '\r')) {
            return PFS_OK;
        }
    }
    return PFS_EEMPTY;
}

static pfs_status next_head(pfs_http *h, pfs_http_part *part)
{
    for (;;) {
        pfs_status status = collect(h, &h->head);
        if (status != PFS_OK) {
            return status;
        }
        size_t after;
        size_t n = pfs_http_line_length(h->head.text.at, 0, h->head.text.length, &after);
        const char *wrong = read_status(h, h->head.text.at, n);
        if (wrong == NULL) {
            wrong = pfs_http_read_fields(&h->head, after);
        }
        if (wrong == NULL) {
            wrong = read_framing(h);
        }
        if (wrong != NULL) {
            h->status = 0;
            h->head.read = false;
            return fail(h, PFS_EFORMAT, wrong);
        }
        if (h->status >= 200 || h->status == 101) {
            *part = (pfs_http_part){PFS_HTTP_HEAD, NULL, 0, h->at_ns};
            return PFS_OK;
        }
        if (++h->interim > PFS_HTTP_MAX_INTERIM) {
            return fail(h, PFS_EFORMAT, "too many interim (1xx) responses");
        }
        h->head.text.length = h->head.line = 0;
        h->head.read = false;
        h->status = 0;
        h->state = PFS_HTTP_IN_HEAD;
    }
}

/* ---- the body -------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = pfs_http_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes as much of the body as the chunk has. */
static pfs_status pass(pfs_http *h, pfs_http_part *part, bool counted)
{
    size_t n = h->length - h->at;
    if (counted && n > h->left) {
        n = (size_t)h->left;
    }
    *part = (pfs_http_part){PFS_HTTP_BODY, h->chunk + h->at, n, h->at_ns};
    h->at += n;
    h->left -= counted ? n : 0;
    return PFS_OK;
}

/* One byte of what stands between chunks.  NULL, or what is wrong. */
static const char *between(pfs_http *h, char c)
{
    unsigned char byte = (unsigned char)c;
    switch (h->state) {
    case PFS_HTTP_IN_SIZE:
        if (hex(c) >= 0) {
            if (h->left > (uint64_t)INT64_MAX >> 4 || ++h->digits > 16) {
                return "a chunk's size is too large";
            }
            h->left = (h->left << 4) | (unsigned)hex(c);
            return NULL;
        }
        if (h->digits == 0) {
            return "a chunk without a size";
        }
        h->state = PFS_HTTP_IN_EXTENSION;
        if (c != '\r' && c != ';' && !pfs_http_is_blank(c)) {
            return "a chunk's size is not a number";
        }
        return between(h, c);
    case PFS_HTTP_IN_EXTENSION:
        if (c == '\r') {
            h->state = PFS_HTTP_IN_SIZE_LF;
        } else if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return "a control character in a chunk's line";
        } else if (++h->chunk_line > PFS_HTTP_MAX_CHUNK_LINE) {
            return "a chunk's extensions are too long";
        }
        return NULL;
    case PFS_HTTP_IN_SIZE_LF:
        h->state = h->left == 0 ? PFS_HTTP_IN_TRAILERS : PFS_HTTP_IN_CHUNK;
        return c == '\n' ? NULL : "a chunk's line does not end in CRLF";
    case PFS_HTTP_IN_CHUNK_CR:
        h->state = PFS_HTTP_IN_CHUNK_LF;
        return c == '\r' ? NULL : "a chunk is longer than its size says";
    case PFS_HTTP_IN_CHUNK_LF:
    default:
        h->state = PFS_HTTP_IN_SIZE;
        h->digits = h->chunk_line = 0;
        return c == '\n' ? NULL : "a chunk is longer than its size says";
    }
}

static pfs_status next_trailers(pfs_http *h)
{
    pfs_status status = collect(h, &h->trailers);
    if (status == PFS_OK) {
        const char *wrong = pfs_http_read_fields(&h->trailers, 0);
        if (wrong != NULL) {
            return fail(h, PFS_EFORMAT, wrong);
        }
        h->state = PFS_HTTP_AT_END;
    }
    return status;
}

static pfs_status end(pfs_http *h, pfs_http_part *part)
{
    h->state = PFS_HTTP_DONE;
    *part = (pfs_http_part){PFS_HTTP_END, NULL, 0, h->at_ns};
    return PFS_OK;
}

pfs_status pfs_http_next(pfs_http *h, pfs_http_part *part)
{
    if (h->failed != PFS_OK) {
        return h->failed;
    }
    for (;;) {
        pfs_status status;
        switch (h->state) {
        case PFS_HTTP_AT_END:
            return end(h, part);
        case PFS_HTTP_DONE:
            return PFS_EEMPTY;
        default:
            break;
        }
        if (h->at == h->length) {
            h->chunk = NULL;
            h->at = h->length = 0;
            return PFS_EEMPTY;
        }
        switch (h->state) {
        case PFS_HTTP_IN_HEAD:
            status = next_head(h, part);
            if (status != PFS_EEMPTY) {
                return status;
            }
            break;
        case PFS_HTTP_IN_CLOSE:
            return pass(h, part, false);
        case PFS_HTTP_IN_LENGTH:
            status = pass(h, part, true);
            if (h->left == 0) {
                h->state = PFS_HTTP_AT_END;
            }
            return status;
        case PFS_HTTP_IN_CHUNK:
            status = pass(h, part, true);
            if (h->left == 0) {
                h->state = PFS_HTTP_IN_CHUNK_CR;
            }
            return status;
        case PFS_HTTP_IN_TRAILERS:
            status = next_trailers(h);
            if (status != PFS_OK && status != PFS_EEMPTY) {
                return status;
            }
            break;
        default: {
            const char *wrong = between(h, h->chunk[h->at++]);
            if (wrong != NULL) {
                return fail(h, PFS_EFORMAT, wrong);
            }
            break;
        }
        }
    }
}

pfs_status pfs_http_close(pfs_http *h, pfs_http_part *part)
{
    if (h->failed != PFS_OK) {
        return h->failed;
    }
    if (h->state == PFS_HTTP_DONE || !h->begun) {
        h->keep_alive = false;
        return PFS_EEMPTY;
    }
    if (h->at < h->length || h->state == PFS_HTTP_AT_END) {
        return PFS_EINVAL;
    }
    if (h->state == PFS_HTTP_IN_CLOSE) {
        return end(h, part);
    }
    return fail(h, PFS_EFORMAT,
                h->status == 0 ? "the connection was closed within the answer's head"
                               : "the connection was closed before the answer was complete");
}

/* ---- what is known --------------------------------------------------------------------------- */

const char *pfs_http_wrong(const pfs_http *h)
{
    return h->wrong;
}

bool pfs_http_begun(const pfs_http *h)
{
    return h->begun;
}

bool pfs_http_done(const pfs_http *h)
{
    return h->state == PFS_HTTP_DONE;
}

int pfs_http_status(const pfs_http *h)
{
    return h->status;
}

bool pfs_http_until_close(const pfs_http *h)
{
    return h->state == PFS_HTTP_IN_CLOSE;
}

bool pfs_http_chunked(const pfs_http *h)
{
    return h->chunked;
}

bool pfs_http_keep_alive(const pfs_http *h)
{
    return h->state == PFS_HTTP_DONE && h->keep_alive && h->at == h->length;
}

const char *pfs_http_rest(const pfs_http *h, size_t *length)
{
    bool any = h->state == PFS_HTTP_DONE && h->at < h->length;
    *length = any ? h->length - h->at : 0;
    return any ? h->chunk + h->at : NULL;
}

int64_t pfs_http_content_length(const pfs_http *h)
{
    const char *value = pfs_http_header(h, "content-length"), *item;
    size_t n;
    int64_t length =
        value != NULL && pfs_http_member(&value, &item, &n) ? pfs_http_number(item, n) : -1;
    return length < 0 ? PFS_HTTP_UNKNOWN : length;
}

int64_t pfs_http_retry_after(const pfs_http *h)
{
    const char *value = pfs_http_header(h, "retry-after");
    int64_t seconds = value == NULL ? -1 : pfs_http_number(value, strlen(value));
    return seconds < 0 ? PFS_HTTP_UNKNOWN : seconds;
}

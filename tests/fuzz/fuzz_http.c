/* The bytes of a connection as one chunk and as many: the same responses, the same end; a head that
 * was read says nothing that is not printable; and memory within its bound.  The pieces are blocks
 * of their own, freed when the parser says that it has used them up. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "pfs_http.h"

#include "fuzzing.h"

typedef struct {
    pfs_bytes log;
    uint64_t body;
    int responses;
    bool head;
} record;

static void add(record *r, const char *bytes, size_t n)
{
    REQUIRE(pfs_bytes_append(&r->log, pfs_alloc_libc(), bytes, n) == PFS_OK);
}

static void add_fields(record *r, const pfs_http *h, bool trailers)
{
    const char *name, *value;
    for (size_t cursor = 0; pfs_http_each(h, trailers, &cursor, &name, &value);) {
        REQUIRE(name[0] != '\0' && strpbrk(name, " \t\r\n:") == NULL);
        REQUIRE(strpbrk(value, "\r\n") == NULL && value[0] != ' ');
        add(r, name, strlen(name) + 1);
        add(r, value, strlen(value) + 1);
    }
}

static void add_part(record *r, const pfs_http *h, const pfs_http_part *part)
{
    char line[64];
    int n = 0;
    switch (part->kind) {
    case PFS_HTTP_HEAD:
        REQUIRE(pfs_http_status(h) >= 101 && !pfs_http_done(h));
        n = snprintf(line, sizeof line, "<%d %lld %lld>", pfs_http_status(h),
                     (long long)pfs_http_content_length(h), (long long)pfs_http_retry_after(h));
        add_fields(r, h, false);
        r->body = 0;
        break;
    case PFS_HTTP_BODY:
        REQUIRE(part->length != 0);
        r->body += part->length;
        add(r, part->bytes, part->length);
        break;
    case PFS_HTTP_END:
        REQUIRE(pfs_http_done(h));
        n = snprintf(line, sizeof line, "<end %llu>", (unsigned long long)r->body);
        add_fields(r, h, true);
        break;
    }
    add(r, line, (size_t)n);
}

/* Reads a piece, and the responses that follow in it. */
static pfs_status read_piece(pfs_http *h, record *r, const char *piece, size_t n)
{
    pfs_status status;
    for (;;) {
        pfs_http_part part;
        REQUIRE(pfs_http_feed(h, piece, n, 1) == PFS_OK);
        while ((status = pfs_http_next(h, &part)) == PFS_OK) {
            add_part(r, h, &part);
        }
        if (status != PFS_EEMPTY || !pfs_http_done(h)) {
            return status;
        }
        size_t rest;
        const char *from = pfs_http_rest(h, &rest);
        REQUIRE(rest == 0 || !pfs_http_keep_alive(h));
        if (rest == 0 || ++r->responses == 8) {
            return r->responses == 8 ? PFS_EFULL : PFS_EEMPTY;
        }
        piece = from;
        n = rest;
        pfs_http_begin(h, r->head);
    }
}

static pfs_bytes parse(pfs_http *h, const uint8_t *data, size_t size, bool head, uint32_t cuts)
{
    record r = {.head = head};
    pfs_status status = PFS_EEMPTY;
    pfs_http_part part;
    pfs_http_begin(h, head);
    for (size_t at = 0; at < size && status == PFS_EEMPTY;) {
        size_t n;
        char *piece = fuzzing_piece(data, size, &at, &cuts, &n);
        if (pfs_http_done(h)) {
            if (++r.responses == 8) {
                free(piece);
                status = PFS_EFULL;
                break;
            }
            pfs_http_begin(h, head);
        }
        status = read_piece(h, &r, piece, n);
        free(piece);
        /* Nothing is left to read in the freed piece: it was used up, or the next loop begins. */
    }
    size_t bound = 2 * h->max_head + 64;
    REQUIRE(h->head.text.room <= bound && h->trailers.text.room <= bound);
    if (status == PFS_EEMPTY) {
        status = pfs_http_close(h, &part);
        if (status == PFS_OK) {
            add_part(&r, h, &part);
        }
    }
    char line[160];
    const char *wrong = pfs_http_wrong(h);
    REQUIRE((status == PFS_EFORMAT || status == PFS_ERANGE) == (wrong != NULL));
    int n = snprintf(line, sizeof line, "<%d %s %d>", (int)status, wrong == NULL ? "" : wrong,
                     status == PFS_EFULL ? 0 : (int)pfs_http_keep_alive(h));
    add(&r, line, (size_t)n);
    return r.log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    pfs_http h;
    size_t max_head = data[1] < 128 ? 64 + 8 * (size_t)data[1] : PFS_HTTP_MAX_HEAD;
    REQUIRE(pfs_http_init(&h, max_head, pfs_alloc_libc()) == PFS_OK);
    pfs_bytes whole = parse(&h, data + 3, size - 3, data[0] % 8 == 1, 0);
    pfs_bytes split = parse(&h, data + 3, size - 3, data[0] % 8 == 1, 1 + (uint32_t)data[2]);
    REQUIRE(whole.length == split.length && memcmp(whole.at, split.at, whole.length) == 0);
    pfs_bytes_release(&whole, pfs_alloc_libc());
    pfs_bytes_release(&split, pfs_alloc_libc());
    pfs_http_clear(&h);
    return 0;
}

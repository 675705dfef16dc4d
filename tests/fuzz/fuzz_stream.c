/* A body as one chunk and as many: the same events, the same end; and memory within its bound.
 * The pieces are blocks of their own, freed when the parser says that it has used them up. */
#include <stdint.h>
#include <stdlib.h>

#include "pfs_stream.h"

#include "fuzzing.h"

static void add(pfs_bytes *log, const char *bytes, size_t n)
{
    REQUIRE(pfs_bytes_append(log, pfs_alloc_libc(), (const char *)&n, sizeof n) == PFS_OK);
    REQUIRE(pfs_bytes_append(log, pfs_alloc_libc(), bytes, n) == PFS_OK);
}

static void add_event(pfs_bytes *log, const pfs_stream *s, const pfs_stream_event *event)
{
    REQUIRE(event->length <= s->max_event);
    if (s->kind == PFS_STREAM_TEXT) { /* the cuts are the events: only the bytes can agree */
        REQUIRE(event->length != 0);
        REQUIRE(pfs_bytes_append(log, pfs_alloc_libc(), event->data, event->length) == PFS_OK);
        return;
    }
    add(log, event->data, event->length);
    add(log, event->name, event->name_length);
    add(log, event->id, event->id_length);
}

/* Cuts `size` bytes into pieces whose lengths `cuts` tells (0: one piece), logs what comes out. */
static pfs_bytes parse(pfs_stream *s, const uint8_t *data, size_t size, uint32_t cuts)
{
    pfs_bytes log = {0};
    pfs_stream_event event;
    pfs_status status = PFS_EEMPTY;
    for (size_t at = 0; at < size && status == PFS_EEMPTY;) {
        size_t n;
        char *piece = fuzzing_piece(data, size, &at, &cuts, &n);
        if ((cuts >> 20) % 2 == 1) {
            event = (pfs_stream_event){.id = s->id.at, .id_length = s->id.length};
            if (pfs_stream_whole(s, piece, n, (int64_t)at, &event.data, &event.length)) {
                add_event(&log, s, &event);
                free(piece);
                continue;
            }
        }
        REQUIRE(pfs_stream_feed(s, piece, n, (int64_t)at) == PFS_OK);
        while ((status = pfs_stream_next(s, &event)) == PFS_OK) {
            REQUIRE(event.at_ns == (int64_t)at);
            add_event(&log, s, &event);
        }
        REQUIRE(s->chunk == NULL);
        free(piece);
    }
    size_t bound = 2 * (s->max_event + PFS_STREAM_LINE_SLACK + 1) + 64;
    REQUIRE(s->line.room <= bound && s->data_kept.room <= bound && s->name_kept.room <= bound &&
            s->id.room <= bound);
    while ((status = pfs_stream_end(s, &event)) == PFS_OK) {
        add_event(&log, s, &event);
    }
    if (status == PFS_EFORMAT) {
        add_event(&log, s, &event);
    }
    add(&log, (const char *)&status, sizeof status);
    add(&log, (const char *)&s->retry_ms, sizeof s->retry_ms);
    return log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    size_t max_event = data[1] < 128 ? 1 + data[1] : PFS_STREAM_MAX_EVENT;
    uint32_t cuts = 1 + data[2];
    pfs_stream s;
    REQUIRE(pfs_stream_init(&s, (pfs_stream_kind)(data[0] % 3), max_event, pfs_alloc_libc()) ==
            PFS_OK);
    if (s.kind == PFS_STREAM_TEXT) {
        s.max_event = PFS_STREAM_MAX_EVENT; /* no bound on a piece */
    }
    data += 3;
    size -= 3;
    pfs_bytes whole = parse(&s, data, size, 0);
    pfs_stream_reset(&s);
    pfs_bytes split = parse(&s, data, size, cuts);
    REQUIRE(whole.length == split.length && memcmp(whole.at, split.at, whole.length) == 0);
    pfs_bytes_release(&whole, pfs_alloc_libc());
    pfs_bytes_release(&split, pfs_alloc_libc());
    pfs_stream_clear(&s);
    return 0;
}

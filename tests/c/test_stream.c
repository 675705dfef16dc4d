/* Streams: the standard's rules one by one, every split of a stream, the bounds, work that grows
 * with the input and not with its square, each allocation failing in turn. */
#include "harness.h"

#include "pfs_stream.h"

/* What comes out of a stream, as text: "name|data|id;" for each event. */
typedef struct {
    char text[4096];
    size_t length;
    int events;
    int64_t last_ns;
} seen;

static void see(seen *to, const pfs_stream_event *event)
{
    int n = snprintf(to->text + to->length, sizeof to->text - to->length, "%.*s|%.*s|%.*s;",
                     (int)event->name_length, event->name_length ? event->name : "",
                     (int)event->length, event->length ? event->data : "", (int)event->id_length,
                     event->id_length ? event->id : "");
    to->length += (size_t)n;
    to->events++;
    to->last_ns = event->at_ns;
}

static bool whole_first; /* whether chunks are tried as whole events before they are fed */

/* Feeds a copy of the bytes, which is gone afterwards. */
static pfs_status give(pfs_stream *s, const char *bytes, size_t n, int64_t at_ns, seen *to)
{
    char *copy = malloc(n + 1);
    pfs_stream_event event;
    CHECK(copy != NULL);
    memcpy(copy, bytes, n);
    if (whole_first) {
        event = (pfs_stream_event){.id = s->id.at, .id_length = s->id.length, .at_ns = at_ns};
        if (pfs_stream_whole(s, copy, n, at_ns, &event.data, &event.length)) {
            see(to, &event);
            free(copy);
            return PFS_EEMPTY;
        }
    }
    pfs_status status = pfs_stream_feed(s, copy, n, at_ns);
    while (status == PFS_OK && (status = pfs_stream_next(s, &event)) == PFS_OK) {
        see(to, &event);
    }
    free(copy);
    return status;
}

static pfs_status finish(pfs_stream *s, seen *to)
{
    pfs_stream_event event;
    pfs_status status;
    while ((status = pfs_stream_end(s, &event)) == PFS_OK) {
        see(to, &event);
    }
    if (status == PFS_EFORMAT) {
        see(to, &event);
    }
    return status;
}

/* Whole, byte by byte, and in every two pieces: always these events and this end. */
static void expect_of(pfs_stream_kind kind, const char *bytes, size_t n, const char *expected,
                      pfs_status end)
{
    pfs_stream s;
    CHECK(pfs_stream_init(&s, kind, PFS_STREAM_MAX_EVENT, pfs_alloc_libc()) == PFS_OK);
    for (size_t turn = 0; turn < 2 * (n + 2); turn++) {
        seen to = {0};
        size_t cut = turn / 2;
        whole_first = turn % 2 == 1;
        if (cut <= n) {
            CHECK(give(&s, bytes, cut, 1, &to) == PFS_EEMPTY);
            CHECK(give(&s, bytes + cut, n - cut, 2, &to) == PFS_EEMPTY);
        } else {
            for (size_t i = 0; i < n; i++) {
                CHECK(give(&s, bytes + i, 1, (int64_t)i, &to) == PFS_EEMPTY);
            }
        }
        CHECK(finish(&s, &to) == end);
        if (strcmp(to.text, expected) != 0) {
            fprintf(stderr, "cut at %zu: %s\n", cut, to.text);
        }
        CHECK(strcmp(to.text, expected) == 0);
        pfs_stream_reset(&s);
    }
    whole_first = false;
    pfs_stream_clear(&s);
}

#define EXPECT_OF(kind, bytes, expected, end)                                                      \
    expect_of(kind, bytes, sizeof bytes - 1, expected, end)

static void expect(const char *bytes, const char *expected)
{
    expect_of(PFS_STREAM_SSE, bytes, strlen(bytes), expected, PFS_EEMPTY);
}

/* Whether the chunk is taken as one whole event by a stream that was given `before`. */
static bool whole_after(const char *before, const char *chunk, size_t max_event)
{
    pfs_stream s;
    seen to = {0};
    const char *data = NULL;
    size_t n = 0;
    CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, max_event, pfs_alloc_libc()) == PFS_OK);
    (void)give(&s, before, strlen(before), 1, &to);
    bool taken = pfs_stream_whole(&s, chunk, strlen(chunk), 2, &data, &n);
    CHECK(!taken || (data > chunk && n <= max_event && data[n] == '\n'));
    pfs_stream_clear(&s);
    return taken;
}

TEST(a_chunk_that_is_one_event_needs_no_feeding)
{
    CHECK(whole_after("", "data: a\n\n", 9));
    CHECK(whole_after("", "data:ab\n\n", 2));
    CHECK(!whole_after("", "data:abc\n\n", 2)); /* the general way says that it is too large */
    CHECK(!whole_after("", "data: a\n\ndata: b\n\n", 99));
    CHECK(!whole_after("", "data: a\ndata: b\n\n", 99));
    CHECK(!whole_after("", "data: a\r\r\n\n", 99));
    CHECK(!whole_after("", "data: a\n", 99));
    CHECK(!whole_after("", "event: a\n\n", 99));
    CHECK(!whole_after("data: x\n", "data: a\n\n", 99)); /* an event is under way */
    CHECK(!whole_after("event: x\n", "data: a\n\n", 99));
    CHECK(!whole_after(": x", "data: a\n\n", 99)); /* or a line */
    CHECK(!whole_after("\r", "data: a\n\n", 99));
    CHECK(!whole_after("data: too long\n\n", "data: a\n\n", 2)); /* it has failed */
    CHECK(whole_after(": x\n\n", "data: a\n\n", 99));
}

TEST(the_standards_examples)
{
    expect("data: YHOO\ndata: +2\ndata: 10\n\n", "|YHOO\n+2\n10|;");
    expect(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third "
           "event\n\n",
           "|first event|1;|second event|;| third event|;");
    expect("data\n\ndata\ndata\n\n", "||;|\n|;");
    expect("data:test\n\ndata: test\n\n", "|test|;|test|;");
}

TEST(line_ends_in_every_form)
{
    expect("data:a\r\rdata:b\r\n\r\ndata:c\n\ndata:d\r\n\rdata:e\n\r\n", "|a|;|b|;|c|;|d|;|e|;");
    expect("\r\n\r\n\n\rdata:a\r\ndata:b\rdata:c\n\n", "|a\nb\nc|;");
}

TEST(fields)
{
    expect("event: x\ndata: 1\n\ndata: 2\n\n", "x|1|;|2|;"); /* a name is for one event */
    expect("event: x\n\ndata: 2\n\n", "|2|;");               /* no data: no event */
    expect("event: x\nevent: y\ndata: 1\n\n", "y|1|;");      /* the last one counts */
    expect("event: x\nevent\ndata: 1\n\n", "|1|;");          /* without a value: none */
    expect("data: 1\nevent: late\n\n", "late|1|;");
    expect("Data: 1\nfoo: 2\n data: 3\ndatas: 4\n:c\n\n", ""); /* unknown: ignored */
    expect("id: 7\n\ndata: 1\n\ndata: 2\n\n", "|1|7;|2|7;");   /* an id is for all that follow */
    expect("data: a: b\ndata::\n\n", "|a: b\n:|;");
    static const char nul[] = "id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n";
    EXPECT_OF(PFS_STREAM_SSE, nul, "|x|1;|y|1;", PFS_EEMPTY);
}

TEST(a_byte_order_mark)
{
    expect("\xEF\xBB\xBF"
           "data: 1\n\n",
           "|1|;");
    expect("\xEF\xBB\xBF\n\xEF\xBB\xBF"
           "data: 1\n\n",
           ""); /* only at the start */
    expect("\xEF\xBB"
           "data: 1\n\n",
           "");
    expect("\xEF\xBB\xBF", "");
    EXPECT_OF(PFS_STREAM_NDJSON, "\xEF\xBB\xBF{}\n\xEF\xBB\xBF{}\n", "|{}|;|\xEF\xBB\xBF{}|;",
              PFS_EEMPTY);
}

TEST(retry)
{
    static const struct {
        const char *bytes;
        int64_t ms;
    } cases[] = {{"retry: 3000\n", 3000},
                 {"retry: 1\nretry: -1\n", 1},
                 {"retry: 1\nretry: 2x\nretry\n", 1},
                 {"retry:0\n", 0},
                 {"data: 1\n", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pfs_stream s;
        seen to = {0};
        CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, 100, pfs_alloc_libc()) == PFS_OK);
        CHECK(give(&s, cases[i].bytes, strlen(cases[i].bytes), 1, &to) == PFS_EEMPTY);
        CHECK(s.retry_ms == cases[i].ms);
        CHECK(give(&s, "retry: 99999999999999999999999999\n", 34, 1, &to) == PFS_EEMPTY);
        CHECK(s.retry_ms >= INT64_MAX / 10);
        pfs_stream_clear(&s);
    }
}

TEST(a_stream_that_was_cut)
{
    EXPECT_OF(PFS_STREAM_SSE, "data: 1\n\ndata: 2\n", "|1|;|2|;", PFS_EFORMAT);
    EXPECT_OF(PFS_STREAM_SSE, "data: [DONE]", "|[DONE]|;", PFS_EFORMAT);
    EXPECT_OF(PFS_STREAM_SSE, "data: 1\n\nda", "|1|;||;", PFS_EFORMAT);
    EXPECT_OF(PFS_STREAM_SSE, "event: x\n", "x||;", PFS_EFORMAT);
    EXPECT_OF(PFS_STREAM_SSE, "data: 1\n\n: keep", "|1|;", PFS_EEMPTY);
    EXPECT_OF(PFS_STREAM_SSE, "data: 1\n\nid: 4\n", "|1|;", PFS_EEMPTY);
    EXPECT_OF(PFS_STREAM_SSE, "", "", PFS_EEMPTY);
}

TEST(ndjson)
{
    EXPECT_OF(PFS_STREAM_NDJSON, "{\"a\":1}\n{\"b\":2}\r\n\n \t\r\n{\"c\":3}",
              "|{\"a\":1}|;|{\"b\":2}|;|{\"c\":3}|;", PFS_EEMPTY);
    EXPECT_OF(PFS_STREAM_NDJSON, "{\r}\r\n", "|{\r}|;", PFS_EEMPTY);
    EXPECT_OF(PFS_STREAM_NDJSON, "1\n  ", "|1|;", PFS_EEMPTY);
}

TEST(text_and_stamps)
{
    pfs_stream s;
    seen to = {0};
    CHECK(pfs_stream_init(&s, PFS_STREAM_TEXT, 1, pfs_alloc_libc()) == PFS_OK);
    CHECK(give(&s, "some\n", 5, 10, &to) == PFS_EEMPTY);
    CHECK(give(&s, "", 0, 20, &to) == PFS_EEMPTY);
    CHECK(give(&s, "text", 4, 30, &to) == PFS_EEMPTY && to.last_ns == 30);
    CHECK(finish(&s, &to) == PFS_EEMPTY && strcmp(to.text, "|some\n|;|text|;") == 0);
    pfs_stream_clear(&s);
    CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, 100, pfs_alloc_libc()) == PFS_OK);
    to = (seen){0};
    CHECK(give(&s, "data: 1\n", 8, 10, &to) == PFS_EEMPTY && to.events == 0);
    CHECK(give(&s, "\ndata: 2\r\n\r", 11, -20, &to) == PFS_EEMPTY && to.events == 2);
    CHECK(to.last_ns == -20); /* the CR ends it: nothing waits for a LF */
    CHECK(give(&s, "\n", 1, 30, &to) == PFS_EEMPTY && to.events == 2);
    pfs_stream_clear(&s);
}

TEST(an_event_in_one_chunk_is_not_copied)
{
    failing_state state = {0};
    pfs_alloc alloc = failing_alloc(&state);
    pfs_stream s;
    pfs_stream_event event;
    const char *chunk = "event: x\r\ndata: one\r\n\r\ndata: two\n\ndata: three\n\n";
    CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, PFS_STREAM_MAX_EVENT, &alloc) == PFS_OK);
    CHECK(pfs_stream_feed(&s, chunk, strlen(chunk), 1) == PFS_OK);
    CHECK(pfs_stream_feed(&s, chunk, 1, 1) == PFS_EINVAL); /* not used up */
    CHECK(pfs_stream_end(&s, &event) == PFS_EINVAL);
    int events = 0;
    while (pfs_stream_next(&s, &event) == PFS_OK) {
        CHECK(event.data > chunk && event.data < chunk + strlen(chunk));
        events++;
    }
    CHECK(events == 3 && state.calls == 0);
    pfs_stream_clear(&s);
}

TEST(bounds)
{
    static const pfs_stream_kind kinds[] = {PFS_STREAM_SSE, PFS_STREAM_NDJSON};
    char bytes[256];
    for (size_t k = 0; k < 2; k++) {
        bool sse = kinds[k] == PFS_STREAM_SSE;
        for (size_t size = 60; size < 70; size++) {
            int n = snprintf(bytes, sizeof bytes, "%s%0*d%s", sse ? "data: " : "", (int)size, 0,
                             sse ? "\n\n" : "\n");
            for (size_t step = 1; step <= (size_t)n; step++) {
                pfs_stream s;
                seen to = {0};
                CHECK(pfs_stream_init(&s, kinds[k], 64, pfs_alloc_libc()) == PFS_OK);
                pfs_status status = PFS_EEMPTY;
                for (size_t at = 0; at < (size_t)n && status == PFS_EEMPTY; at += step) {
                    size_t more = (size_t)n - at < step ? (size_t)n - at : step;
                    status = give(&s, bytes + at, more, 1, &to);
                }
                CHECK(status == (size <= 64 ? PFS_EEMPTY : PFS_ERANGE));
                CHECK(to.events == (size <= 64));
                CHECK(size <= 64 || give(&s, "\n\ndata: 1\n\n", 11, 1, &to) == PFS_ERANGE);
                CHECK(size <= 64 || finish(&s, &to) == PFS_ERANGE);
                pfs_stream_reset(&s); /* and it works again */
                CHECK(give(&s, sse ? "data: 1\n\n" : "1\n", sse ? 9 : 2, 1, &to) == PFS_EEMPTY);
                CHECK(to.events == 1 + (size <= 64));
                pfs_stream_clear(&s);
            }
        }
    }
    pfs_stream s;
    seen to = {0};
    CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, 64, pfs_alloc_libc()) == PFS_OK);
    pfs_status status = PFS_EEMPTY;
    for (int i = 0; i < 33 && status == PFS_EEMPTY; i++) { /* many short lines of one event */
        CHECK(i <= 32);
        status = give(&s, "data: x\n", 8, 1, &to);
    }
    CHECK(status == PFS_ERANGE && to.events == 0); /* 33 x and 32 LF are 65 */
    pfs_stream_clear(&s);
    CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, 0, pfs_alloc_libc()) == PFS_EINVAL);
    CHECK(pfs_stream_init(&s, (pfs_stream_kind)3, 1, pfs_alloc_libc()) == PFS_EINVAL);
}

/* A megabyte in single bytes: the allocations grow with its logarithm, so the copying is linear. */
TEST(a_large_event_byte_by_byte)
{
    failing_state state = {0};
    pfs_alloc alloc = failing_alloc(&state);
    pfs_stream s;
    pfs_stream_event event;
    CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, PFS_STREAM_MAX_EVENT, &alloc) == PFS_OK);
    int events = 0;
    for (size_t i = 0; i < PFS_STREAM_MAX_EVENT + 8; i++) {
        const char *byte = i < 6 ? &"data: "[i] : i < PFS_STREAM_MAX_EVENT + 6 ? "x" : "\n";
        CHECK(pfs_stream_feed(&s, byte, 1, (int64_t)i) == PFS_OK);
        while (pfs_stream_next(&s, &event) == PFS_OK) {
            CHECK(event.length == PFS_STREAM_MAX_EVENT);
            events++;
        }
    }
    CHECK(events == 1 && state.calls < 64);
    pfs_stream_reset(&s);
    CHECK(state.live == 0); /* a reset keeps small blocks only */
    pfs_stream_clear(&s);
}

/* A call that ran out of memory is made again, and nothing is lost. */
TEST(the_same_call_again_after_a_failure)
{
    static const char bytes[] = "id: 12345\nevent: name\ndata: first\ndata: second\n\nevent: x\n"
                                "data: third\n\n";
    long failures = 0;
    for (size_t cut = 1; cut < sizeof bytes - 1; cut++) {
        for (long fail = 1; fail < 16; fail++) {
            failing_state state = {.fail_from = fail};
            pfs_alloc alloc = failing_alloc(&state);
            pfs_stream s;
            pfs_stream_event event;
            seen to = {0};
            CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, 100, &alloc) == PFS_OK);
            for (size_t at = 0; at < sizeof bytes - 1; at += cut) {
                size_t n = sizeof bytes - 1 - at < cut ? sizeof bytes - 1 - at : cut;
                pfs_status status = pfs_stream_feed(&s, bytes + at, n, 1);
                CHECK(status == PFS_OK);
                while (status == PFS_OK || status == PFS_ENOMEM) {
                    status = pfs_stream_next(&s, &event);
                    failures += status == PFS_ENOMEM;
                    if (status == PFS_OK) {
                        see(&to, &event);
                    }
                }
                CHECK(status == PFS_EEMPTY);
            }
            CHECK(strcmp(to.text, "name|first\nsecond|12345;x|third|12345;") == 0);
            pfs_stream_clear(&s);
            CHECK(state.live == 0);
        }
    }
    CHECK(failures > 100);
}

static bool scenario(const pfs_alloc *alloc)
{
    static const char bytes[] =
        "id: 1\nevent: name\ndata: first\ndata: second\n\nid: 22\ndata: cut";
    pfs_stream s;
    seen to = {0};
    pfs_status status = PFS_EEMPTY;
    CHECK(pfs_stream_init(&s, PFS_STREAM_SSE, 100, alloc) == PFS_OK);
    for (size_t i = 0; i < sizeof bytes - 1 && status == PFS_EEMPTY; i++) {
        status = pfs_stream_feed(&s, bytes + i, 1, 1);
        pfs_stream_event event;
        while (status == PFS_OK && (status = pfs_stream_next(&s, &event)) == PFS_OK) {
            see(&to, &event);
        }
    }
    bool ok = status == PFS_EEMPTY && finish(&s, &to) == PFS_EFORMAT;
    CHECK(!ok || strcmp(to.text, "name|first\nsecond|1;|cut|22;") == 0);
    pfs_stream_clear(&s);
    return ok;
}

TEST(every_allocation_may_fail)
{
    CHECK(torture(scenario) > 3);
}

int main(void)
{
    RUN(the_standards_examples);
    RUN(line_ends_in_every_form);
    RUN(fields);
    RUN(a_byte_order_mark);
    RUN(retry);
    RUN(a_stream_that_was_cut);
    RUN(ndjson);
    RUN(text_and_stamps);
    RUN(an_event_in_one_chunk_is_not_copied);
    RUN(bounds);
    RUN(a_large_event_byte_by_byte);
    RUN(the_same_call_again_after_a_failure);
    RUN(every_allocation_may_fail);
    RUN(a_chunk_that_is_one_event_needs_no_feeding);
    FINISH();
}

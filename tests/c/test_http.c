/* Responses: how each form of body ends, what is refused, every split, bounds, allocation failures.
 */
#include "harness.h"

#include "pfs_http.h"

typedef struct {
    char body[1024];
    size_t length;
    int heads, ends;
    pfs_status status; /* the last one */
} seen;

/* Feeds a copy of the bytes, which is gone afterwards (except what is behind the end). */
static void give(pfs_http *h, const char *bytes, size_t n, seen *to)
{
    char *copy = malloc(n + 1);
    pfs_http_part part;
    CHECK(copy != NULL);
    memcpy(copy, bytes, n);
    to->status = pfs_http_feed(h, copy, n, 1);
    while (to->status == PFS_OK && (to->status = pfs_http_next(h, &part)) == PFS_OK) {
        to->heads += part.kind == PFS_HTTP_HEAD;
        to->ends += part.kind == PFS_HTTP_END;
        if (part.kind == PFS_HTTP_BODY) {
            CHECK(part.bytes >= copy && part.bytes + part.length <= copy + n); /* not copied */
            CHECK(to->length + part.length < sizeof to->body);
            memcpy(to->body + to->length, part.bytes, part.length);
            to->length += part.length;
        }
    }
    free(copy);
}

typedef enum { WHOLE, BY_CLOSE, CUT, WRONG } outcome;

/* Whole, in every two pieces, byte by byte: always this status, body, end and keep-alive. */
static void expect_of(bool head, const char *bytes, size_t n, int code, const char *body,
                      outcome how, bool keep_alive)
{
    pfs_http h;
    pfs_http_part part;
    CHECK(pfs_http_init(&h, PFS_HTTP_MAX_HEAD, pfs_alloc_libc()) == PFS_OK);
    for (size_t cut = 0; cut <= n + 1; cut++) {
        seen to = {.status = PFS_EEMPTY};
        pfs_http_begin(&h, head);
        CHECK(!pfs_http_begun(&h) && pfs_http_close(&h, &part) == PFS_EEMPTY);
        if (cut <= n) {
            give(&h, bytes, cut, &to);
            if (to.status == PFS_EEMPTY) {
                give(&h, bytes + cut, n - cut, &to);
            }
        }
        for (size_t i = 0; cut > n && i < n && to.status == PFS_EEMPTY; i++) {
            give(&h, bytes + i, 1, &to);
        }
        bool ok = strcmp(to.body, body) == 0 && pfs_http_begun(&h);
        if (how == WRONG) {
            ok = ok && to.status == PFS_EFORMAT && pfs_http_wrong(&h) != NULL && to.ends == 0;
            ok = ok && pfs_http_close(&h, &part) == PFS_EFORMAT;
        } else {
            ok = ok && to.status == PFS_EEMPTY && pfs_http_wrong(&h) == NULL;
            ok = ok && to.heads == 1 && pfs_http_status(&h) == code;
            ok = ok && to.ends == (how == WHOLE) && pfs_http_done(&h) == (how == WHOLE);
            ok = ok && pfs_http_keep_alive(&h) == keep_alive;
            pfs_status closed = pfs_http_close(&h, &part);
            ok = ok && closed == (how == WHOLE      ? PFS_EEMPTY
                                  : how == BY_CLOSE ? PFS_OK
                                                    : PFS_EFORMAT);
            ok = ok && pfs_http_done(&h) == (how != CUT) && !pfs_http_keep_alive(&h);
        }
        if (!ok) {
            fprintf(stderr, "cut at %zu of: %s\n", cut, bytes);
        }
        CHECK(ok);
    }
    pfs_http_clear(&h);
}

#define EXPECT(bytes, code, body, how, keep)                                                       \
    expect_of(false, bytes, sizeof bytes - 1, code, body, how, keep)
#define REFUSE(bytes) expect_of(false, bytes, sizeof bytes - 1, 0, "", WRONG, false)
#define OK            "HTTP/1.1 200 OK\r\n"
#define CHUNKED       OK "Transfer-Encoding: chunked\r\n\r\n"

TEST(bodies)
{
    EXPECT(OK "Content-Length: 5\r\n\r\nhello", 200, "hello", WHOLE, true);
    EXPECT(OK "Content-Length: 0\r\n\r\n", 200, "", WHOLE, true);
    EXPECT(OK "Content-Length: 5\r\n\r\nhel", 200, "hel", CUT, false);
    EXPECT(OK "Content-Length: 5\r\ncontent-length: 5, 5\r\n\r\nhello", 200, "hello", WHOLE, true);
    EXPECT(OK "\r\nuntil the end", 200, "until the end", BY_CLOSE, false);
    EXPECT("HTTP/1.1 200\nContent-Length: 1\n\nx", 200, "x", WHOLE, true); /* no reason, bare LF */
    EXPECT(CHUNKED "5\r\nhello\r\n0\r\n\r\n", 200, "hello", WHOLE, true);
    EXPECT(CHUNKED "1;a=\"b\"\r\nx\r\n00a \r\n0123456789\r\n0;z\r\n\r\n", 200, "x0123456789", WHOLE,
           true);
    EXPECT(CHUNKED "5\r\nhel", 200, "hel", CUT, false);
    EXPECT(CHUNKED "5\r\nhello\r\n", 200, "hello", CUT, false);
    EXPECT(CHUNKED "5\r\nhello\r\n0\r\n", 200, "hello", CUT, false);
    EXPECT(CHUNKED "1\r\nx\r\n0\r\nA: b\r\nContent-Length: 9\r\n\r\n", 200, "x", WHOLE, true);
}

TEST(responses_without_a_body)
{
    EXPECT("HTTP/1.1 204 No Content\r\n\r\n", 204, "", WHOLE, true);
    EXPECT("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", WHOLE, true);
    EXPECT("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "", WHOLE, false);
    static const char head[] = OK "Content-Length: 9\r\n\r\n";
    expect_of(true, head, sizeof head - 1, 200, "", WHOLE, true);
    expect_of(true, CHUNKED, sizeof CHUNKED - 1, 200, "", WHOLE, true);
    EXPECT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" OK
           "Content-Length: 1\r\n\r\nx",
           200, "x", WHOLE, true);
    EXPECT("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", 101, "", WHOLE, false);
}

TEST(keep_alive)
{
    EXPECT(OK "Connection: close\r\nContent-Length: 1\r\n\r\nx", 200, "x", WHOLE, false);
    EXPECT(OK "Connection: x, Close\r\nContent-Length: 1\r\n\r\nx", 200, "x", WHOLE, false);
    EXPECT(OK "Connection: keep-alive\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 200, "x",
           WHOLE, false);
    EXPECT("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", WHOLE, false);
    EXPECT("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, "x",
           WHOLE, true);
    EXPECT("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nx", 200, "x", BY_CLOSE, false);
    /* Two lengths: chunked counts, and the connection is not trusted. */
    EXPECT(OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200,
           "x", WHOLE, false);
    EXPECT("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: "
           "Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
           200, "x", WHOLE, false);
}

TEST(what_is_refused)
{
    REFUSE(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n");
    REFUSE(OK "Content-Length: 5, 6\r\n\r\n");
    REFUSE(OK "Content-Length: +5\r\n\r\n");
    REFUSE(OK "Content-Length: 0x5\r\n\r\n");
    REFUSE(OK "Content-Length: 5 5\r\n\r\n");
    REFUSE(OK "Content-Length:\r\n\r\n");
    REFUSE(OK "Content-Length: 9223372036854775808\r\n\r\n");
    REFUSE(OK "Content-Length: 1\r\n 2\r\n\r\n"); /* folded: "1 2" */
    REFUSE(OK "Transfer-Encoding: gzip, chunked\r\n\r\n");
    REFUSE(OK "Transfer-Encoding: chunked, chunked\r\n\r\n");
    REFUSE(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSE(OK "Transfer-Encoding: identity\r\n\r\n");
    REFUSE(OK "Transfer-Encoding:\r\n\r\n");
    REFUSE(OK "Content-Length : 5\r\n\r\n");
    REFUSE(OK " folded: 5\r\n\r\n");
    REFUSE(OK ": 5\r\n\r\n");
    REFUSE(OK "no colon\r\n\r\n");
    REFUSE(OK "A: b\rContent-Length: 5\r\n\r\n");
    REFUSE(OK "A: b\0c\r\n\r\n");
    REFUSE("HTTP/2 200 OK\r\n\r\n");
    REFUSE("HTTP/1.2 200 OK\r\n\r\n");
    REFUSE("HTTP/1.1 20 OK\r\n\r\n");
    REFUSE("HTTP/1.1 2000 OK\r\n\r\n");
    REFUSE("HTTP/1.1 099 OK\r\n\r\n");
    REFUSE("\r\n" OK "\r\n");
    REFUSE("<html>"); /* at once, not after max_head bytes */
    REFUSE("\x15\x03\x01\x00\x02\x02");
}

TEST(chunks_that_are_refused)
{
    REFUSE(CHUNKED "\r\n");
    REFUSE(CHUNKED "x\r\n");
    REFUSE(CHUNKED "-1\r\n");
    REFUSE(CHUNKED "1\nx\r\n"); /* a bare LF */
    REFUSE(CHUNKED "1;a\nx\r\n");
    REFUSE(CHUNKED "1\rx\r\n");
    REFUSE(CHUNKED "1g\r\nx\r\n");
    REFUSE(CHUNKED "8000000000000000\r\n");
    REFUSE(CHUNKED "00000000000000001\r\n");
    REFUSE(CHUNKED "0\r\nbad trailer\r\n\r\n");
    static const char longer[] = CHUNKED "1\r\nxy\r\n";
    expect_of(false, longer, sizeof longer - 1, 0, "x", WRONG, false);
    static const char bare[] = CHUNKED "1\r\nx\n0\r\n\r\n";
    expect_of(false, bare, sizeof bare - 1, 0, "x", WRONG, false);
}

TEST(headers)
{
    static const char bytes[] = OK "Content-Type:text/event-stream;charset=utf-8\r\nRETRY-AFTER: "
                                   " 120 \r\nX-Folded: a\r\n\t b \r\n  \r\n c\r\nEmpty:\r\nEmpty2: "
                                   "\r\n x\r\nContent-Length: 7\r\n\r\n";
    pfs_http h;
    seen to = {0};
    CHECK(pfs_http_init(&h, PFS_HTTP_MAX_HEAD, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_http_header(&h, "content-type") == NULL && pfs_http_status(&h) == 0);
    CHECK(pfs_http_content_length(&h) == PFS_HTTP_UNKNOWN);
    give(&h, bytes, sizeof bytes - 1, &to);
    CHECK(strcmp(pfs_http_header(&h, "content-type"), "text/event-stream;charset=utf-8") == 0);
    CHECK(strcmp(pfs_http_header(&h, "x-folded"), "a b c") == 0);
    CHECK(strcmp(pfs_http_header(&h, "empty"), "") == 0);
    CHECK(strcmp(pfs_http_header(&h, "empty2"), "x") == 0);
    CHECK(pfs_http_header(&h, "content-encoding") == NULL);
    CHECK(pfs_http_retry_after(&h) == 120 && pfs_http_content_length(&h) == 7);
    pfs_http_begin(&h, false);
    to = (seen){0};
    give(&h, "HTTP/1.1 503 No\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n", 63, &to);
    CHECK(pfs_http_status(&h) == 503 && pfs_http_retry_after(&h) == PFS_HTTP_UNKNOWN);
    pfs_http_begin(&h, false);
    to = (seen){0};
    static const char trailed[] = CHUNKED "0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n";
    give(&h, trailed, sizeof trailed - 1, &to);
    const char *name, *value;
    size_t cursor = 0;
    CHECK(pfs_http_each(&h, true, &cursor, &name, &value) && strcmp(name, "x-one") == 0);
    CHECK(pfs_http_each(&h, true, &cursor, &name, &value) && strcmp(value, "2") == 0);
    CHECK(!pfs_http_each(&h, true, &cursor, &name, &value));
    CHECK(pfs_http_header(&h, "x-one") == NULL); /* a trailer is no header */
    pfs_http_clear(&h);
}

TEST(what_is_behind_the_end)
{
    static const char bytes[] = "HTTP/1.1 101 Up\r\n\r\n\x81\x02hi";
    pfs_http h;
    pfs_http_part part;
    size_t n;
    CHECK(pfs_http_init(&h, PFS_HTTP_MAX_HEAD, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_http_feed(&h, bytes, sizeof bytes - 1, 5) == PFS_OK);
    CHECK(pfs_http_next(&h, &part) == PFS_OK && part.kind == PFS_HTTP_HEAD && part.at_ns == 5);
    CHECK(pfs_http_next(&h, &part) == PFS_OK && part.kind == PFS_HTTP_END);
    CHECK(pfs_http_next(&h, &part) == PFS_EEMPTY);
    CHECK(pfs_http_rest(&h, &n) == bytes + sizeof bytes - 5 && n == 4);
    CHECK(!pfs_http_keep_alive(&h) && pfs_http_feed(&h, "x", 1, 6) == PFS_EINVAL);
    pfs_http_begin(&h, false);
    CHECK(pfs_http_rest(&h, &n) == NULL && n == 0);
    static const char more[] = OK "Content-Length: 1\r\n\r\nxHTTP";
    seen to = {0};
    give(&h, more, sizeof more - 1, &to);
    CHECK(to.ends == 1 && !pfs_http_keep_alive(&h)); /* an answer nobody asked for */
    pfs_http_clear(&h);
}

/* Feeds `line` again and again until the parser refuses. */
static pfs_status flood(const char *start, const char *line, size_t *fed)
{
    pfs_http h;
    seen to = {0};
    CHECK(pfs_http_init(&h, 4096, pfs_alloc_libc()) == PFS_OK);
    give(&h, start, strlen(start), &to);
    for (*fed = 0; to.status == PFS_EEMPTY && *fed < 100000; *fed += strlen(line)) {
        give(&h, line, strlen(line), &to);
    }
    CHECK(h.head.text.room <= 8192 && h.trailers.text.room <= 8192);
    pfs_http_clear(&h);
    return to.status;
}

TEST(bounds)
{
    size_t fed;
    pfs_http h;
    CHECK(flood(OK, "x", &fed) == PFS_ERANGE && fed <= 4096);
    CHECK(flood(OK, "A: b\r\n", &fed) == PFS_ERANGE && fed <= 4096 + 6);
    CHECK(flood(CHUNKED "0\r\n", "A: b\r\n", &fed) == PFS_ERANGE && fed <= 4096 + 6);
    CHECK(flood(CHUNKED "1;", "x", &fed) == PFS_EFORMAT && fed <= PFS_HTTP_MAX_CHUNK_LINE + 1);
    CHECK(flood("", "HTTP/1.1 100 Continue\r\n\r\n", &fed) == PFS_EFORMAT && fed < 1000);
    CHECK(pfs_http_init(&h, 63, pfs_alloc_libc()) == PFS_EINVAL);
    char *many = malloc(8000);
    CHECK(many != NULL);
    for (int fields = 999; fields <= 1001; fields++) {
        size_t n = (size_t)sprintf(many, OK);
        for (int i = 0; i < fields; i++) {
            n += (size_t)sprintf(many + n, "a:b\r\n");
        }
        n += (size_t)sprintf(many + n, "\r\n");
        seen to = {0};
        CHECK(pfs_http_init(&h, PFS_HTTP_MAX_HEAD, pfs_alloc_libc()) == PFS_OK);
        give(&h, many, n, &to);
        CHECK(to.status == (fields <= PFS_HTTP_MAX_FIELDS ? PFS_EEMPTY : PFS_EFORMAT));
        pfs_http_clear(&h);
    }
    free(many);
}

static const char SCENARIO[] = CHUNKED "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n";

static bool scenario(const pfs_alloc *alloc)
{
    pfs_http h;
    seen to = {.status = PFS_EEMPTY};
    CHECK(pfs_http_init(&h, 1024, alloc) == PFS_OK);
    for (size_t i = 0; i < sizeof SCENARIO - 1 && to.status == PFS_EEMPTY; i++) {
        give(&h, SCENARIO + i, 1, &to);
    }
    bool ok = to.status == PFS_EEMPTY && pfs_http_keep_alive(&h);
    CHECK(!ok || strcmp(to.body, "hello") == 0);
    pfs_http_clear(&h);
    return ok;
}

TEST(every_allocation_may_fail)
{
    CHECK(torture(scenario) >= 2);
    for (long fail = 1; fail < 4; fail++) { /* and the same call again goes on */
        failing_state state = {.fail_from = fail};
        pfs_alloc alloc = failing_alloc(&state);
        pfs_http h;
        pfs_http_part part;
        int failures = 0, ends = 0;
        CHECK(pfs_http_init(&h, 1024, &alloc) == PFS_OK);
        CHECK(pfs_http_feed(&h, SCENARIO, sizeof SCENARIO - 1, 1) == PFS_OK);
        for (pfs_status status = PFS_OK; status != PFS_EEMPTY;) {
            status = pfs_http_next(&h, &part);
            CHECK(status == PFS_OK || status == PFS_ENOMEM || status == PFS_EEMPTY);
            failures += status == PFS_ENOMEM;
            ends += status == PFS_OK && part.kind == PFS_HTTP_END;
        }
        CHECK(ends == 1 && failures == (fail <= state.calls));
        pfs_http_clear(&h);
        CHECK(state.live == 0);
    }
}

int main(void)
{
    RUN(bodies);
    RUN(responses_without_a_body);
    RUN(keep_alive);
    RUN(what_is_refused);
    RUN(chunks_that_are_refused);
    RUN(headers);
    RUN(what_is_behind_the_end);
    RUN(bounds);
    RUN(every_allocation_may_fail);
    FINISH();
}

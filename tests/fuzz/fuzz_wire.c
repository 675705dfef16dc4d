/* What a server answers, to the load engine: over a socket, and over a seal that changes nothing in
 * one piece and in many.  All three tell the same of it, the recorder has what the reply has, and
 * nothing is under way afterwards.
 *
 * data[0]: the kind of stream and what the engine expects of it; data[1]: how the pieces are cut;
 * the rest: the bytes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "pfs_clock.h"
#include "pfs_wire.h"
#include "pfs_wire_sealed.h"

#include "fuzzing.h"

#define REQUEST "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
#define WAIT_MS 1000
#define KINDS   64 /* of engines: the low bits of data[0] */

static const char *const RULES[] = {"choices[].delta.content",
                                    "reasoning",
                                    "usage.prompt_tokens",
                                    "usage.cached",
                                    "usage.n",
                                    "done",
                                    "error"};
static const pfs_wire_role ROLES[] = {PFS_WIRE_VISIBLE,     PFS_WIRE_HIDDEN,     PFS_WIRE_PROMPT,
                                      PFS_WIRE_MORE_PROMPT, PFS_WIRE_COMPLETION, PFS_WIRE_FINISH,
                                      PFS_WIRE_ERROR};
static const char *const NAMES[] = {"delta", "message"};

static int listening = -1;
static struct sockaddr_in address;

/* One engine of each kind, kept: only its connections are of one input. */
static pfs_wire *engine(unsigned kind, bool sealed)
{
    static pfs_wire *made[2][KINDS];
    pfs_wire **w = &made[sealed][kind];
    if (*w != NULL) {
        return *w;
    }
    if (listening < 0) {
        socklen_t size = sizeof address;
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listening = socket(AF_INET, SOCK_STREAM, 0);
        REQUIRE(bind(listening, (struct sockaddr *)&address, size) == 0);
        REQUIRE(listen(listening, 8) == 0);
        REQUIRE(getsockname(listening, (struct sockaddr *)&address, &size) == 0);
    }
    pfs_wire_address to = {.length = sizeof address};
    memcpy(&to.at, &address, sizeof address);
    bool text = kind % 4 == 2;
    pfs_wire_spec spec = {
        .addresses = &to,
        .address_count = 1,
        .connections = 1,
        .queue = 1,
        .timeout_ns = INT64_C(60000000000),
        .stream = text            ? PFS_STREAM_TEXT
                  : kind % 4 == 1 ? PFS_STREAM_NDJSON
                                  : PFS_STREAM_SSE,
        .whole = kind % 4 == 3,
        .marks_end = (kind & 4) != 0,
        .speaks = (kind & 8) != 0,
        .sealed = sealed,
        .max_event = 512,
        .max_body = 1 << 20,
        .rules = RULES,
        .roles = ROLES,
        .rule_count = text ? 0 : sizeof RULES / sizeof RULES[0],
        .finish = "[DONE]",
        .names = NAMES,
        .name_count = (kind & 16) != 0 ? 2 : 0,
        .cumulative = (kind & 32) != 0,
    };
    REQUIRE(pfs_wire_new(w, &spec, NULL, pfs_alloc_libc()) == PFS_OK);
    return *w;
}

static pfs_events *recorder(void)
{
    static pfs_events *events;
    if (events == NULL) {
        pfs_events_spec spec = {.precision = 7,
                                .blocks = 2,
                                .windows = 64,
                                .limit_ms = 1000.0,
                                .start_ns = pfs_clock_ns()};
        REQUIRE(pfs_events_new(&events, &spec, pfs_alloc_libc()) == PFS_OK);
    }
    return events;
}

/* Connects: the server's end, the request read when it is a plain one. */
static int begin(pfs_wire *w, bool sealed)
{
    char request[sizeof REQUEST];
    pfs_wire_order order = {.request = REQUEST,
                            .length = sizeof REQUEST - 1,
                            .due_ns = PFS_WIRE_NOW,
                            .keep = true,
                            .echo = "ab",
                            .echo_length = 2};
    REQUIRE(pfs_wire_submit(w, &order) == PFS_OK);
    pfs_wire_turn(w, 0);
    int fd = accept(listening, NULL, NULL);
    REQUIRE(fd >= 0);
    pfs_wire_turn(w, WAIT_MS);
    size_t length = 0;
    while (!sealed && length < sizeof REQUEST - 1) {
        ssize_t n = recv(fd, request + length, sizeof request - length, 0);
        REQUIRE(n > 0);
        length += (size_t)n;
    }
    return fd;
}

static pfs_wire_reply *ended(pfs_wire *w)
{
    pfs_wire_reply *reply = NULL;
    const pfs_events_counts *counts = pfs_events_counted(recorder());
    uint64_t over = counts->completed + counts->failed;
    for (int i = 0; reply == NULL; i++) {
        REQUIRE(i < 100);
        pfs_wire_turn(w, WAIT_MS);
        pfs_wire_drain(w, recorder(), &reply);
    }
    REQUIRE(reply->next == NULL && reply->status < PFS_EVENTS_CANCELLED);
    REQUIRE((reply->why == NULL) == (reply->status == PFS_EVENTS_OK));
    REQUIRE(reply->status != PFS_EVENTS_TIMEOUT);
    REQUIRE(reply->chunks == 0 ? reply->first_ns == PFS_EVENTS_NONE
                               : reply->first_ns >= reply->sent_ns);
    REQUIRE(counts->in_flight == 0 && counts->completed + counts->failed == over + 1);
    return reply;
}

static pfs_wire_reply *by_socket(pfs_wire *w, const uint8_t *data, size_t size)
{
    int fd = begin(w, false);
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, data + at, size - at, MSG_NOSIGNAL);
        REQUIRE(n > 0);
        at += (size_t)n;
    }
    REQUIRE(shutdown(fd, SHUT_WR) == 0);
    pfs_wire_reply *reply = ended(w);
    close(fd);
    pfs_wire_turn(w, 0); /* it may still be idle */
    return reply;
}

static pfs_wire_reply *by_seal(pfs_wire *w, const uint8_t *data, size_t size, uint32_t cuts)
{
    int fd = begin(w, true);
    uint64_t id = 0;
    pfs_wire_parcel p;
    for (bool sealed = false; !sealed; pfs_wire_turn(w, 0)) { /* the last turn sends it */
        REQUIRE(pfs_wire_take(w, WAIT_MS));
        while (pfs_wire_taken(w, &p)) {
            if (p.what == PFS_WIRE_OPENED) {
                id = p.id;
                REQUIRE(pfs_wire_give(w, id, PFS_WIRE_READY, 0, NULL, 0) == PFS_OK);
            } else if (p.what == PFS_WIRE_TO_SEAL) {
                REQUIRE(p.id == id && p.length == sizeof REQUEST - 1);
                REQUIRE(pfs_wire_give(w, id, PFS_WIRE_SEALED, 0, p.bytes, p.length) == PFS_OK);
                sealed = true;
            }
        }
        (void)pfs_wire_take(w, 0); /* which delivers */
    }
    int64_t stamp = pfs_clock_ns();
    for (size_t at = 0; at < size;) {
        size_t n;
        char *piece = fuzzing_piece(data, size, &at, &cuts, &n);
        REQUIRE(pfs_wire_give(w, id, PFS_WIRE_PLAIN, stamp++, piece, n) == PFS_OK);
        free(piece);
        if (cuts % 5 == 0) {
            pfs_wire_turn(w, 0);
        }
    }
    REQUIRE(pfs_wire_give(w, id, PFS_WIRE_OVER, stamp, NULL, 0) == PFS_OK);
    REQUIRE(pfs_wire_take(w, 0));
    pfs_wire_reply *reply = ended(w);
    pfs_wire_turn(w, 0);
    REQUIRE(pfs_wire_take(w, 0)); /* that it is gone */
    close(fd);
    return reply;
}

static void same(const pfs_wire_reply *a, const pfs_wire_reply *b, bool text)
{
    REQUIRE(a->status == b->status && a->http_status == b->http_status && a->why == b->why);
    REQUIRE(a->retry_after_s == b->retry_after_s);
    REQUIRE(a->prompt_tokens == b->prompt_tokens && a->completion_tokens == b->completion_tokens);
    REQUIRE(text || a->chunks == b->chunks); /* of text, the cuts are the chunks */
    REQUIRE(text || a->last.length == b->last.length);
    REQUIRE(text || a->last.length == 0 || memcmp(a->last.at, b->last.at, a->last.length) == 0);
    if (a->status == PFS_EVENTS_OK) { /* what failed may have been given up earlier in its body */
        REQUIRE(a->bytes == b->bytes && a->body.length == b->body.length);
        REQUIRE(a->body.length == 0 || memcmp(a->body.at, b->body.at, a->body.length) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    unsigned kind = data[0] % KINDS;
    (void)recorder(); /* it begins before the first request */
    bool text = kind % 4 == 2;
    pfs_wire *plain = engine(kind, false), *sealed = engine(kind, true);
    pfs_wire_reply *wire = by_socket(plain, data + 2, size - 2);
    pfs_wire_reply *whole = by_seal(sealed, data + 2, size - 2, 0);
    pfs_wire_reply *split = by_seal(sealed, data + 2, size - 2, 1 + (uint32_t)data[1]);
    same(wire, whole, text);
    same(whole, split, text);
    pfs_wire_counts counts;
    pfs_wire_counted(sealed, &counts);
    REQUIRE(counts.active == 0 && counts.waiting == 0 && counts.handshakes == counts.connects);
    pfs_wire_reply_free(plain, wire);
    pfs_wire_reply_free(sealed, whole);
    pfs_wire_reply_free(sealed, split);
    return 0;
}

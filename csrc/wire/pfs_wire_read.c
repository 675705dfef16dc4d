/* What the bytes of an answer say: HTTP, then events, then what each event carries. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_inner.h"

#include <string.h>
#include <strings.h>

#define MOST_TOKENS INT64_C(1000000000)
#define NO_MEMORY   "this client had no memory for the answer"
#define REPORTED    "the service reports an error in its answer"

pfs_wire_verdict pfs_wire_fail(pfs_wire_conn *c, pfs_events_status status, const char *why)
{
    c->reply->status = status;
    c->reply->why = why;
    return PFS_WIRE_FAILED;
}

/* What the client gives up itself says nothing of the server. */
static pfs_wire_verdict no_memory(pfs_wire_conn *c)
{
    return pfs_wire_fail(c, PFS_EVENTS_CANCELLED, NO_MEMORY);
}

/* A count of tokens, or `before` for what is none. */
static int64_t number(const char *text, size_t length, int64_t before)
{
    int64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return before;
        }
        value = value * 10 + (text[i] - '0');
        if (value > MOST_TOKENS) {
            return before;
        }
    }
    return length == 0 ? before : value;
}

static void read_counts(const pfs_wire *w, pfs_wire_reply *reply, const char *data,
                        uint64_t matched, const pfs_json_span *spans)
{
    uint64_t prompt = matched & w->roles[PFS_WIRE_PROMPT];
    uint64_t more = prompt == 0 ? 0 : matched & w->roles[PFS_WIRE_MORE_PROMPT];
    uint64_t completion = matched & w->roles[PFS_WIRE_COMPLETION];
    int64_t beside = 0;
    for (size_t i = 0; i < w->rules.count; i++) {
        const char *text = data + spans[i].offset;
        if ((prompt >> i & 1) != 0) {
            reply->prompt_tokens = number(text, spans[i].length, reply->prompt_tokens);
        } else if ((more >> i & 1) != 0) {
            beside += number(text, spans[i].length, 0);
        } else if ((completion >> i & 1) != 0) {
            reply->completion_tokens = number(text, spans[i].length, reply->completion_tokens);
        }
    }
    if (reply->prompt_tokens >= 0 && beside <= MOST_TOKENS - reply->prompt_tokens) {
        reply->prompt_tokens += beside;
    }
}

/* It is answered, so it will not be sent again: hundreds of long ones would lie here as long as
 * their answers take.  How long it was stays. */
static void forget_request(pfs_wire *w, pfs_wire_conn *c)
{
    pfs_bytes *request = &c->reply->request;
    if (!w->spec.sealed && c->written == request->length) {
        pfs_alloc_release(w->alloc, request->at);
        request->at = NULL;
        request->room = 0;
    }
}

static void chunk(pfs_wire *w, pfs_wire_conn *c, bool visible, int64_t at_ns)
{
    if (c->reply->chunks++ == 0) {
        c->reply->first_ns = at_ns;
        forget_request(w, c);
    }
    c->reply->tokens++;
    pfs_wire_note(w, PFS_WIRE_TOKEN, c->reply, visible, at_ns);
}

static void remember(pfs_wire *w, pfs_wire_conn *c, const char *bytes, size_t length)
{
    c->reply->last.length = 0;
    size_t kept = length < PFS_WIRE_MESSAGE ? length : PFS_WIRE_MESSAGE;
    /* An example that finds no memory is an example less. */
    (void)pfs_bytes_append(&c->reply->last, w->alloc, bytes, kept);
}

/* Server-sent events of this name are errors by custom, whatever they carry. */
static bool is_error(const pfs_stream_event *found)
{
    static const char error[] = "error";
    return found->name_length == sizeof error - 1 &&
           memcmp(found->name, error, sizeof error - 1) == 0;
}

/* Whether it is the event by whose name the answer ends; one without a name is a `message`. */
static bool ends_by_name(const pfs_wire *w, const pfs_stream_event *found)
{
    static const char prefix[] = "event:", usual[] = "message";
    if (w->spec.stream != PFS_STREAM_SSE || strncmp(w->finish, prefix, sizeof prefix - 1) != 0) {
        return false;
    }
    const char *name = w->finish + sizeof prefix - 1;
    return found->name_length == 0 ? strcmp(name, usual) == 0
                                   : strlen(name) == found->name_length &&
                                         memcmp(name, found->name, found->name_length) == 0;
}

/* Whether this event is of none of the spec's names; an error is not, unless it is named. */
static bool passed_over(const pfs_wire *w, const pfs_stream_event *found)
{
    for (size_t i = 0; i < w->spec.name_count; i++) {
        if (found->name_length == strlen(w->names[i]) &&
            memcmp(found->name, w->names[i], found->name_length) == 0) {
            return false;
        }
    }
    return w->spec.name_count != 0 || is_error(found);
}

/* FNV-1a over words, ended by a mix: two texts of one answer that differ share it once in 2^64.
 * Never 0. */
static uint64_t digest(const char *bytes, size_t length)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325) ^ length;
    for (size_t i = 0; i < length; i += sizeof value) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, length - i < sizeof word ? length - i : sizeof word);
        value = (value ^ word) * UINT64_C(0x100000001b3);
        value ^= value >> 29;
    }
    value *= UINT64_C(0x9e3779b97f4a7c15);
    value ^= value >> 32;
    return value == 0 ? 1 : value;
}

/* Whether the text so far, as it stands in the event, is another than before, and more than what
 * the user said.  `quoted`: it is JSON. */
static bool is_news(pfs_wire_conn *c, const char *text, size_t length, bool quoted)
{
    const pfs_bytes *echo = &c->reply->echo;
    if (c->said == 0 && echo->length != 0 &&
        (quoted ? pfs_json_is_text(text, length, echo->at, echo->length)
                : length == echo->length && memcmp(text, echo->at, length) == 0)) {
        return false;
    }
    uint64_t before = c->said;
    c->said = digest(text, length);
    return c->said != before;
}

/* Whether what the visible rules found is a chunk. */
static bool is_chunk(const pfs_wire *w, pfs_wire_conn *c, const char *data, uint64_t matched,
                     const pfs_json_span *spans)
{
    uint64_t visible = matched & w->roles[PFS_WIRE_VISIBLE];
    for (size_t i = 0; visible != 0 && w->spec.cumulative; i++) {
        if ((visible >> i & 1) != 0) {
            return is_news(c, data + spans[i].offset, spans[i].length, true);
        }
    }
    return visible != 0;
}

/* What the data of an event, or a whole answer, says. */
static pfs_wire_verdict payload(pfs_wire *w, pfs_wire_conn *c, const char *data, size_t length,
                                int64_t at_ns)
{
    pfs_wire_reply *reply = c->reply;
    if (w->finish_length != 0 && length == w->finish_length &&
        memcmp(data, w->finish, length) == 0) {
        c->finished = true;
        return PFS_WIRE_MORE;
    }
    if (w->rules.count == 0) {
        if (length != 0 && (!w->spec.cumulative || is_news(c, data, length, false))) {
            chunk(w, c, true, at_ns);
        }
        return PFS_WIRE_MORE;
    }
    pfs_json_span spans[PFS_JSON_MAX_RULES];
    uint64_t matched;
    if (pfs_json_scan(&w->rules, data, length, &matched, spans) != PFS_OK) {
        remember(w, c, data, length);
        return pfs_wire_fail(c, PFS_EVENTS_MALFORMED, "an event of the answer is not JSON");
    }
    if ((matched & w->roles[PFS_WIRE_ERROR]) != 0) {
        remember(w, c, data, length);
        return pfs_wire_fail(c, PFS_EVENTS_TARGET, REPORTED);
    }
    bool visible = is_chunk(w, c, data, matched, spans);
    if (visible || (matched & w->roles[PFS_WIRE_HIDDEN]) != 0) {
        chunk(w, c, visible, at_ns);
    }
    if ((matched & (w->roles[PFS_WIRE_PROMPT] | w->roles[PFS_WIRE_COMPLETION])) != 0) {
        read_counts(w, reply, data, matched, spans);
    }
    c->finished = c->finished || (matched & w->roles[PFS_WIRE_FINISH]) != 0;
    if (!visible) {
        remember(w, c, data, length); /* usage comes in one that says nothing else */
    }
    return PFS_WIRE_MORE;
}

static pfs_wire_verdict event(pfs_wire *w, pfs_wire_conn *c, const pfs_stream_event *found,
                              int64_t at_ns)
{
    if (ends_by_name(w, found)) {
        c->finished = true;
        return PFS_WIRE_MORE;
    }
    if (!passed_over(w, found)) {
        return payload(w, c, found->data, found->length, at_ns);
    }
    if (is_error(found)) {
        remember(w, c, found->data, found->length);
        return pfs_wire_fail(c, PFS_EVENTS_TARGET, REPORTED);
    }
    return PFS_WIRE_MORE;
}

static pfs_wire_verdict head(pfs_wire *w, pfs_wire_conn *c)
{
    pfs_wire_reply *reply = c->reply;
    reply->http_status = pfs_http_status(&c->http);
    int64_t after = pfs_http_retry_after(&c->http);
    reply->retry_after_s = after == PFS_HTTP_UNKNOWN ? -1 : after;
    if (reply->http_status < 200 || reply->http_status > 299) {
        c->reading = PFS_WIRE_AS_ERROR;
        return PFS_WIRE_MORE;
    }
    const char *coding = pfs_http_header(&c->http, "content-encoding");
    if (coding != NULL && strcasecmp(coding, "identity") != 0) {
        return pfs_wire_fail(c, PFS_EVENTS_PROTOCOL,
                             "the answer is encoded in a way that was not asked for");
    }
    const char *type = pfs_http_header(&c->http, "content-type");
    const char json[] = "application/json";
    bool document = type != NULL && strncasecmp(type, json, sizeof json - 1) == 0 &&
                    strchr("; \t", type[sizeof json - 1]) != NULL;
    bool whole = w->spec.whole || (document && w->spec.stream == PFS_STREAM_SSE);
    c->reading = whole ? PFS_WIRE_AS_WHOLE : PFS_WIRE_AS_STREAM;
    c->by_reads = !whole && w->spec.stream == PFS_STREAM_TEXT && !w->spec.sealed &&
                  !pfs_http_chunked(&c->http);
    bool says_so = w->finish_length != 0 || w->roles[PFS_WIRE_FINISH] != 0;
    w->ends_unsaid = w->ends_unsaid || (pfs_http_until_close(&c->http) && (whole || !says_so));
    return PFS_WIRE_MORE;
}

static pfs_wire_verdict failed_stream(pfs_wire_conn *c, pfs_status status)
{
    return status == PFS_ERANGE
               ? pfs_wire_fail(c, PFS_EVENTS_TOO_LARGE, "an event of the answer is too large")
               : no_memory(c);
}

static pfs_wire_verdict body(pfs_wire *w, pfs_wire_conn *c, const pfs_http_part *part)
{
    pfs_wire_reply *reply = c->reply;
    reply->bytes += part->length;
    if (c->reading == PFS_WIRE_AS_ERROR) {
        size_t room = PFS_WIRE_MESSAGE - reply->last.length;
        size_t kept = part->length < room ? part->length : room;
        (void)pfs_bytes_append(&reply->last, w->alloc, part->bytes, kept);
        return reply->bytes <= w->spec.max_body ? PFS_WIRE_MORE : PFS_WIRE_COMPLETE;
    }
    if (reply->bytes > w->spec.max_body) {
        return pfs_wire_fail(c, PFS_EVENTS_TOO_LARGE, "the answer is too large");
    }
    if ((reply->keep || c->reading == PFS_WIRE_AS_WHOLE) &&
        pfs_bytes_append(&reply->body, w->alloc, part->bytes, part->length) != PFS_OK) {
        return no_memory(c);
    }
    if (c->reading == PFS_WIRE_AS_WHOLE) {
        return PFS_WIRE_MORE;
    }
    pfs_stream_event found;
    pfs_status status = pfs_stream_feed(&c->stream, part->bytes, part->length, part->at_ns);
    while (status == PFS_OK && (status = pfs_stream_next(&c->stream, &found)) == PFS_OK) {
        if (event(w, c, &found, found.at_ns) == PFS_WIRE_FAILED) {
            return PFS_WIRE_FAILED;
        }
    }
    return status == PFS_EEMPTY ? PFS_WIRE_MORE : failed_stream(c, status);
}

static pfs_wire_verdict refused(pfs_wire_conn *c)
{
    int code = c->reply->http_status;
    pfs_events_status status = code == 429   ? PFS_EVENTS_HTTP_429
                               : code >= 500 ? PFS_EVENTS_HTTP_5XX
                               : code >= 400 ? PFS_EVENTS_HTTP_4XX
                                             : PFS_EVENTS_PROTOCOL;
    (void)pfs_wire_fail(c, status, "the server answered with an error");
    return PFS_WIRE_COMPLETE;
}

/* The body is over, as HTTP says: was the answer? */
static pfs_wire_verdict ending(pfs_wire *w, pfs_wire_conn *c, int64_t at_ns)
{
    pfs_wire_reply *reply = c->reply;
    if (c->reading == PFS_WIRE_AS_ERROR) {
        return refused(c);
    }
    if (c->reading == PFS_WIRE_AS_WHOLE) {
        if (payload(w, c, reply->body.length == 0 ? "" : reply->body.at, reply->body.length,
                    at_ns) == PFS_WIRE_FAILED) {
            return PFS_WIRE_FAILED;
        }
        c->finished = true;
        /* What it lacks in counts can only be counted from its words. */
        reply->keep = reply->keep || reply->prompt_tokens < 0 || reply->completion_tokens < 0;
        return PFS_WIRE_COMPLETE;
    }
    pfs_stream_event found;
    pfs_status status;
    while ((status = pfs_stream_end(&c->stream, &found)) == PFS_OK) {
        if (event(w, c, &found, at_ns) == PFS_WIRE_FAILED) {
            return PFS_WIRE_FAILED;
        }
    }
    if (c->finished) {
        return PFS_WIRE_COMPLETE;
    }
    if (status != PFS_EEMPTY && status != PFS_EFORMAT) {
        return failed_stream(c, status);
    }
    if (w->spec.marks_end) {
        return pfs_wire_fail(c, PFS_EVENTS_INCOMPLETE,
                             "the stream ended without saying that it was complete");
    }
    return status == PFS_EEMPTY ? PFS_WIRE_COMPLETE
                                : pfs_wire_fail(c, PFS_EVENTS_INCOMPLETE,
                                                "the stream ended in the middle of an event");
}

static pfs_wire_verdict parts(pfs_wire *w, pfs_wire_conn *c, pfs_status status)
{
    pfs_http_part part;
    while (status == PFS_OK && (status = pfs_http_next(&c->http, &part)) == PFS_OK) {
        pfs_wire_verdict verdict;
        if (part.kind == PFS_HTTP_HEAD) {
            verdict = head(w, c);
        } else if (part.kind == PFS_HTTP_BODY) {
            verdict = body(w, c, &part);
            if (verdict == PFS_WIRE_COMPLETE) { /* an error that goes on and on */
                return refused(c);
            }
        } else {
            return ending(w, c, part.at_ns);
        }
        if (verdict == PFS_WIRE_FAILED) {
            return verdict;
        }
    }
    if (status == PFS_EEMPTY) {
        return PFS_WIRE_MORE;
    }
    if (status == PFS_ENOMEM) {
        return no_memory(c);
    }
    const char *why = pfs_http_wrong(&c->http);
    return pfs_wire_fail(c, PFS_EVENTS_PROTOCOL, why == NULL ? "not HTTP" : why);
}

pfs_wire_verdict pfs_wire_hear(pfs_wire *w, pfs_wire_conn *c, const char *bytes, size_t length,
                               int64_t at_ns)
{
    uint64_t before = c->reply->chunks;
    pfs_wire_verdict verdict = parts(w, c, pfs_http_feed(&c->http, bytes, length, at_ns));
    uint64_t chunks = c->reply->chunks - before;
    if (at_ns != c->shared_ns) {
        c->shared_ns = at_ns;
        c->sharing = 0;
    }
    if (c->sharing < 2 && c->sharing + chunks > 1) {
        w->counts.coalesced_reads++;
    }
    w->counts.coalesced_chunks += chunks - (c->sharing == 0 && chunks != 0);
    c->sharing += chunks;
    return verdict;
}

pfs_wire_verdict pfs_wire_hear_close(pfs_wire *w, pfs_wire_conn *c, bool torn)
{
    pfs_http_part part;
    bool begun = pfs_http_begun(&c->http);
    pfs_status status = pfs_http_close(&c->http, &part);
    if (status == PFS_OK && torn && !c->finished && c->reading != PFS_WIRE_AS_ERROR) {
        return pfs_wire_fail(c, PFS_EVENTS_INCOMPLETE,
                             "the connection ended, and TLS did not say that the answer had");
    }
    if (status == PFS_OK) {
        return ending(w, c, c->last_ns);
    }
    if (c->finished) { /* it was complete before the connection went */
        return PFS_WIRE_COMPLETE;
    }
    if (c->reading == PFS_WIRE_AS_ERROR && c->reply->http_status != 0) {
        return refused(c);
    }
    return begun ? pfs_wire_fail(c, PFS_EVENTS_INCOMPLETE, "the answer was cut short")
                 : pfs_wire_fail(c, PFS_EVENTS_CLOSED,
                                 "the server closed the connection without an answer");
}

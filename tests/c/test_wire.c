/* The load engine against a server in this process that answers, or misbehaves, as the path asks.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "pfs_clock.h"
#include "pfs_wire.h"
#include "pfs_wire_clock.h"
#include "pfs_wire_inner.h"
#include "pfs_wire_sealed.h"

#define MS     INT64_C(1000000)
#define STROLL 64 /* chunks of an answer whose chunks come one by one */
#define ANY    UINT64_MAX
#define HEARD  20 /* times that pieces of raw text are sent */

static char ANSWER[1024];
static size_t answer_length;

static void add(const char *chunk)
{
    int n = snprintf(ANSWER + answer_length, sizeof ANSWER - answer_length, "%zx\r\n%s\r\n",
                     strlen(chunk), chunk);
    answer_length += (size_t)n;
}

/* Five events; the second is cut by the chunks. */
static void make_answer(void)
{
    answer_length = (size_t)snprintf(ANSWER, sizeof ANSWER,
                                     "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                     "transfer-encoding: chunked\r\n\r\n");
    add("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n");
    add("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}");
    add("\n\n");
    add("data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"h\xc3\xa9, hm\"}}]}\n\n");
    add("data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n");
    add("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n"
        "data: [DONE]\n\n");
    add("");
}

/* ---- the server ------------------------------------------------------------------------------ */

static int listening = -1;
static struct sockaddr_in address;
static pfs_wire_address there[2];
static pthread_mutex_t dense = PTHREAD_MUTEX_INITIALIZER;

static void tell(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        bytes += n;
        length -= (size_t)n;
    }
}

static void say(int fd, const char *text)
{
    tell(fd, text, strlen(text));
}

static void until_closed(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0) {
    }
}

/* How many chunks the client has, as far as it told; -1: it will not be told. */
static atomic_int heard;
static atomic_int resent; /* segments that the last answer of raw text sent again */

static int resent_of(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
    return (int)info.tcpi_total_retrans;
}

static void await_heard(int chunks)
{
    while (atomic_load(&heard) >= 0 && atomic_load(&heard) < chunks) {
        usleep(500);
    }
}

/* Whether the connection goes on. */
static bool answer(int fd, const char *path)
{
    size_t length = answer_length;
    int n;
    if (sscanf(path, "/cut/%d", &n) == 1) {
        tell(fd, ANSWER, (size_t)n);
        usleep(300);
        tell(fd, ANSWER + n, length - (size_t)n);
        return true;
    }
    if (strcmp(path, "/ok") == 0) {
        tell(fd, ANSWER, length);
        return true;
    }
    if (strcmp(path, "/bytes") == 0) {
        for (size_t i = 0; i < length; i++) {
            tell(fd, ANSWER + i, 1);
        }
        return true;
    }
    if (strcmp(path, "/once") == 0) {
        tell(fd, ANSWER, length);
        usleep(2000);
    } else if (strcmp(path, "/short") == 0) {
        tell(fd, ANSWER, length / 2);
    } else if (strcmp(path, "/reset") == 0) {
        struct linger hard = {1, 0};
        tell(fd, ANSWER, length / 2);
        usleep(20000);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    } else if (strcmp(path, "/silent") == 0) {
        until_closed(fd);
    } else if (strcmp(path, "/loris") == 0) {
        for (size_t i = 0; i < length; i++) {
            if (send(fd, ANSWER + i, 1, MSG_NOSIGNAL) != 1) {
                break;
            }
            usleep(20000);
        }
    } else if (strcmp(path, "/429") == 0) {
        say(fd, "HTTP/1.1 429 Too Many\r\nretry-after: 3\r\ncontent-length: 4\r\n\r\nslow");
        return true;
    } else if (strcmp(path, "/404") == 0) {
        say(fd, "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n");
        return true;
    } else if (strcmp(path, "/500") == 0) {
        say(fd, "HTTP/1.1 500 Ow\r\nconnection: close\r\n\r\nit broke");
    } else if (strcmp(path, "/garbage") == 0) {
        say(fd, "220 mail.example ESMTP\r\n\r\n");
    } else if (strcmp(path, "/packed") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nxxxxxxxxx");
    } else if (strcmp(path, "/large") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\n\r\ndata: ");
        for (int i = 0; i < 2000; i++) {
            say(fd, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        }
    } else if (strcmp(path, "/dense") == 0) {
        static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
        static char lines[sizeof head - 1 + 160000];
        pthread_mutex_lock(&dense);
        memset(lines, '1', sizeof lines);
        for (size_t i = sizeof head; i < sizeof lines; i += 2) {
            lines[i] = '\n';
        }
        memcpy(lines, head, sizeof head - 1);
        tell(fd, lines, sizeof lines); /* at once, so that reads are full */
        pthread_mutex_unlock(&dense);
    } else if (strcmp(path, "/broken") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\n\r\ndata: {\"choices\":[\n\n");
    } else if (strcmp(path, "/inside") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\n\r\ndata: {\"error\":{\"message\":\"no\"}}\n\n");
    } else if (strcmp(path, "/growing") == 0) {
        static const char *const texts[] = {"b", "a", "a", "", "ab", "b"};
        say(fd, "HTTP/1.1 200 OK\r\n\r\n");
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            char line[128];
            snprintf(line, sizeof line,
                     "data: {\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}\n\n", texts[i]);
            say(fd, line);
        }
        say(fd, "data: [DONE]\n\n");
    } else if (strcmp(path, "/strolling") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\n\r\n");
        for (int i = 0; i < STROLL; i++) {
            usleep(5000);
            say(fd, "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n");
        }
        say(fd, "data: [DONE]\n\n");
    } else if (strcmp(path, "/quiet") == 0) { /* nothing but the close says that it is over */
        say(fd, "HTTP/1.1 200 OK\r\n\r\n");
        for (int i = 0; i < STROLL; i++) {
            usleep(5000);
            say(fd, "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n");
        }
    } else if (sscanf(path, "/prose/%d", &n) == 1) { /* so many pieces of raw text at a time */
        say(fd, "HTTP/1.1 200 OK\r\n\r\n");
        for (int i = 0; i < HEARD; i++) {
            await_heard(i);
            for (int j = 0; j < n; j++) {
                say(fd, "word ");
            }
        }
        await_heard(HEARD);
        atomic_store(&resent, resent_of(fd));
    } else if (strcmp(path, "/unended") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n");
    } else if (strcmp(path, "/whole") == 0) {
        say(fd,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json; x=y\r\ncontent-length: 89\r\n\r\n"
            "{\"choices\":[{\"delta\":{\"content\":\"b\"}}],"
            "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}");
        return true;
    }
    return false;
}

static void *serve(void *context)
{
    int fd = (int)(intptr_t)context, one = 1;
    char request[4096];
    size_t length = 0;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (bool on = true; on;) {
        ssize_t n = recv(fd, request + length, sizeof request - 1 - length, 0);
        if (n <= 0) {
            break;
        }
        length += (size_t)n;
        request[length] = '\0';
        if (strstr(request, "\r\n\r\n") != NULL) {
            char path[64] = "";
            (void)sscanf(request, "POST %63s", path);
            length = 0;
            on = answer(fd, path);
        }
    }
    close(fd);
    return NULL;
}

static void *accept_all(void *context)
{
    (void)context;
    for (int fd; (fd = accept(listening, NULL, NULL)) >= 0;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0) {
            abort();
        }
        pthread_detach(thread);
    }
    return NULL;
}

/* ---- the client ------------------------------------------------------------------------------ */

static const char *const RULES[] = {"choices[].delta.content", "choices[].delta.reasoning_content",
                                    "usage.prompt_tokens", "usage.completion_tokens", "error"};
static const pfs_wire_role ROLES[] = {PFS_WIRE_VISIBLE, PFS_WIRE_HIDDEN, PFS_WIRE_PROMPT,
                                      PFS_WIRE_COMPLETION, PFS_WIRE_ERROR};

static pfs_wire_spec plain(void)
{
    memcpy(&there[0].at, &address, sizeof address);
    there[0].length = sizeof address;
    return (pfs_wire_spec){.addresses = there,
                           .address_count = 1,
                           .connections = 1,
                           .queue = 4096,
                           .timeout_ns = INT64_C(20000000000),
                           .stream = PFS_STREAM_SSE,
                           .marks_end = true,
                           .kernel = true,
                           .max_event = 65536,
                           .max_body = 1 << 20,
                           .rules = RULES,
                           .roles = ROLES,
                           .rule_count = sizeof RULES / sizeof RULES[0],
                           .finish = "[DONE]"};
}

static pfs_events *recorder(const pfs_alloc *alloc)
{
    pfs_events_spec spec = {
        .precision = 7, .blocks = 2, .windows = 64, .limit_ms = 1000.0, .start_ns = pfs_clock_ns()};
    pfs_events *events = NULL;
    for (int i = 0; i < PFS_EVENTS_METRICS; i++) {
        spec.objectives[i] = (double)NAN;
    }
    CHECK(pfs_events_new(&events, &spec, alloc) == PFS_OK);
    return events;
}

static pfs_status ask(pfs_wire *w, const char *path, int64_t due)
{
    char request[256];
    int n = snprintf(request, sizeof request,
                     "POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", path);
    pfs_wire_order order = {
        .request = request, .length = (size_t)n, .due_ns = due, .echo = "b", .echo_length = 1};
    return pfs_wire_submit(w, &order);
}

typedef struct {
    pfs_wire *w;
    pfs_events *events;
    pfs_wire_reply *replies, **end;
    size_t count;
} client;

static client begin(const pfs_wire_spec *spec)
{
    client c = {.events = recorder(pfs_alloc_libc())};
    CHECK(pfs_wire_new(&c.w, spec, NULL, pfs_alloc_libc()) == PFS_OK);
    return c;
}

static void gather(client *c)
{
    pfs_wire_reply *found;
    pfs_wire_drain(c->w, c->events, &found);
    pfs_wire_reply **at = &c->replies;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = found;
    for (; found != NULL; found = found->next) {
        c->count++;
    }
}

/* Turns the loop in this thread until that many replies are there. */
static void turn_until(client *c, size_t count)
{
    while (c->count < count) {
        pfs_wire_turn(c->w, 100);
        gather(c);
    }
}

static void end(client *c)
{
    while (c->replies != NULL) {
        pfs_wire_reply *next = c->replies->next;
        pfs_wire_reply_free(c->w, c->replies);
        c->replies = next;
    }
    pfs_wire_free(c->w);
    pfs_events_free(c->events);
}

static void check_whole_answer(const pfs_wire_reply *r)
{
    CHECK(r->status == PFS_EVENTS_OK);
    CHECK(r->http_status == 200);
    CHECK(r->chunks == 3);
    CHECK(r->prompt_tokens == 7 && r->completion_tokens == 3);
    CHECK(r->due_ns <= r->sent_ns && r->sent_ns <= r->first_ns && r->first_ns <= r->end_ns);
}

TEST(every_split)
{
    size_t length = answer_length;
    pfs_wire_spec spec = plain();
    spec.connections = 4;
    client c = begin(&spec);
    for (size_t n = 1; n < length; n++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/cut/%zu", n);
        CHECK(ask(c.w, path, PFS_WIRE_NOW) == PFS_OK);
    }
    CHECK(ask(c.w, "/bytes", PFS_WIRE_NOW) == PFS_OK);
    turn_until(&c, length);
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        check_whole_answer(r);
    }
    const pfs_events_counts *counts = pfs_events_counted(c.events);
    CHECK(counts->completed == length && counts->failed == 0);
    CHECK(counts->visible_chunks == 0 || counts->visible_chunks == 2 * length);
    CHECK(counts->max_in_flight == 4 && counts->in_flight == 0);
    pfs_wire_counts wire;
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.connects == 4 && wire.sent == length && wire.reused == length - 4);
    CHECK(wire.reads > length && wire.kernel_reads <= wire.reads);
    CHECK(wire.queued == 0 && wire.active == 0);
    end(&c);
}

static const pfs_wire_reply *one(client *c, const char *path)
{
    CHECK(ask(c->w, path, PFS_WIRE_NOW) == PFS_OK);
    turn_until(c, c->count + 1);
    const pfs_wire_reply *r = c->replies;
    while (r->next != NULL) {
        r = r->next;
    }
    return r;
}

TEST(what_grows_is_told_once)
{
    pfs_wire_spec spec = plain();
    client c = begin(&spec);
    CHECK(one(&c, "/growing")->chunks == 5); /* each that has a text */
    end(&c);
    spec.cumulative = true;
    c = begin(&spec);
    for (int i = 0; i < 2; i++) { /* the second begins anew */
        const pfs_wire_reply *r = one(&c, "/growing");
        CHECK(r->status == PFS_EVENTS_OK && r->chunks == 3); /* "a", "ab" and at last "b" */
    }
    end(&c);
}

TEST(every_failure)
{
    static const struct {
        const char *path;
        pfs_events_status status;
        int http;
    } cases[] = {
        {"/close", PFS_EVENTS_CLOSED, 0},      {"/short", PFS_EVENTS_INCOMPLETE, 200},
        {"/reset", PFS_EVENTS_RESET, 200},     {"/429", PFS_EVENTS_HTTP_429, 429},
        {"/404", PFS_EVENTS_HTTP_4XX, 404},    {"/500", PFS_EVENTS_HTTP_5XX, 500},
        {"/garbage", PFS_EVENTS_PROTOCOL, 0},  {"/packed", PFS_EVENTS_PROTOCOL, 200},
        {"/large", PFS_EVENTS_TOO_LARGE, 200}, {"/broken", PFS_EVENTS_MALFORMED, 200},
        {"/inside", PFS_EVENTS_TARGET, 200},   {"/unended", PFS_EVENTS_INCOMPLETE, 200},
        {"/whole", PFS_EVENTS_OK, 200},        {"/ok", PFS_EVENTS_OK, 200},
    };
    pfs_wire_spec spec = plain();
    client c = begin(&spec);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const pfs_wire_reply *r = one(&c, cases[i].path);
        if (r->status != cases[i].status || r->http_status != cases[i].http) {
            fprintf(stderr, "%s: status %d, http %d, %s\n", cases[i].path, (int)r->status,
                    r->http_status, r->why == NULL ? "-" : r->why);
        }
        CHECK(r->status == cases[i].status && r->http_status == cases[i].http);
        CHECK((r->why == NULL) == (r->status == PFS_EVENTS_OK));
        if (r->http_status == 429) {
            CHECK(r->retry_after_s == 3 && r->last.length == 4 &&
                  memcmp(r->last.at, "slow", 4) == 0);
        }
        if (strcmp(cases[i].path, "/whole") == 0) {
            CHECK(r->chunks == 1 && r->prompt_tokens == 5 && r->completion_tokens == 1);
        }
    }
    const pfs_events_counts *counts = pfs_events_counted(c.events);
    CHECK(counts->completed == 2 && counts->failed == 12 && counts->in_flight == 0);
    end(&c);
}

/* A port that nobody listens on: bound, never listened.  Its socket. */
static int refuse(void)
{
    struct sockaddr_in nobody = {.sin_family = AF_INET};
    socklen_t size = sizeof nobody;
    nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&nobody, size) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&nobody, &size) == 0);
    memcpy(&there[0].at, &nobody, sizeof nobody);
    return fd;
}

TEST(time_outs_and_refusals)
{
    pfs_wire_spec spec = plain();
    spec.timeout_ns = 60 * MS;
    client c = begin(&spec);
    CHECK(one(&c, "/silent")->status == PFS_EVENTS_TIMEOUT);
    const pfs_wire_reply *slow = one(&c, "/loris");
    CHECK(slow->status == PFS_EVENTS_TIMEOUT && slow->end_ns - slow->due_ns >= 60 * MS);
    bool usable = false; /* the slot is, again; on a busy machine 60 ms may be too few at first */
    for (int i = 0; i < 100 && !usable; i++) {
        usable = one(&c, "/ok")->status == PFS_EVENTS_OK;
    }
    CHECK(usable);
    end(&c);
    there[1] = there[0];
    int fd = refuse();
    c = begin(&spec);
    const pfs_wire_reply *r = one(&c, "/ok");
    CHECK(r->status == PFS_EVENTS_CONNECT && r->error_number != 0);
    CHECK(r->sent_ns == PFS_EVENTS_NONE);
    end(&c);
    /* With another address behind it, that one is found, and tried first from then on. */
    spec.address_count = 2;
    spec.timeout_ns = INT64_C(20000000000);
    spec.connections = 2;
    c = begin(&spec);
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_OK && ask(c.w, "/once", PFS_WIRE_NOW) == PFS_OK);
    turn_until(&c, 2);
    for (r = c.replies; r != NULL; r = r->next) {
        check_whole_answer(r);
    }
    end(&c);
    close(fd);
}

/* So many requests, of which so many end; how long that took. */
static int64_t asked(client *c, size_t requests, size_t ends, bool scheduled)
{
    int64_t began = pfs_clock_ns();
    for (size_t i = 0; i < requests; i++) {
        CHECK(ask(c->w, "/silent", scheduled ? began : PFS_WIRE_NOW) == PFS_OK);
    }
    turn_until(c, ends);
    return pfs_clock_ns() - began;
}

TEST(a_slot_that_is_refused_rests)
{
    pfs_wire_spec spec = plain();
    pfs_wire_counts wire;
    spec.timeout_ns = 60 * MS;
    int fd = refuse();
    client c = begin(&spec);
    /* A fifth try comes after rests of 10, 20, 40 and 80 ms. */
    CHECK(asked(&c, 100, 5, false) >= 150 * MS && c.count == 5);
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.rests == 5 && wire.resting == 1 && wire.active == 0 && wire.queued == 95);
    CHECK(wire.rest_ns >= (uint64_t)(150 * MS));
    CHECK(pfs_events_counted(c.events)->in_flight == 0);
    /* With a connection it is over, however the request ends. */
    CHECK(listen(fd, 8) == 0);
    turn_until(&c, 7);
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.rests == 5 && wire.resting == 0 && wire.connects >= 2);
    end(&c);
    close(fd);

    fd = refuse();
    spec.connections = 2;
    c = begin(&spec);
    CHECK(asked(&c, 100, 8, false) >= 70 * MS); /* two slots, four tries each */
    pfs_wire_stop(c.w);                         /* which is no time to wait for */
    gather(&c);
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.rests == 8 && c.count == 8);
    end(&c);

    /* What falls due by a schedule is tried when it is due. */
    c = begin(&spec);
    (void)asked(&c, 100, 100, true);
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.rests == 0 && wire.resting == 0 && wire.rest_ns == 0);
    end(&c);
    close(fd);
}

TEST(a_stale_connection_is_tried_again_once)
{
    pfs_wire_spec spec = plain();
    client c = begin(&spec);
    pfs_wire_counts wire;
    /* The server closes 2 ms after each answer: the second request may or may not see it first. */
    check_whole_answer(one(&c, "/once"));
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_OK);
    turn_until(&c, 2);
    check_whole_answer(c.replies->next);
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.stale_retries + wire.stale_closed == 1);
    CHECK(wire.connects == 2 && wire.sent == 2);
    /* Used before, and then no byte of an answer, on the new connection either: closed. */
    const pfs_wire_reply *r = one(&c, "/close");
    CHECK(r->status == PFS_EVENTS_CLOSED && r->retried);
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.connects == 3);
    /* Bytes of an answer came: not again. */
    check_whole_answer(one(&c, "/ok"));
    r = one(&c, "/short");
    CHECK(r->status == PFS_EVENTS_INCOMPLETE && r->reused && !r->retried);
    end(&c);
}

TEST(a_schedule_is_kept)
{
    pfs_wire_spec spec = plain();
    spec.connections = 2;
    client c = begin(&spec);
    int64_t first = pfs_clock_ns() + 20 * MS;
    for (int i = 0; i < 10; i++) {
        CHECK(ask(c.w, "/ok", first + i * 5 * MS) == PFS_OK);
    }
    CHECK(pfs_wire_start(c.w) == PFS_OK);
    CHECK(pfs_wire_start(c.w) == PFS_EINVAL);
    while (c.count < 10) {
        usleep(2000);
        gather(&c);
    }
    unsigned seen = 0; /* a later one may end before an earlier one */
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        int64_t number = (r->due_ns - first) / (5 * MS);
        check_whole_answer(r);
        CHECK(r->due_ns == first + number * 5 * MS && r->sent_ns >= r->due_ns);
        seen |= 1U << (unsigned)number;
    }
    CHECK(seen == (1U << 10) - 1);
    /* One connection, and a server that does not answer: the rest waits, on the clock. */
    end(&c);
    spec.connections = 1;
    spec.timeout_ns = 50 * MS;
    c = begin(&spec);
    first = pfs_clock_ns();
    for (int i = 0; i < 3; i++) {
        CHECK(ask(c.w, "/silent", first) == PFS_OK);
    }
    turn_until(&c, 3);
    CHECK(c.replies->next->next->sent_ns - first >= 100 * MS);
    pfs_wire_counts wire;
    pfs_wire_counted(c.w, &wire);
    /* They were late, but the client was not, unless the first says so, which waited for nobody. */
    CHECK(wire.late_sends == 0 ||
          (wire.late_sends == 1 && c.replies->sent_ns - first > PFS_WIRE_LATE_NS));
    CHECK(pfs_events_counted(c.events)->max_in_flight == 1);
    end(&c);
}

static int descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

TEST(stopping_ends_what_is_under_way)
{
    pfs_wire_spec spec = plain();
    spec.connections = 8;
    client c = begin(&spec);
    int64_t now = pfs_clock_ns();
    for (int i = 0; i < 12; i++) {
        CHECK(ask(c.w, "/silent", now) == PFS_OK);
    }
    CHECK(ask(c.w, "/ok", now + INT64_C(3600000000000)) == PFS_OK);
    CHECK(pfs_wire_start(c.w) == PFS_OK);
    while (pfs_events_counted(c.events)->in_flight < 8) {
        usleep(1000);
        gather(&c);
    }
    pfs_wire_stop(c.w);
    pfs_wire_stop(c.w);
    gather(&c);
    CHECK(c.count == 12);
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        CHECK(r->status == PFS_EVENTS_CANCELLED);
    }
    const pfs_events_counts *counts = pfs_events_counted(c.events);
    CHECK(counts->cancelled == 12 && counts->in_flight == 0 && counts->waiting == 0);
    pfs_wire_counts wire;
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.unsent == 1 && wire.queued == 0 && wire.active == 0 && wire.waiting == 0);
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_EFULL);
    end(&c);
    /* Freed while it runs, with nothing drained. */
    c = begin(&spec);
    for (int i = 0; i < 20; i++) {
        CHECK(ask(c.w, i % 2 ? "/ok" : "/silent", PFS_WIRE_NOW) == PFS_OK);
    }
    CHECK(pfs_wire_start(c.w) == PFS_OK);
    usleep(20000);
    end(&c);
}

/* More are due than may wait at once: all of them end, in turns, and none is lost. */
TEST(giving_up_ends_what_is_due)
{
    enum { DUE = 9000 };
    pfs_wire_spec spec = plain();
    spec.queue = DUE + 1;
    client c = begin(&spec);
    int64_t now = pfs_clock_ns();
    for (int i = 0; i < DUE; i++) {
        CHECK(ask(c.w, "/silent", now) == PFS_OK);
    }
    CHECK(ask(c.w, "/ok", now + INT64_C(3600000000000)) == PFS_OK);
    while (pfs_events_counted(c.events)->in_flight < 1) {
        pfs_wire_turn(c.w, 10);
        gather(&c);
    }
    pfs_wire_give_up(c.w, false);
    turn_until(&c, DUE - 1);
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        CHECK(r->status == PFS_EVENTS_CANCELLED);
    }
    const pfs_events_counts *counts = pfs_events_counted(c.events);
    CHECK(counts->cancelled == DUE - 1 && counts->in_flight == 1 && counts->waiting == 0);
    pfs_wire_give_up(c.w, true);
    turn_until(&c, DUE);
    CHECK(counts->failed == 1 && counts->errors[PFS_EVENTS_TIMEOUT] == 1);
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_EFULL);
    end(&c);
}

/* A log that nobody drains makes the engine pause, and nothing is lost. */
TEST(a_full_log_pauses)
{
    enum { REQUESTS = 14000 };
    pfs_wire_spec spec = plain();
    spec.connections = 8;
    spec.queue = REQUESTS;
    client c = begin(&spec);
    for (int i = 0; i < REQUESTS; i++) {
        CHECK(ask(c.w, "/404", PFS_WIRE_NOW) == PFS_OK);
    }
    pfs_wire_counts wire = {0};
    while (wire.paused == 0) {
        pfs_wire_turn(c.w, 1);
        pfs_wire_counted(c.w, &wire);
    }
    CHECK(wire.ended < REQUESTS);
    turn_until(&c, REQUESTS);
    CHECK(pfs_events_counted(c.events)->failed == REQUESTS);
    CHECK(pfs_events_counted(c.events)->errors[PFS_EVENTS_HTTP_4XX] == REQUESTS);
    end(&c);
}

/* Two bytes to an event: the most marks that a read can make, in a log that is nearly full. */
TEST(the_densest_stream_fits_the_log)
{
    pfs_wire_spec spec = plain();
    spec.stream = PFS_STREAM_NDJSON;
    spec.rule_count = 0;
    spec.marks_end = false;
    client c = begin(&spec);
    for (int i = 0; i < 4; i++) {
        CHECK(ask(c.w, "/dense", PFS_WIRE_NOW) == PFS_OK);
    }
    pfs_wire_counts wire = {0};
    while (wire.paused == 0) {
        pfs_wire_turn(c.w, 1);
        pfs_wire_counted(c.w, &wire);
    }
    turn_until(&c, 4);
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        CHECK(r->status == PFS_EVENTS_OK && r->chunks == 80000);
    }
    end(&c);
}

/* What was counted of as many answers at once as there are connections, each of so many chunks. */
static pfs_wire_counts crowd(const pfs_wire_spec *spec, const char *path, uint64_t chunks)
{
    pfs_wire_counts wire;
    client c = begin(spec);
    for (size_t i = 0; i < spec->connections; i++) {
        CHECK(ask(c.w, path, PFS_WIRE_NOW) == PFS_OK);
    }
    while (c.count < spec->connections) {
        pfs_wire_turn(c.w, -1);
        gather(&c);
    }
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        CHECK(r->status == PFS_EVENTS_OK && (chunks == ANY || r->chunks == chunks));
    }
    pfs_wire_counted(c.w, &wire);
    end(&c);
    return wire;
}

TEST(chunks_of_many_streams_come_together)
{
    pfs_wire_spec spec = plain();
    spec.connections = 16;
    pfs_wire_counts wire = {0};
    for (int i = 0; i < 20 && wire.naps < 10;
         i++) { /* on a busy machine they are together already */
        wire = crowd(&spec, "/strolling", STROLL);
    }
    CHECK(wire.kernel_reads < wire.reads || wire.naps >= 10);
    for (int i = 0; i < 3; i++) { /* of short answers each is wanted at once */
        CHECK(crowd(&spec, "/ok", 3).naps == 0);
    }
    pfs_wire_spec text = spec; /* two pieces read as one are one, and nothing tells */
    text.stream = PFS_STREAM_TEXT;
    text.marks_end = false;
    text.rule_count = 0;
    text.finish = NULL;
    CHECK(crowd(&text, "/strolling", ANY).naps == 0);
    spec.kernel = false; /* who stamps here must be awake */
    CHECK(crowd(&spec, "/strolling", STROLL).naps == 0);
}

/* The end of such answers is stamped by whoever reads it, who must be awake. */
TEST(no_nap_where_the_close_is_the_end)
{
    pfs_wire_spec spec = plain();
    spec.connections = 16;
    spec.marks_end = false;
    spec.finish = NULL;
    pfs_wire_counts wire = crowd(&spec, "/quiet", STROLL);
    CHECK(wire.naps == 0 && wire.nap_ns == 0);
    spec.finish = "[DONE]"; /* then what says that it is over is stamped */
    for (int i = 0; i < 20 && wire.naps == 0; i++) {
        wire = crowd(&spec, "/quiet", STROLL);
    }
    CHECK(wire.kernel_reads < wire.reads || wire.naps > 0);
    CHECK((wire.nap_ns > 0) == (wire.naps > 0));
}

/* Reads an answer of raw text that comes `pieces` at a time, each time all of them at once and so
 * long after they were sent. */
static pfs_wire_counts prose(int pieces, useconds_t after_us, pfs_wire_reply *out)
{
    char path[32];
    pfs_wire_counts wire;
    pfs_wire_spec spec = plain();
    spec.stream = PFS_STREAM_TEXT;
    spec.marks_end = false;
    spec.rule_count = 0;
    spec.finish = NULL;
    atomic_store(&heard, 0);
    client c = begin(&spec);
    snprintf(path, sizeof path, "/prose/%d", pieces);
    CHECK(ask(c.w, path, PFS_WIRE_NOW) == PFS_OK);
    while (c.count == 0) {
        pfs_wire_counted(c.w, &wire);
        uint64_t length = (uint64_t)pieces * (sizeof "word " - 1);
        uint64_t head = sizeof "HTTP/1.1 200 OK\r\n\r\n" - 1;
        /* Only what is whole is told, and then some time passes: what is sent is there at once. */
        if (wire.bytes_received >= head && (wire.bytes_received - head) % length == 0) {
            atomic_store(&heard, (int)((wire.bytes_received - head) / length));
            usleep(after_us);
        }
        pfs_wire_turn(c.w, 1);
        gather(&c);
    }
    *out = *c.replies;
    pfs_wire_counted(c.w, &wire);
    end(&c);
    return wire;
}

TEST(pieces_of_raw_text_that_are_read_as_one_are_counted)
{
    pfs_wire_reply reply;
    pfs_wire_counts wire = prose(1, 5000, &reply);
    CHECK(reply.status == PFS_EVENTS_OK && reply.chunks == HEARD);
    CHECK(wire.merged_reads == 0 && wire.merged_pieces == 0);
    for (int i = 0; i < 20 && wire.merged_reads == 0; i++) {
        wire = prose(4, 5000, &reply);
        CHECK(reply.status == PFS_EVENTS_OK);
        /* Never more than there were. */
        CHECK(reply.chunks + wire.merged_pieces <= (uint64_t)4 * HEARD);
    }
    CHECK(wire.merged_reads > 0 && wire.merged_pieces >= wire.merged_reads);
}

/* A sender whose last segments are not acknowledged in time sends one of them again, which is no
 * piece more. */
TEST(segments_of_raw_text_that_came_twice_are_no_pieces)
{
    pfs_wire_reply reply;
    atomic_store(&resent, 0);
    for (int i = 0; i < 20 && atomic_load(&resent) == 0; i++) {
        pfs_wire_counts wire = prose(4, 30000, &reply); /* acknowledged when it is read, or later */
        CHECK(reply.status == PFS_EVENTS_OK);
        CHECK(reply.chunks + wire.merged_pieces <= (uint64_t)4 * HEARD);
    }
    CHECK(atomic_load(&resent) > 0);
}

TEST(what_was_not_told_can_be_counted_before_it_is_recorded)
{
    pfs_wire_spec spec = plain();
    spec.connections = 2;
    client c = begin(&spec);
    for (int i = 0; i < 4; i++) { /* every second tells its tokens */
        CHECK(ask(c.w, i % 2 == 0 ? "/ok" : "/growing", PFS_WIRE_NOW) == PFS_OK);
    }
    pfs_wire_counts wire = {0};
    while (wire.ended < 4) {
        pfs_wire_turn(c.w, 100);
        pfs_wire_counted(c.w, &wire);
    }
    pfs_wire_reply *untold, *again;
    size_t found = 0;
    pfs_wire_collect(c.w, &untold);
    for (pfs_wire_reply *r = untold; r != NULL; r = r->next) {
        CHECK(r->completion_tokens == -1 && r->counted_completion == -1);
        r->counted_completion = 50;
        found++;
    }
    CHECK(found == 2);
    pfs_wire_collect(c.w, &again);
    CHECK(again == NULL);
    gather(&c);
    CHECK(c.count == 4);
    CHECK(pfs_events_counted(c.events)->completion_tokens == 2 * 3 + 2 * 50);
    CHECK(pfs_events_counted(c.events)->in_flight == 0);
    CHECK(ask(c.w, "/growing", PFS_WIRE_NOW) == PFS_OK);
    while (wire.ended < 5) {
        pfs_wire_turn(c.w, 100);
        pfs_wire_counted(c.w, &wire);
    }
    pfs_wire_collect(c.w, &untold); /* and never drained: it goes with the engine */
    CHECK(untold != NULL);
    end(&c);
}

TEST(several_ends_are_told_together)
{
    pfs_wire_spec spec = plain();
    spec.connections = 3;
    client c = begin(&spec);
    pfs_wire_tell_after(c.w, 3);
    pfs_wire_counts wire = {0};
    struct pollfd told = {.fd = pfs_wire_fd(c.w), .events = POLLIN};
    for (uint64_t asked = 1; asked <= 3; asked++) {
        CHECK(poll(&told, 1, 0) == 0);
        CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_OK);
        while (wire.ended < asked) {
            pfs_wire_turn(c.w, 100);
            pfs_wire_counted(c.w, &wire);
        }
    }
    CHECK(poll(&told, 1, 0) == 1);
    gather(&c);
    CHECK(c.count == 3 && poll(&told, 1, 0) == 0);
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_OK);
    while (wire.ended < 4) {
        pfs_wire_turn(c.w, 100);
        pfs_wire_counted(c.w, &wire);
    }
    CHECK(poll(&told, 1, 0) == 0);
    pfs_wire_tell_after(c.w, 1); /* what waits already, too */
    CHECK(poll(&told, 1, 0) == 1);
    gather(&c);
    CHECK(c.count == 4);
    end(&c);
}

/* An allocator that knows whether a block of LONG bytes is there. */
enum { LONG = 3500 };
typedef struct {
    max_align_t align;
    size_t size;
} sized;
static size_t long_ones;

static void *sized_alloc(void *context, size_t size)
{
    (void)context;
    sized *block = malloc(2 * sizeof *block + size);
    if (block == NULL) {
        return NULL;
    }
    block->size = size;
    long_ones += size == LONG;
    return (char *)block + 2 * sizeof *block;
}

static sized *block_of(void *at)
{
    return at == NULL ? NULL : (sized *)(void *)((char *)at - 2 * sizeof(sized));
}

static void sized_release(void *context, void *at)
{
    (void)context;
    long_ones -= at != NULL && block_of(at)->size == LONG;
    free(block_of(at));
}

static void *sized_resize(void *context, void *at, size_t size)
{
    void *grown = sized_alloc(context, size);
    if (at != NULL && grown != NULL) {
        size_t before = block_of(at)->size;
        memcpy(grown, at, before < size ? before : size);
        sized_release(context, at);
    }
    return grown;
}

/* Whether the bytes of a long request went before its answer had ended. */
static bool is_forgotten(const char *path)
{
    static const pfs_alloc alloc = {sized_alloc, sized_resize, sized_release, NULL};
    char request[LONG];
    pfs_wire_spec spec = plain();
    spec.timeout_ns = 2000 * MS;
    client c = {.events = recorder(pfs_alloc_libc())};
    CHECK(pfs_wire_new(&c.w, &spec, NULL, &alloc) == PFS_OK);
    memset(request, 'x', sizeof request);
    memcpy(request + sizeof request - 4, "\r\n\r\n", 4);
    request[snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nx: ", path)] = 'x';
    pfs_wire_order order = {.request = request, .length = LONG, .due_ns = PFS_WIRE_NOW};
    CHECK(pfs_wire_submit(c.w, &order) == PFS_OK);
    CHECK(long_ones == 1); /* and not a byte more */
    bool found = false;
    while (c.count == 0) {
        pfs_wire_turn(c.w, 100);
        gather(&c);
        found = found || (c.count == 0 && long_ones == 0);
    }
    end(&c);
    CHECK(long_ones == 0);
    return found;
}

TEST(an_answered_request_is_not_kept)
{
    CHECK(is_forgotten("/strolling"));
    CHECK(!is_forgotten("/silent")); /* it might have to be sent again */
}

/* What one connection of many costs is paid by those that are opened. */
TEST(connections_are_made_when_they_are_wanted)
{
    pfs_wire_spec spec = plain();
    spec.connections = 50000;
    client c = begin(&spec);
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_OK && ask(c.w, "/once", PFS_WIRE_NOW) == PFS_OK);
    turn_until(&c, 2);
    CHECK(c.w->made == 2);
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_OK);
    turn_until(&c, 3);
    CHECK(c.w->made == 2 && pfs_wire_closed(c.w) >= 49998);
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        check_whole_answer(r);
    }
    end(&c);
}

/* ---- sealed ---------------------------------------------------------------------------------- */

/* Does what a parcel asks for, with a seal that changes nothing: pieces of at most `cut` bytes. */
static bool do_parcel(pfs_wire *w, const pfs_wire_parcel *p, size_t cut)
{
    bool good = true;
    if (p->what == PFS_WIRE_OPENED) {
        good = pfs_wire_give(w, p->id, PFS_WIRE_READY, 0, NULL, 0) == PFS_OK;
    } else if (p->what == PFS_WIRE_TO_SEAL) {
        good = pfs_wire_give(w, p->id, PFS_WIRE_SEALED, 0, p->bytes, p->length) == PFS_OK;
    } else if (p->what == PFS_WIRE_SHUT) {
        good = pfs_wire_give(w, p->id, PFS_WIRE_TORN, p->at_ns, NULL, 0) == PFS_OK;
    } else if (p->what == PFS_WIRE_ARRIVED) {
        for (size_t at = 0; good && at < p->length; at += cut) {
            size_t n = p->length - at < cut ? p->length - at : cut;
            good = pfs_wire_give(w, p->id, PFS_WIRE_PLAIN, p->at_ns, p->bytes + at, n) == PFS_OK;
        }
    }
    return good;
}

static void seal(pfs_wire *w, size_t cut)
{
    pfs_wire_parcel p;
    (void)pfs_wire_take(w, 0);
    while (pfs_wire_taken(w, &p)) {
        CHECK(do_parcel(w, &p, cut));
    }
    (void)pfs_wire_take(w, 0); /* which delivers */
}

static void seal_until(client *c, size_t count, size_t cut)
{
    while (c->count < count) {
        pfs_wire_turn(c->w, 5);
        seal(c->w, cut);
        gather(c);
    }
}

TEST(sealed_answers_are_those_of_the_plain_engine)
{
    static const struct {
        const char *path;
        pfs_events_status status;
        int http;
    } cases[] = {
        {"/ok", PFS_EVENTS_OK, 200},           {"/bytes", PFS_EVENTS_OK, 200},
        {"/close", PFS_EVENTS_CLOSED, 0},      {"/short", PFS_EVENTS_INCOMPLETE, 200},
        {"/reset", PFS_EVENTS_RESET, 200},     {"/429", PFS_EVENTS_HTTP_429, 429},
        {"/404", PFS_EVENTS_HTTP_4XX, 404},    {"/500", PFS_EVENTS_HTTP_5XX, 500},
        {"/garbage", PFS_EVENTS_PROTOCOL, 0},  {"/packed", PFS_EVENTS_PROTOCOL, 200},
        {"/large", PFS_EVENTS_TOO_LARGE, 200}, {"/broken", PFS_EVENTS_MALFORMED, 200},
        {"/inside", PFS_EVENTS_TARGET, 200},   {"/unended", PFS_EVENTS_INCOMPLETE, 200},
        {"/whole", PFS_EVENTS_OK, 200},        {"/once", PFS_EVENTS_OK, 200},
        {"/ok", PFS_EVENTS_OK, 200},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    for (size_t cut = 1; cut <= 20000; cut *= 141) {
        pfs_wire_spec spec = plain();
        spec.sealed = true;
        client c = begin(&spec);
        for (size_t i = 0; i < CASES; i++) {
            CHECK(ask(c.w, cases[i].path, PFS_WIRE_NOW) == PFS_OK);
            seal_until(&c, i + 1, cut);
        }
        size_t i = 0;
        for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next, i++) {
            if (r->status != cases[i].status || r->http_status != cases[i].http) {
                fprintf(stderr, "%s: status %d, http %d, %s\n", cases[i].path, (int)r->status,
                        r->http_status, r->why == NULL ? "-" : r->why);
            }
            CHECK(r->status == cases[i].status && r->http_status == cases[i].http);
        }
        pfs_wire_counts wire;
        pfs_wire_counted(c.w, &wire);
        CHECK(wire.handshakes == wire.connects && wire.ended == CASES);
        end(&c);
    }
}

static void *seal_on(void *context)
{
    pfs_wire *w = context;
    pfs_wire_parcel p;
    while (pfs_wire_take(w, 1000)) {
        while (pfs_wire_taken(w, &p)) {
            if (!do_parcel(w, &p, 1 << 20)) {
                return context; /* CHECK is the main thread's */
            }
        }
    }
    return NULL;
}

/* As it is used: the engine's thread, the sealer's, and one that submits and drains. */
TEST(threads_of_a_sealed_engine)
{
    enum { REQUESTS = 400 };
    pfs_wire_spec spec = plain();
    spec.sealed = true;
    spec.connections = 8;
    client c = begin(&spec);
    pthread_t sealer;
    CHECK(pthread_create(&sealer, NULL, seal_on, c.w) == 0);
    CHECK(pfs_wire_start(c.w) == PFS_OK);
    int64_t now = pfs_clock_ns();
    for (int i = 0; i < REQUESTS; i++) {
        CHECK(ask(c.w, i % 4 == 0 ? "/once" : "/ok", now + i * MS / 2) == PFS_OK);
    }
    CHECK(ask(c.w, "/ok", now + INT64_C(3600000000000)) == PFS_OK);
    while (c.count < REQUESTS) {
        usleep(2000);
        gather(&c);
    }
    pfs_wire_stop(c.w);
    void *failed = c.w;
    CHECK(pthread_join(sealer, &failed) == 0 && failed == NULL);
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        CHECK(r->status == PFS_EVENTS_OK && r->sent_ns >= r->due_ns);
    }
    pfs_wire_counts wire;
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.unsent == 1 && wire.ended == REQUESTS);
    end(&c);
}

TEST(nobody_who_seals)
{
    pfs_wire_spec spec = plain();
    spec.sealed = true;
    spec.connections = 2;
    client c = begin(&spec);
    CHECK(ask(c.w, "/ok", PFS_WIRE_NOW) == PFS_OK);
    for (int i = 0; i < 5; i++) {
        pfs_wire_turn(c.w, 5);
    }
    /* What is given for connections that are gone, or never were, does nothing. */
    for (int what = 0; what <= PFS_WIRE_PARCEL_KINDS; what++) {
        bool engines = what < PFS_WIRE_READY || what == PFS_WIRE_PARCEL_KINDS;
        CHECK(pfs_wire_give(c.w, 77, (pfs_wire_parcel_kind)what, 0, "x", 1) ==
              (engines ? PFS_EINVAL : PFS_OK));
        CHECK(pfs_wire_give(c.w, UINT64_MAX, (pfs_wire_parcel_kind)what, 0, "x", 1) ==
              (engines ? PFS_EINVAL : PFS_OK));
    }
    pfs_wire_turn(c.w, 0);
    gather(&c);
    CHECK(c.count == 0);
    end(&c);
}

/* Whoever seals sleeps: the engine reads on, stamps, and pauses when too much waits. */
TEST(too_much_that_waits_to_be_opened_pauses)
{
    pfs_wire_spec spec = plain();
    spec.stream = PFS_STREAM_NDJSON;
    spec.rule_count = 0;
    spec.marks_end = false;
    spec.sealed = true;
    spec.connections = 64;
    client c = begin(&spec);
    size_t asked = 64;
    for (size_t i = 0; i < asked; i++) {
        CHECK(ask(c.w, "/dense", PFS_WIRE_NOW) == PFS_OK);
    }
    pfs_wire_counts wire = {0};
    for (int i = 0; i < 6; i++) { /* the handshakes, and requests for all */
        pfs_wire_turn(c.w, 5);
        seal(c.w, 1 << 20);
        pfs_wire_counted(c.w, &wire);
    }
    while (wire.paused == 0) {
        pfs_wire_turn(c.w, 5);
        pfs_wire_counted(c.w, &wire);
    }
    seal_until(&c, asked, 1 << 20);
    for (const pfs_wire_reply *r = c.replies; r != NULL; r = r->next) {
        /* The body ends with the connection, and nobody said that it does. */
        CHECK(r->status == PFS_EVENTS_INCOMPLETE && r->chunks == 80000);
    }
    pfs_wire_counted(c.w, &wire);
    CHECK(wire.paused > 0);
    end(&c);
}

TEST(wrong_specifications)
{
    pfs_wire *w = NULL;
    size_t wrong = 9;
    pfs_wire_spec spec = plain();
    spec.connections = 0;
    CHECK(pfs_wire_new(&w, &spec, NULL, pfs_alloc_libc()) == PFS_EINVAL);
    spec = plain();
    spec.timeout_ns = 0;
    CHECK(pfs_wire_new(&w, &spec, NULL, pfs_alloc_libc()) == PFS_EINVAL);
    spec = plain();
    const char *const bad[] = {"fine", "a..b"};
    spec.rules = bad;
    spec.rule_count = 2;
    CHECK(pfs_wire_new(&w, &spec, &wrong, pfs_alloc_libc()) == PFS_EFORMAT && wrong == 1);
    CHECK(w == NULL);
    spec = plain();
    spec.queue = 1;
    CHECK(pfs_wire_new(&w, &spec, NULL, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_wire_submit(w, &(pfs_wire_order){.request = "", .due_ns = PFS_WIRE_NOW}) ==
          PFS_EINVAL);
    CHECK(ask(w, "/ok", PFS_WIRE_NOW) == PFS_OK);
    CHECK(ask(w, "/ok", PFS_WIRE_NOW) == PFS_EFULL);
    CHECK(pfs_wire_discard(w) == 1 && pfs_wire_discard(w) == 0);
    pfs_wire_free(w);
    pfs_wire_free(NULL);
}

TEST(clock_pairs)
{
    pfs_wire_clock clock;
    struct timespec wall;
    pfs_wire_clock_init(&clock);
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t now = pfs_clock_ns();
    int64_t seen = (int64_t)wall.tv_sec * 1000 * MS + wall.tv_nsec + clock.offset_ns;
    CHECK(llabs((long long)(seen - now)) < 50 * MS);
    pfs_wire_clock_renew(&clock, now); /* not due */
    CHECK(clock.pairs == 1);
    pfs_wire_clock_learn(&clock, clock.offset_ns + 500, now);
    CHECK(clock.pairs == 2 && clock.steps == 0);
    pfs_wire_clock_learn(&clock, clock.offset_ns + 1000 * MS, now); /* the wall clock was set */
    CHECK(clock.steps == 1 && clock.suspect_ns == now);
    struct msghdr none = {0};
    int64_t at = -5;
    CHECK(!pfs_wire_clock_read(&clock, &none, 0, now, &at, NULL) && at == -5);
    CHECK(clock.dropped == 0);
}

static bool scenario(const pfs_alloc *alloc)
{
    pfs_wire_spec spec = plain();
    pfs_wire *w = NULL;
    pfs_events *events = recorder(pfs_alloc_libc()); /* has a torture of its own */
    spec.cumulative = true;                          /* and so the echo is kept */
    bool good = pfs_wire_new(&w, &spec, NULL, alloc) == PFS_OK;
    size_t asked = 0, ended = 0;
    for (int i = 0; good && i < 3; i++) {
        const char *path = i == 0 ? "/ok" : i == 1 ? "/whole" : "/429";
        asked += ask(w, path, PFS_WIRE_NOW) == PFS_OK;
    }
    good = good && asked == 3;
    while (w != NULL && ended < asked) {
        pfs_wire_reply *replies;
        pfs_wire_turn(w, 50);
        pfs_wire_drain(w, events, &replies);
        while (replies != NULL) {
            pfs_wire_reply *next = replies->next;
            good = good && replies->status != PFS_EVENTS_CANCELLED;
            pfs_wire_reply_free(w, replies);
            replies = next;
            ended++;
        }
    }
    pfs_wire_free(w);
    pfs_events_free(events);
    return good;
}

/* The same with a seal. */
static bool sealed_scenario(const pfs_alloc *alloc)
{
    pfs_wire_spec spec = plain();
    spec.sealed = true;
    pfs_wire *w = NULL;
    pfs_events *events = recorder(pfs_alloc_libc());
    bool good = pfs_wire_new(&w, &spec, NULL, alloc) == PFS_OK;
    size_t asked = 0, ended = 0;
    for (int i = 0; good && i < 4; i++) {
        const char *path = i == 0 ? "/ok" : i == 1 ? "/once" : i == 2 ? "/whole" : "/429";
        asked += ask(w, path, PFS_WIRE_NOW) == PFS_OK;
    }
    good = good && asked == 4;
    while (w != NULL && ended < asked) {
        pfs_wire_reply *replies;
        pfs_wire_turn(w, 5);
        seal(w, 100);
        pfs_wire_drain(w, events, &replies);
        while (replies != NULL) {
            pfs_wire_reply *next = replies->next;
            good = good && replies->status != PFS_EVENTS_CANCELLED;
            pfs_wire_reply_free(w, replies);
            replies = next;
            ended++;
        }
    }
    pfs_wire_free(w);
    pfs_events_free(events);
    return good;
}

TEST(without_memory)
{
    CHECK(torture_as(scenario, false) > 2 * 20);
    CHECK(torture_as(sealed_scenario, false) > 2 * 30);
}

int main(void)
{
    pthread_t thread;
    socklen_t size = sizeof address;
    address = (struct sockaddr_in){.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&address, size) != 0 || listen(listening, 512) != 0 ||
        getsockname(listening, (struct sockaddr *)&address, &size) != 0 ||
        pthread_create(&thread, NULL, accept_all, NULL) != 0) {
        perror("the test's server");
        return 1;
    }
    make_answer();
    int at_first = descriptors();
    RUN(every_split);
    RUN(what_grows_is_told_once);
    RUN(every_failure);
    RUN(time_outs_and_refusals);
    RUN(a_slot_that_is_refused_rests);
    RUN(a_stale_connection_is_tried_again_once);
    RUN(a_schedule_is_kept);
    RUN(stopping_ends_what_is_under_way);
    RUN(giving_up_ends_what_is_due);
    RUN(a_full_log_pauses);
    RUN(the_densest_stream_fits_the_log);
    RUN(chunks_of_many_streams_come_together);
    RUN(no_nap_where_the_close_is_the_end);
    RUN(pieces_of_raw_text_that_are_read_as_one_are_counted);
    RUN(segments_of_raw_text_that_came_twice_are_no_pieces);
    RUN(what_was_not_told_can_be_counted_before_it_is_recorded);
    RUN(several_ends_are_told_together);
    RUN(an_answered_request_is_not_kept);
    RUN(connections_are_made_when_they_are_wanted);
    RUN(sealed_answers_are_those_of_the_plain_engine);
    RUN(threads_of_a_sealed_engine);
    RUN(nobody_who_seals);
    RUN(too_much_that_waits_to_be_opened_pauses);
    RUN(wrong_specifications);
    RUN(clock_pairs);
    RUN(without_memory);
    /* The server's ends close a moment after ours. */
    for (int i = 0; i < 500 && descriptors() != at_first; i++) {
        usleep(10000);
    }
    CHECK(descriptors() == at_first);
    FINISH();
}

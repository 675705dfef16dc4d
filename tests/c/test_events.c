/* The recorder: what a row leaves behind, bounded memory, and every allocation that may fail. */
#include "harness.h"

#include "pfs_events.h"

#define MS     INT64_C(1000000)
#define SECOND INT64_C(1000000000)

static pfs_events_spec plain(void)
{
    pfs_events_spec spec = {.precision = PFS_EVENTS_PRECISION,
                            .blocks = 8,
                            .windows = 64,
                            .start_ns = 100 * SECOND,
                            .limit_ms = 5000.0};
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        spec.objectives[m] = NAN;
    }
    return spec;
}

static pfs_events *make(const pfs_events_spec *spec)
{
    pfs_events *events = NULL;
    CHECK(pfs_events_new(&events, spec, pfs_alloc_libc()) == PFS_OK);
    return events;
}

static pfs_events_row begin(pfs_events *events, int64_t due)
{
    pfs_events_row row = 0;
    CHECK(pfs_events_begin(events, due, due, 0, &row) == PFS_OK);
    return row;
}

static const pfs_events_outcome GOOD = {PFS_EVENTS_OK, -1, -1, 0, false};

static uint64_t count(pfs_events *events, pfs_events_metric metric)
{
    return pfs_histogram_count(pfs_events_histogram(events, metric));
}

static double only(pfs_events *events, pfs_events_metric metric)
{
    CHECK(count(events, metric) == 1);
    return pfs_histogram_max(pfs_events_histogram(events, metric));
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

TEST(every_metric_of_a_streamed_answer)
{
    pfs_events_spec spec = plain();
    pfs_events *events = make(&spec);
    int64_t due = spec.start_ns + SECOND;
    pfs_events_row row = 0;
    CHECK(pfs_events_begin(events, due, due + 5 * MS, 77, &row) == PFS_OK);
    CHECK(pfs_events_counted(events)->waiting == 1);
    CHECK(pfs_events_sent(events, row, due + 10 * MS) == PFS_OK);
    CHECK(pfs_events_counted(events)->waiting == 0 && pfs_events_counted(events)->in_flight == 1);
    CHECK(pfs_events_token(events, row, 0, true, due + 20 * MS) == PFS_OK);   /* role only */
    CHECK(pfs_events_token(events, row, 2, false, due + 110 * MS) == PFS_OK); /* reasoning */
    CHECK(pfs_events_token(events, row, 1, true, due + 210 * MS) == PFS_OK);
    CHECK(pfs_events_token(events, row, 2, true, due + 240 * MS) == PFS_OK);
    CHECK(pfs_events_token(events, row, 1, true, due + 540 * MS) == PFS_OK);
    pfs_events_so_far so_far;
    CHECK(pfs_events_look(events, row, &so_far) == PFS_OK);
    CHECK(so_far.tokens == 6 && so_far.chunks == 4 && so_far.due == due);
    CHECK(so_far.sent == due + 10 * MS && so_far.first == due + 110 * MS);
    CHECK(so_far.answer == due + 210 * MS && so_far.last == due + 540 * MS);
    pfs_events_outcome outcome = {PFS_EVENTS_OK, 12, -1, 345, false};
    CHECK(pfs_events_end(events, row, &outcome, due + 610 * MS) == PFS_OK);

    CHECK(near(only(events, PFS_EVENTS_RESPONSE_TIME), 610.0));
    CHECK(near(only(events, PFS_EVENTS_SERVICE_TIME), 600.0));
    CHECK(near(only(events, PFS_EVENTS_TTFT), 110.0));
    CHECK(near(only(events, PFS_EVENTS_SERVICE_TTFT), 100.0));
    CHECK(near(only(events, PFS_EVENTS_ANSWER_TTFT), 210.0));
    CHECK(near(only(events, PFS_EVENTS_MAX_GAP), 300.0));
    CHECK(near(only(events, PFS_EVENTS_TPOT), 330.0 / 3.0)); /* 4 visible tokens over 330 ms */
    CHECK(near(only(events, PFS_EVENTS_OUTPUT_TOKENS_PER_S), 10.0)); /* 6 in 0.6 s */
    CHECK(near(only(events, PFS_EVENTS_PROMPT_TOKENS), 12.0));
    CHECK(near(only(events, PFS_EVENTS_COMPLETION_TOKENS), 6.0));
    CHECK(near(only(events, PFS_EVENTS_LATENESS), 10.0));
    CHECK(count(events, PFS_EVENTS_ITL) == 3);
    CHECK(near(pfs_histogram_sum(pfs_events_histogram(events, PFS_EVENTS_ITL)), 430.0));

    const pfs_events_counts *counts = pfs_events_counted(events);
    CHECK(counts->completed == 1 && counts->good == 1 && counts->failed == 0);
    CHECK(counts->estimated == 1 && counts->completion_tokens == 6 && counts->bytes == 345);
    CHECK(counts->visible_tokens == 4 && counts->visible_chunks == 3);
    CHECK(counts->in_flight == 0 && counts->max_in_flight == 1);
    CHECK(counts->longest_wait_ns == 610 * MS);
    pfs_events_free(events);
}

TEST(usage_beats_counting_and_whole_answers_have_no_gaps)
{
    pfs_events_spec spec = plain();
    pfs_events *events = make(&spec);
    int64_t due = spec.start_ns;
    pfs_events_row row = begin(events, due);
    CHECK(pfs_events_token(events, row, 1, true, due + 100 * MS) == PFS_OK);
    CHECK(pfs_events_token(events, row, 1, true, due + 200 * MS) == PFS_OK);
    pfs_events_outcome told = {PFS_EVENTS_OK, 3, 11, 0, false};
    CHECK(pfs_events_end(events, row, &told, due + 200 * MS) == PFS_OK);
    CHECK(near(only(events, PFS_EVENTS_TPOT), 10.0));
    CHECK(pfs_events_counted(events)->estimated == 0);
    CHECK(pfs_events_counted(events)->visible_tokens == 11);
    CHECK(count(events, PFS_EVENTS_ANSWER_TTFT) == 0); /* the same as ttft */

    row = begin(events, due); /* not streamed: no chunk, so no ttft; the send is its beginning */
    CHECK(pfs_events_end(events, row, &told, due + 300 * MS) == PFS_OK);
    CHECK(count(events, PFS_EVENTS_TTFT) == 1 && count(events, PFS_EVENTS_MAX_GAP) == 1);
    CHECK(count(events, PFS_EVENTS_SERVICE_TIME) == 2 && count(events, PFS_EVENTS_TPOT) == 1);

    row = begin(events, due); /* all in one chunk: a first token, no gap */
    CHECK(pfs_events_token(events, row, 9, true, due + 50 * MS) == PFS_OK);
    CHECK(pfs_events_end(events, row, &GOOD, due + 50 * MS) == PFS_OK);
    CHECK(count(events, PFS_EVENTS_TTFT) == 2 && count(events, PFS_EVENTS_MAX_GAP) == 1);
    CHECK(count(events, PFS_EVENTS_TPOT) == 1);
    CHECK(pfs_events_counted(events)->max_in_flight == 1);
    pfs_events_free(events);
}

TEST(failures_are_counted_and_never_averaged_in)
{
    pfs_events_spec spec = plain();
    pfs_events *events = make(&spec);
    int64_t due = spec.start_ns;
    for (int status = 0; status < PFS_EVENTS_STATUSES; status++) {
        pfs_events_row row = begin(events, due);
        CHECK(pfs_events_sent(events, row, due) == PFS_OK);
        pfs_events_outcome outcome = {(pfs_events_status)status, -1, -1, 0, false};
        CHECK(pfs_events_end(events, row, &outcome, due + (status + 1) * MS) == PFS_OK);
    }
    const pfs_events_counts *counts = pfs_events_counted(events);
    CHECK(counts->completed == 1 && counts->cancelled == 1);
    CHECK(counts->failed == PFS_EVENTS_STATUSES - 2);
    for (int status = 0; status < PFS_EVENTS_STATUSES; status++) {
        CHECK(counts->errors[status] == 1);
    }
    CHECK(count(events, PFS_EVENTS_RESPONSE_TIME) == 1);
    CHECK(counts->longest_wait_ns == PFS_EVENTS_CANCELLED * MS); /* not the cancelled one's */
    const pfs_events_window *window = &pfs_events_seconds(events)->windows[0];
    CHECK(window->due == PFS_EVENTS_STATUSES && window->ok == 1);
    CHECK(window->failed == PFS_EVENTS_STATUSES - 2);
    CHECK(window->finished == PFS_EVENTS_STATUSES - 1);
    pfs_events_free(events);
}

TEST(warm_up_is_kept_apart)
{
    pfs_events_spec spec = plain();
    spec.warmup_ns = 2 * SECOND;
    spec.raw = true;
    spec.stamps = true;
    pfs_events *events = make(&spec);
    const int64_t dues[] = {-SECOND, 0, 2 * SECOND - 1, 2 * SECOND};
    for (int i = 0; i < 4; i++) {
        pfs_events_row row = begin(events, spec.start_ns + dues[i]);
        CHECK(pfs_events_token(events, row, 1, true, spec.start_ns + dues[i] + MS) == PFS_OK);
        CHECK(pfs_events_token(events, row, 1, true, spec.start_ns + dues[i] + 2 * MS) == PFS_OK);
        CHECK(pfs_events_end(events, row, &GOOD, spec.start_ns + dues[i] + 2 * MS) == PFS_OK);
    }
    const pfs_events_counts *counts = pfs_events_counted(events);
    CHECK(counts->warmup == 3 && counts->started == 1 && counts->completed == 1);
    CHECK(count(events, PFS_EVENTS_RESPONSE_TIME) == 1 && count(events, PFS_EVENTS_ITL) == 1);
    const pfs_events_windows *seconds = pfs_events_seconds(events);
    CHECK(seconds->used == 3);
    CHECK(seconds->windows[0].due == 2 && seconds->windows[0].warmup == 2);
    CHECK(seconds->windows[1].warmup == 1 && seconds->windows[2].warmup == 0);
    CHECK(seconds->windows[0].ok == 2 && seconds->windows[0].good == 0);
    CHECK(seconds->windows[0].visible_chunks == 0 && seconds->windows[1].good == 0);
    CHECK(seconds->windows[2].good == 1 && seconds->windows[2].visible_chunks == 2);
    size_t length;
    const unsigned char *raw = pfs_events_raw(events, &length);
    CHECK(length == 4 * PFS_EVENTS_RAW_BYTES);
    CHECK(raw[97] == 3 && raw[3 * PFS_EVENTS_RAW_BYTES + 97] == 2); /* flags */
    pfs_events_raw_discard(events);
    (void)pfs_events_raw(events, &length);
    CHECK(length == 0);
    size_t stamps;
    const int64_t *pairs = pfs_events_stamps(events, &stamps);
    CHECK(stamps == 8 && pairs[1] == spec.start_ns - SECOND + MS); /* of the warm-up too */
    CHECK(pairs[15] == spec.start_ns + 2 * SECOND + 2 * MS);
    pfs_events_stamps_discard(events);
    (void)pfs_events_stamps(events, &stamps);
    CHECK(stamps == 0);
    CHECK(pfs_events_restart(events, 0) == PFS_EINVAL);
    pfs_events_free(events);
}

TEST(a_warm_up_can_end_earlier_and_not_later)
{
    pfs_events_spec spec = plain();
    spec.warmup_ns = 1000;
    pfs_events *events = make(&spec);
    pfs_events_row first, second;
    CHECK(pfs_events_begin(events, spec.start_ns + 500, spec.start_ns + 500, 0, &first) == PFS_OK);
    CHECK(pfs_events_shorten_warmup(events, 1001) == PFS_EINVAL);
    CHECK(pfs_events_shorten_warmup(events, -1) == PFS_EINVAL);
    CHECK(pfs_events_shorten_warmup(events, 600) == PFS_OK);
    CHECK(pfs_events_begin(events, spec.start_ns + 600, spec.start_ns + 600, 0, &second) == PFS_OK);
    CHECK(pfs_events_counted(events)->warmup == 1);
    CHECK(pfs_events_counted(events)->started == 1);
    pfs_events_free(events);
}

TEST(objectives_decide_what_is_good)
{
    pfs_events_spec spec = plain();
    spec.objectives[PFS_EVENTS_TTFT] = 100.0;
    spec.objectives[PFS_EVENTS_ITL] = 50.0;
    pfs_events *events = make(&spec);
    /* first token, gap, whether streamed; good? */
    static const struct {
        int64_t first, gap;
        uint64_t good;
    } cases[] = {{100, 50, 1}, {101, 10, 0}, {10, 51, 0}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t before = pfs_events_counted(events)->good;
        int64_t due = spec.start_ns + (int64_t)i * SECOND;
        pfs_events_row row = begin(events, due);
        if (cases[i].first != 0) {
            CHECK(pfs_events_token(events, row, 1, true, due + cases[i].first * MS) == PFS_OK);
            CHECK(pfs_events_token(events, row, 1, true,
                                   due + (cases[i].first + cases[i].gap) * MS) == PFS_OK);
        }
        CHECK(pfs_events_end(events, row, &GOOD, due + 500 * MS) == PFS_OK);
        CHECK(pfs_events_counted(events)->good - before == cases[i].good);
    }
    pfs_events_free(events);
}

TEST(a_row_that_ended_is_dead_and_its_slot_lives_on)
{
    pfs_events_spec spec = plain();
    pfs_events *events = make(&spec);
    pfs_events_row first = begin(events, spec.start_ns);
    CHECK(first != 0);
    CHECK(pfs_events_end(events, first, &GOOD, spec.start_ns) == PFS_OK);
    CHECK(pfs_events_end(events, first, &GOOD, spec.start_ns) == PFS_EINVAL);
    CHECK(pfs_events_sent(events, first, spec.start_ns) == PFS_EINVAL);
    CHECK(pfs_events_token(events, first, 1, true, spec.start_ns) == PFS_EINVAL);
    pfs_events_so_far so_far = {.tokens = 42};
    CHECK(pfs_events_look(events, first, &so_far) == PFS_EINVAL && so_far.tokens == 42);
    pfs_events_row second = begin(events, spec.start_ns);
    CHECK((uint32_t)second == (uint32_t)first && second != first);
    CHECK(pfs_events_end(events, 0, &GOOD, 0) == PFS_EINVAL);
    CHECK(pfs_events_end(events, UINT64_MAX, &GOOD, 0) == PFS_EINVAL);
    pfs_events_outcome wrong = {PFS_EVENTS_STATUSES, -1, -1, 0, false};
    CHECK(pfs_events_end(events, second, &wrong, 0) == PFS_EINVAL);
    CHECK(pfs_events_counted(events)->completed == 1);
    CHECK(pfs_events_end(events, second, &GOOD, spec.start_ns) == PFS_OK);
    pfs_events_free(events);
}

TEST(seconds_say_what_was_in_flight_and_waiting)
{
    pfs_events_spec spec = plain();
    spec.limit_ms = 2000.0;
    pfs_events *events = make(&spec);
    int64_t start = spec.start_ns;
    pfs_events_row a = begin(events, start + 500 * MS);
    CHECK(pfs_events_sent(events, a, start + 500 * MS) == PFS_OK);
    pfs_events_row b = begin(events, start + 600 * MS); /* waits in the client */
    CHECK(pfs_events_end(events, a, &GOOD, start + 3200 * MS) == PFS_OK);
    CHECK(pfs_events_sent(events, b, start + 3200 * MS) == PFS_OK);
    CHECK(pfs_events_end(events, b, &GOOD, start + 3300 * MS) == PFS_OK);
    static const int64_t waiting[] = {0, 2, 2, 2}, flying[] = {1, 1, 1, 1}, ends[] = {0, 0, 0, 2};
    const pfs_events_windows *seconds = pfs_events_seconds(events);
    CHECK(seconds->used == 4);
    for (int i = 0; i < 4; i++) {
        CHECK(seconds->windows[i].waiting == waiting[i]);
        CHECK(seconds->windows[i].in_flight_max == flying[i]);
        CHECK(seconds->windows[i].finished == ends[i]);
    }
    CHECK(seconds->windows[0].ok == 2 && seconds->windows[0].over_limit == 2);
    CHECK(near(seconds->windows[0].sum_ms, 5400.0) && near(seconds->windows[0].max_ms, 2700.0));
    CHECK(pfs_events_counted(events)->max_in_flight == 1);
    pfs_events_free(events);
}

/* A window as wide as the widest slice so far would be kept by each, whatever comes. */
TEST(an_emptied_slice_keeps_no_window)
{
    pfs_events_spec spec = plain();
    failing_state state = {0};
    pfs_alloc alloc = failing_alloc(&state);
    pfs_events *events = NULL;
    CHECK(pfs_events_new(&events, &spec, &alloc) == PFS_OK);
    int64_t slice = PFS_EVENTS_FIRST_SLICE_NS;
    long full = 0;
    for (int64_t i = 0; i <= spec.blocks; i++) {
        full = state.live;
        pfs_events_row row = begin(events, spec.start_ns + i * slice);
        CHECK(pfs_events_end(events, row, &GOOD, spec.start_ns + i * slice + MS) == PFS_OK);
    }
    CHECK(pfs_events_slice_ns(events) == 2 * slice);
    CHECK(state.live < full - (long)spec.blocks / 4);
    pfs_events_free(events);
    CHECK(state.live == 0);
}

TEST(hours_fit_in_what_minutes_need)
{
    pfs_events_spec spec = plain();
    failing_state state = {0};
    pfs_alloc alloc = failing_alloc(&state);
    pfs_events *events = NULL;
    CHECK(pfs_events_new(&events, &spec, &alloc) == PFS_OK);
    long after_a_minute = 0, calls = 0;
    for (int64_t i = 0; i < 20000; i++) { /* 11 hours, a request every two seconds */
        int64_t due = spec.start_ns + i * 2 * SECOND;
        pfs_events_row row = begin(events, due);
        CHECK(pfs_events_token(events, row, 1, true, due + MS) == PFS_OK);
        CHECK(pfs_events_token(events, row, 1, true, due + (2 + i % 7) * MS) == PFS_OK);
        CHECK(pfs_events_end(events, row, &GOOD, due + 9 * MS) == PFS_OK);
        if (i == 100) {
            after_a_minute = state.live;
            calls = state.calls;
        }
    }
    CHECK(state.live <= after_a_minute + 8);
    /* Merges that widen a slice's window, and windows anew for what each of some fifteen emptied.
     */
    CHECK(state.calls <= calls + 1000);
    const pfs_events_windows *seconds = pfs_events_seconds(events);
    CHECK(seconds->used <= 64 && seconds->width_ns == 1024 * SECOND);
    int64_t due = 0, tokens = 0, good = 0, visible = 0, chunks = 0;
    for (size_t i = 0; i < seconds->used; i++) {
        due += seconds->windows[i].due;
        tokens += seconds->windows[i].tokens;
        good += seconds->windows[i].good;
        visible += seconds->windows[i].visible_tokens;
        chunks += seconds->windows[i].visible_chunks;
    }
    CHECK(due == 20000 && tokens == 40000);
    const pfs_events_counts *counts = pfs_events_counted(events);
    CHECK(good == 20000 && (uint64_t)good == counts->good);
    CHECK(chunks == 40000 && (uint64_t)chunks == counts->visible_chunks);
    CHECK((uint64_t)visible == counts->visible_tokens);
    /* Slices hold the same values as the whole, in time's order. */
    uint64_t sliced = 0;
    double longest = 0.0;
    for (unsigned i = 0; i < 8; i++) {
        pfs_histogram *slice = pfs_events_slice(events, PFS_EVENTS_ITL, i);
        sliced += pfs_histogram_count(slice);
        longest = fmax(longest, pfs_histogram_max(slice));
        CHECK(i < 4 ? pfs_histogram_count(slice) > 0 : true);
    }
    CHECK(sliced == 20000 && near(longest, 7.0));
    CHECK(pfs_events_slice_ns(events) * 8 >= 40000 * SECOND);
    CHECK(pfs_events_slice_ns(events) * 4 < 40000 * SECOND);
    CHECK(pfs_events_slice(events, PFS_EVENTS_ITL, 8) == NULL);
    CHECK(pfs_events_slice(events, PFS_EVENTS_ANSWER_TTFT, 0) == NULL);
    pfs_events_free(events);
    CHECK(state.live == 0);
}

TEST(slices_keep_the_order_of_time)
{
    pfs_events_spec spec = plain();
    spec.blocks = 4;
    pfs_events *events = make(&spec);
    for (int64_t i = 0; i < 16; i++) { /* value i + 1 ms, due in first-slice i */
        int64_t due = spec.start_ns + i * PFS_EVENTS_FIRST_SLICE_NS;
        pfs_events_row row = begin(events, due);
        CHECK(pfs_events_end(events, row, &GOOD, due + (i + 1) * MS) == PFS_OK);
    }
    CHECK(pfs_events_slice_ns(events) == 4 * PFS_EVENTS_FIRST_SLICE_NS);
    for (unsigned i = 0; i < 4; i++) {
        pfs_histogram *slice = pfs_events_slice(events, PFS_EVENTS_RESPONSE_TIME, i);
        CHECK(pfs_histogram_count(slice) == 4);
        CHECK(near(pfs_histogram_min(slice), 4.0 * i + 1.0));
        CHECK(near(pfs_histogram_max(slice), 4.0 * i + 4.0));
    }
    pfs_events_free(events);
}

TEST(mad_stamps_do_no_harm)
{
    static const int64_t stamps[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    enum { N = sizeof stamps / sizeof stamps[0] };
    for (int a = 0; a < N; a++) {
        for (int b = 0; b < N; b++) {
            pfs_events_spec spec = plain();
            spec.start_ns = stamps[a];
            spec.raw = true;
            pfs_events *events = make(&spec);
            for (int c = 0; c < N; c++) {
                pfs_events_row row = 0;
                CHECK(pfs_events_begin(events, stamps[b], stamps[c], 0, &row) == PFS_OK);
                CHECK(pfs_events_sent(events, row, stamps[c]) == PFS_OK);
                CHECK(pfs_events_token(events, row, 1, true, stamps[b]) == PFS_OK);
                CHECK(pfs_events_token(events, row, 1, true, stamps[c]) == PFS_OK);
                CHECK(pfs_events_end(events, row, &GOOD, stamps[a]) == PFS_OK);
            }
            CHECK(pfs_events_counted(events)->completed + pfs_events_counted(events)->warmup == N);
            CHECK(pfs_histogram_max(pfs_events_histogram(events, PFS_EVENTS_RESPONSE_TIME)) >=
                      0.0 ||
                  pfs_events_counted(events)->completed == 0);
            pfs_events_free(events);
        }
    }
}

TEST(a_wrong_configuration_is_refused)
{
    pfs_events *events = NULL;
    pfs_events_spec spec = plain();
    spec.blocks = 3;
    CHECK(pfs_events_new(&events, &spec, pfs_alloc_libc()) == PFS_EINVAL);
    spec = plain();
    spec.precision = 99;
    CHECK(pfs_events_new(&events, &spec, pfs_alloc_libc()) == PFS_EINVAL);
    spec = plain();
    spec.windows = 1;
    CHECK(pfs_events_new(&events, &spec, pfs_alloc_libc()) == PFS_EINVAL);
    spec = plain();
    spec.warmup_ns = -1;
    CHECK(pfs_events_new(&events, &spec, pfs_alloc_libc()) == PFS_EINVAL);
    CHECK(events == NULL);
    pfs_events_free(NULL);
    CHECK(pfs_events_metric_name(PFS_EVENTS_METRICS) == NULL && pfs_events_status_name(-1) == NULL);
    CHECK(strcmp(pfs_events_metric_name(PFS_EVENTS_LATENESS), "lateness") == 0);
    CHECK(strcmp(pfs_events_status_name(PFS_EVENTS_CANCELLED), "cancelled") == 0);
    CHECK(strcmp(pfs_events_status_name(PFS_EVENTS_HTTP_5XX), "http_5xx") == 0);
}

/* Every allocation of a load that grows slab, windows, slices and raw records fails in turn: each
 * request is still counted, and each value is either recorded or said to be missing. */
static bool load_under_torture(const pfs_alloc *alloc)
{
    pfs_events_spec spec = plain();
    spec.blocks = 2;
    spec.windows = 256;
    spec.raw = true;
    spec.stamps = true;
    pfs_events *events = NULL;
    if (pfs_events_new(&events, &spec, alloc) != PFS_OK) {
        return false;
    }
    uint64_t begun = 0, gaps = 0;
    bool all = true;
    enum { ROWS = 40 };
    pfs_events_row rows[ROWS] = {0};
    for (int i = 0; i < ROWS; i++) {
        int64_t due = spec.start_ns + i * 5 * SECOND;
        if (pfs_events_begin(events, due, due, i, &rows[i]) != PFS_OK) {
            rows[i] = 0;
            all = false;
            continue;
        }
        begun++;
        for (int64_t t = 0; t < 3; t++) {
            all &= pfs_events_token(events, rows[i], 1, true, due + (t * t << i % 20) * 1000) ==
                   PFS_OK;
            gaps += t > 0;
        }
    }
    for (int i = 0; i < ROWS; i++) {
        if (rows[i] != 0) {
            pfs_status ended =
                pfs_events_end(events, rows[i], &GOOD, spec.start_ns + (300 + i) * SECOND);
            CHECK(ended == PFS_OK || ended == PFS_ENOMEM);
            all &= ended == PFS_OK;
        }
    }
    const pfs_events_counts *counts = pfs_events_counted(events);
    CHECK(counts->completed == begun && counts->in_flight == 0);
    CHECK(all == (counts->unrecorded == 0 && begun == ROWS));
    CHECK(count(events, PFS_EVENTS_ITL) + counts->unrecorded >= gaps);
    size_t stamps;
    (void)pfs_events_stamps(events, &stamps);
    CHECK(stamps + counts->unrecorded >= begun * 3);
    const pfs_events_windows *seconds = pfs_events_seconds(events);
    int64_t due = 0;
    for (size_t i = 0; i < seconds->used; i++) {
        due += seconds->windows[i].due;
    }
    CHECK(due == (int64_t)begun);
    pfs_events_free(events);
    return all;
}

TEST(memory_that_fails_loses_no_request)
{
    CHECK(torture(load_under_torture) > 40);
}

int main(void)
{
    RUN(every_metric_of_a_streamed_answer);
    RUN(usage_beats_counting_and_whole_answers_have_no_gaps);
    RUN(failures_are_counted_and_never_averaged_in);
    RUN(warm_up_is_kept_apart);
    RUN(a_warm_up_can_end_earlier_and_not_later);
    RUN(objectives_decide_what_is_good);
    RUN(a_row_that_ended_is_dead_and_its_slot_lives_on);
    RUN(seconds_say_what_was_in_flight_and_waiting);
    RUN(hours_fit_in_what_minutes_need);
    RUN(an_emptied_slice_keeps_no_window);
    RUN(slices_keep_the_order_of_time);
    RUN(mad_stamps_do_no_harm);
    RUN(a_wrong_configuration_is_refused);
    RUN(memory_that_fails_loses_no_request);
    FINISH();
}

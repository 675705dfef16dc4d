#include "pfs_events_measure.h"

#include <math.h>

void pfs_events_measure(const pfs_events_request *r, const pfs_events_outcome *outcome,
                        int64_t completion, int64_t at_ns, double values[PFS_EVENTS_METRICS])
{
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        values[m] = NAN;
    }
    double service_ms = pfs_events_milliseconds(pfs_events_since(at_ns, r->sent));
    values[PFS_EVENTS_RESPONSE_TIME] = pfs_events_milliseconds(pfs_events_since(at_ns, r->due));
    values[PFS_EVENTS_SERVICE_TIME] = service_ms;
    values[PFS_EVENTS_LATENESS] = pfs_events_milliseconds(pfs_events_since(r->sent, r->due));
    if (r->chunks > 0) {
        values[PFS_EVENTS_TTFT] = pfs_events_milliseconds(pfs_events_since(r->first, r->due));
        values[PFS_EVENTS_SERVICE_TTFT] =
            pfs_events_milliseconds(pfs_events_since(r->first, r->sent));
    }
    if (r->visible_chunks > 0 && r->visible_chunks < r->chunks && r->answer > r->first) {
        values[PFS_EVENTS_ANSWER_TTFT] =
            pfs_events_milliseconds(pfs_events_since(r->answer, r->due));
    }
    if (r->chunks > 1) {
        values[PFS_EVENTS_MAX_GAP] = pfs_events_milliseconds(r->max_gap);
    }
    int64_t visible = r->visible_chunks == r->chunks ? completion : (int64_t)r->visible_tokens;
    if (r->visible_chunks > 1 && visible > 1) {
        values[PFS_EVENTS_TPOT] =
            pfs_events_milliseconds(pfs_events_since(r->visible_last, r->answer)) /
            (double)(visible - 1);
    }
    if (completion > 0 && service_ms > 0.0) {
        values[PFS_EVENTS_OUTPUT_TOKENS_PER_S] = (double)completion / service_ms * 1e3;
    }
    if (outcome->prompt_tokens >= 0) {
        values[PFS_EVENTS_PROMPT_TOKENS] = (double)outcome->prompt_tokens;
    }
    if (completion >= 0) {
        values[PFS_EVENTS_COMPLETION_TOKENS] = (double)completion;
    }
}

static double first_number(double a, double b, double c)
{
    return !isnan(a) ? a : !isnan(b) ? b : c;
}

bool pfs_events_meets(const double objectives[PFS_EVENTS_METRICS],
                      const double values[PFS_EVENTS_METRICS])
{
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        double limit = objectives[m];
        double value = values[m];
        if (isnan(limit)) {
            continue;
        }
        if (m == PFS_EVENTS_TTFT) {
            value = first_number(value, values[PFS_EVENTS_RESPONSE_TIME], NAN);
        } else if (m == PFS_EVENTS_SERVICE_TTFT) {
            value = first_number(value, values[PFS_EVENTS_SERVICE_TIME], NAN);
        } else if (m == PFS_EVENTS_ANSWER_TTFT) {
            value = first_number(value, values[PFS_EVENTS_TTFT], values[PFS_EVENTS_RESPONSE_TIME]);
        } else if (m == PFS_EVENTS_ITL) {
            value = values[PFS_EVENTS_MAX_GAP];
        }
        if (m == PFS_EVENTS_OUTPUT_TOKENS_PER_S ? !(value >= limit) : value > limit) {
            return false;
        }
    }
    return true;
}

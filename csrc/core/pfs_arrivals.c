#include "pfs_arrivals.h"

#include <math.h>

#define MOST_RATE  1e9
#define MOST_STEPS 1000000

static bool in_range(double value, double least, double most)
{
    return value >= least && value <= most; /* false for NaN */
}

static bool changes(const pfs_arrivals_spec *spec)
{
    return spec->kind == PFS_ARRIVALS_RAMP || spec->kind == PFS_ARRIVALS_STEP;
}

static bool is_random(const pfs_arrivals_spec *spec)
{
    return spec->kind == PFS_ARRIVALS_POISSON || (changes(spec) && spec->random);
}

pfs_status pfs_arrivals_init(pfs_arrivals *arrivals, const pfs_arrivals_spec *spec)
{
    if ((int)spec->kind < 0 || spec->kind >= PFS_ARRIVALS_KINDS ||
        !in_range(spec->rate, 0.0, MOST_RATE)) {
        return PFS_EINVAL;
    }
    if (!changes(spec)) {
        if (!(spec->rate > 0.0)) {
            return PFS_EINVAL;
        }
    } else if (!in_range(spec->start_rate, 0.0, MOST_RATE) || !(spec->duration_s > 0.0) ||
               !isfinite(spec->duration_s) || !(spec->rate > 0.0 || spec->start_rate > 0.0) ||
               (spec->kind == PFS_ARRIVALS_STEP && (spec->steps < 1 || spec->steps > MOST_STEPS))) {
        return PFS_EINVAL;
    }
    *arrivals = (pfs_arrivals){.spec = *spec};
    pfs_rng_seed(&arrivals->rng, spec->seed);
    if (is_random(spec)) {
        arrivals->fraction = pfs_rng_exponential(&arrivals->rng);
    }
    return PFS_OK;
}

/* The instant in seconds at which L reaches `position` on a ramp; INFINITY when it never does. */
static double on_ramp(const pfs_arrivals_spec *spec, double position)
{
    double from = spec->start_rate;
    double slope = (spec->rate - from) / spec->duration_s;
    double total = 0.5 * (from + spec->rate) * spec->duration_s;
    if (position == 0.0) {
        return 0.0;
    }
    if (position > total || slope == 0.0) {
        return spec->rate > 0.0 ? spec->duration_s + (position - total) / spec->rate : INFINITY;
    }
    /* The root of from t + slope t^2 / 2 = position, in the form that does not cancel. */
    return 2.0 * position / (from + sqrt(fmax(0.0, from * from + 2.0 * slope * position)));
}

static double stair_rate(const pfs_arrivals_spec *spec, uint32_t stair)
{
    if (stair + 1 >= spec->steps) {
        return spec->rate;
    }
    double share = (double)stair / (double)(spec->steps - 1);
    return spec->start_rate + (spec->rate - spec->start_rate) * share;
}

static double on_stairs(pfs_arrivals *arrivals, double position)
{
    const pfs_arrivals_spec *spec = &arrivals->spec;
    double width = spec->duration_s / (double)spec->steps;
    double rate = stair_rate(spec, arrivals->stair);
    while (arrivals->stair + 1 < spec->steps && position >= arrivals->stair_start + rate * width) {
        arrivals->stair_start += rate * width;
        arrivals->stair++;
        rate = stair_rate(spec, arrivals->stair);
    }
    double into = position - arrivals->stair_start;
    if (!(rate > 0.0)) {
        return INFINITY;
    }
    return (double)arrivals->stair * width + into / rate;
}

pfs_status pfs_arrivals_next(pfs_arrivals *arrivals, int64_t *due_ns)
{
    const pfs_arrivals_spec *spec = &arrivals->spec;
    double position = (double)arrivals->whole + arrivals->fraction;
    double at_s;
    switch (spec->kind) {
    case PFS_ARRIVALS_RAMP:
        at_s = on_ramp(spec, position);
        break;
    case PFS_ARRIVALS_STEP:
        at_s = on_stairs(arrivals, position);
        break;
    default:
        at_s = position / spec->rate;
        break;
    }
    double at = floor(at_s * 1e9 + 0.5);
    if (!(at < 0x1p63)) {
        return PFS_EEMPTY; /* the position stays, so that the answer does too */
    }
    int64_t ns = (int64_t)at;
    if (ns < arrivals->last_ns) {
        ns = arrivals->last_ns; /* a rounding step between two branches of r(t) */
    }
    arrivals->last_ns = ns;
    if (is_random(spec)) {
        double next = arrivals->fraction + pfs_rng_exponential(&arrivals->rng);
        double carried = floor(next);
        arrivals->whole += (int64_t)carried;
        arrivals->fraction = next - carried;
    } else {
        arrivals->whole++;
    }
    *due_ns = ns;
    return PFS_OK;
}

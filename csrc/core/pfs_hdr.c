/* Slots.  HdrHistogram splits the integers into buckets that double in width, each bucket into
 * 2^(half + 1) sub-buckets, of which all but the first bucket use the upper half: slot
 * (bucket + 1) * 2^half + (sub - 2^half).  Slots are therefore in order of value, and so are this
 * histogram's buckets, so that writing needs no table: counts of one slot are added up while they
 * come, runs of empty slots are written as negative numbers.
 */
#include "pfs_hdr.h"

#include <math.h>

#define COOKIE  0x1c849303u
#define HEADER  40
#define MAX_LEB 9

/* 2^(half + 1) is the power of two at or above 2 * 10^digits. */
static unsigned half_magnitude(unsigned digits)
{
    unsigned long largest = 2;
    for (unsigned i = 0; i < digits; i++) {
        largest *= 10;
    }
    unsigned bits = 0;
    while (1ul << bits < largest) {
        bits++;
    }
    return bits - 1;
}

static unsigned bit_length(uint64_t value)
{
    unsigned bits = 0;
    for (; value != 0; value >>= 1) {
        bits++;
    }
    return bits;
}

/* Of a lowest discernible value of 1. */
static uint64_t slot_of(uint64_t value, unsigned half)
{
    unsigned bits = bit_length(value);
    unsigned bucket = bits > half + 1 ? bits - (half + 1) : 0;
    return ((uint64_t)bucket << half) + (value >> bucket);
}

static unsigned char *put_big(unsigned char *to, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0) {
        *to++ = (unsigned char)(value >> (8 * bytes));
    }
    return to;
}

static uint64_t get_big(const unsigned char **from, unsigned bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0) {
        value = value << 8 | *(*from)++;
    }
    return value;
}

/* Writes when `to` is set, counts always. */
typedef struct {
    unsigned char *to;
    size_t length;
} writer;

static void put_zigzag(writer *w, int64_t number)
{
    uint64_t value = (uint64_t)number << 1 ^ (number < 0 ? UINT64_MAX : 0);
    for (unsigned i = 1;; i++) {
        bool last = value < 128 || i == MAX_LEB; /* the ninth byte has eight bits of its own */
        if (w->to != NULL) {
            w->to[w->length] = (unsigned char)(last ? value : (value & 127) | 128);
        }
        w->length++;
        if (last) {
            return;
        }
        value >>= 7;
    }
}

static pfs_status put_counts(pfs_histogram *h, double scale, unsigned half, writer *w,
                             uint64_t *highest)
{
    pfs_histogram_bucket bucket;
    size_t cursor = 0;
    uint64_t next = 0, slot = 0, pending = 0; /* slots before `next` are written */
    bool more;
    do {
        uint64_t at = 0;
        more = pfs_histogram_next(h, &cursor, &bucket);
        if (more) {
            double value = rint(pfs_histogram_value(h, &bucket) * scale);
            if (!(value < 0x1p63)) {
                return PFS_ERANGE;
            }
            *highest = (uint64_t)value;
            at = slot_of(*highest, half);
        }
        if (pending != 0 && (!more || at != slot)) {
            if (slot > next) {
                put_zigzag(w, slot - next == 1 ? 0 : -(int64_t)(slot - next));
            }
            put_zigzag(w, (int64_t)pending);
            next = slot + 1;
            pending = 0;
        }
        if (more) {
            slot = at;
            pending += bucket.count; /* no overflow: the total is within PFS_HISTOGRAM_MAX_COUNT */
        }
    } while (more);
    if (next == 0) {
        put_zigzag(w, 0); /* nothing recorded: published decoders want one slot */
    }
    return PFS_OK;
}

pfs_status pfs_hdr_encode(pfs_histogram *h, double scale, unsigned char **out, size_t *length)
{
    if (!(scale > 0.0 && isfinite(scale))) {
        return PFS_EINVAL;
    }
    if (pfs_histogram_count(h) > PFS_HISTOGRAM_MAX_COUNT) {
        return PFS_ERANGE;
    }
    unsigned digits = h->precision <= 10 ? 3 : 4, half = half_magnitude(digits);
    writer w = {NULL, 0};
    uint64_t highest = 0;
    pfs_status status = put_counts(h, scale, half, &w, &highest);
    if (status != PFS_OK) {
        return status;
    }
    size_t body = w.length;
    unsigned char *bytes = pfs_alloc_array(h->alloc, HEADER + body, 1);
    if (bytes == NULL) {
        return PFS_ENOMEM;
    }
    double ratio = 1.0;
    uint64_t ratio_bits;
    memcpy(&ratio_bits, &ratio, sizeof ratio_bits);
    unsigned char *to = put_big(bytes, COOKIE | 0x10, 4);
    to = put_big(to, body, 4);
    to = put_big(to, 0, 4); /* normalizing index offset */
    to = put_big(to, digits, 4);
    to = put_big(to, 1, 8); /* lowest discernible value */
    to = put_big(to, highest < 2 ? 2 : highest, 8);
    to = put_big(to, ratio_bits, 8);
    w = (writer){to, 0};
    (void)put_counts(h, scale, half, &w, &highest);
    *out = bytes;
    *length = HEADER + body;
    return PFS_OK;
}

/* false: cut short. */
static bool get_zigzag(const unsigned char **from, const unsigned char *end, int64_t *number)
{
    uint64_t value = 0;
    for (unsigned i = 1; *from != end; i++) {
        uint64_t byte = *(*from)++;
        unsigned shift = 7 * (i - 1);
        if (i == MAX_LEB || byte < 128) {
            value |= byte << shift;
            *number = (int64_t)(value >> 1 ^ (value & 1 ? UINT64_MAX : 0));
            return true;
        }
        value |= (byte & 127) << shift;
    }
    return false;
}

typedef struct {
    unsigned half, unit; /* magnitudes */
    uint64_t slots;
} layout;

/* Whether the header's numbers make a layout that 63 bits can hold. */
static bool lay_out(layout *l, uint64_t digits, uint64_t lowest, uint64_t highest)
{
    if (digits > 5 || lowest < 1 || highest > INT64_MAX || highest / 2 < lowest) {
        return false;
    }
    l->half = half_magnitude((unsigned)digits);
    l->unit = bit_length(lowest) - 1;
    unsigned top = l->half + 1 + l->unit; /* bits of the first bucket's values */
    if (top > 62) {
        return false;
    }
    unsigned bits = bit_length(highest);
    uint64_t buckets = bits > top ? bits - top + 1 : 1;
    l->slots = (buckets + 1) << l->half;
    return true;
}

static double middle_of(const layout *l, uint64_t slot)
{
    uint64_t sub = slot & ((UINT64_C(1) << l->half) - 1), bucket = slot >> l->half;
    if (bucket != 0) {
        bucket--;
        sub += UINT64_C(1) << l->half;
    }
    uint64_t width = UINT64_C(1) << (bucket + l->unit);
    return (double)(sub << (bucket + l->unit)) + (double)(width / 2);
}

static pfs_status get_counts(pfs_histogram *h, double scale, const layout *l,
                             const unsigned char *at, const unsigned char *end)
{
    uint64_t slot = 0;
    while (at != end) {
        int64_t number;
        if (!get_zigzag(&at, end, &number) || slot >= l->slots) {
            return PFS_EFORMAT;
        }
        if (number < 0) {
            uint64_t run = -(uint64_t)number;
            if (run > l->slots - slot) {
                return PFS_EFORMAT;
            }
            slot += run;
            continue;
        }
        double value = middle_of(l, slot++) / scale;
        if (!isfinite(value)) {
            return PFS_ERANGE;
        }
        pfs_status status = pfs_histogram_record_n(h, value, (uint64_t)number);
        if (status != PFS_OK) {
            return status;
        }
    }
    return PFS_OK;
}

pfs_status pfs_hdr_decode(pfs_histogram *out, unsigned precision, double scale,
                          const unsigned char *bytes, size_t length, const pfs_alloc *alloc)
{
    pfs_histogram h;
    if (!(scale > 0.0 && isfinite(scale)) || pfs_histogram_init(&h, precision, alloc) != PFS_OK) {
        return PFS_EINVAL;
    }
    if (length < HEADER) {
        return PFS_EFORMAT;
    }
    const unsigned char *at = bytes, *end = bytes + length;
    uint64_t cookie = get_big(&at, 4), body = get_big(&at, 4), offset = get_big(&at, 4);
    uint64_t digits = get_big(&at, 4), lowest = get_big(&at, 8), highest = get_big(&at, 8);
    at += 8; /* integer-to-double ratio: `scale` is what the caller knows it to be */
    layout l;
    if ((cookie & ~UINT64_C(0xf0)) != COOKIE || body != length - HEADER || offset != 0 ||
        !lay_out(&l, digits, lowest, highest)) {
        return PFS_EFORMAT;
    }
    pfs_status status = get_counts(&h, scale, &l, at, end);
    if (status != PFS_OK) {
        pfs_histogram_clear(&h);
        return status;
    }
    *out = h;
    return PFS_OK;
}

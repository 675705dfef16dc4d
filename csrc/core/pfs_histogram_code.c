/* The byte form of a histogram, version 1.  All integers and doubles are little-endian.
 *
 *   0   4  "PFSH"
 *   4   1  version, 1
 *   5   1  precision
 *   6   2  scale, signed: the sum of squares is in units of 4^scale; 0 for all but extreme values
 *   8  56  minimum, maximum, sum, what the sum lost, mean, what the mean lost, sum of squares
 *              about the mean (seven binary64; all 0 when nothing was recorded)
 *  64   .  varints: zeros, rejected NaN, infinities, negatives, then runs of counts, lowest first:
 *              gap (empty cells since the run before; the first run has 52 octaves + key instead),
 *              cells in the run (never 0), each cell's count (never 0)
 *              and at the end a gap of 0 with a run of 0
 *   .   4  CRC-32C of everything before it
 *
 * A varint has seven bits to the byte, lowest first, the top bit set on all but the last.
 * A reader knows everything it needs to refuse bad bytes: counts must agree with minimum and
 * maximum, and their total with PFS_HISTOGRAM_MAX_COUNT.
 */
#include <float.h>
#include <math.h>

#include "pfs_histogram.h"

#define VERSION     1
#define HEADER      64
#define CHECKSUM    4
#define LOW_OCTAVES 52

uint32_t pfs_histogram_crc32c(const unsigned char *bytes, size_t length)
{
    /* The reflected polynomial 0x82F63B78, four bits at a time. */
    static const uint32_t nibbles[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3,
        0x61C69362, 0x7198540D, 0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
        0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
    };
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ nibbles[crc & 15];
        crc = (crc >> 4) ^ nibbles[crc & 15];
    }
    return ~crc;
}

static unsigned char *put_fixed(unsigned char *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        *to++ = (unsigned char)(value >> (8 * i));
    }
    return to;
}

static unsigned char *put_double(unsigned char *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_fixed(to, bits, 8);
}

static uint64_t get_fixed(const unsigned char *from, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)from[i] << (8 * i);
    }
    return value;
}

static double get_double(const unsigned char *from)
{
    uint64_t bits = get_fixed(from, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Writes when `to` is set, counts always. */
typedef struct {
    unsigned char *to;
    size_t length;
} writer;

static void put_varint(writer *w, uint64_t value)
{
    do {
        unsigned char byte = (unsigned char)(value & 127);
        value >>= 7;
        if (w->to != NULL) {
            w->to[w->length] = (unsigned char)(byte | (value != 0 ? 128 : 0));
        }
        w->length++;
    } while (value != 0);
}

static void put_counts(const pfs_histogram *h, writer *w)
{
    put_varint(w, h->zeros);
    put_varint(w, h->rejected_nan);
    put_varint(w, h->rejected_inf);
    put_varint(w, h->rejected_negative);
    const pfs_histogram_table *table = h->table;
    size_t length = table == NULL ? 0 : table->length;
    uint64_t offset = (uint64_t)(LOW_OCTAVES * (INT64_C(1) << h->precision));
    size_t done = 0; /* cells before this one are written */
    for (size_t i = 0; i < length; i++) {
        if (table->counts[i] == 0) {
            continue;
        }
        size_t end = i + 1;
        while (end < length && table->counts[end] != 0) {
            end++;
        }
        put_varint(w, done == 0 ? offset + (uint64_t)(table->first + (int64_t)i) : i - done);
        put_varint(w, end - i);
        for (; i < end; i++) {
            put_varint(w, table->counts[i]);
        }
        done = end;
    }
    put_varint(w, 0);
    put_varint(w, 0);
}

pfs_status pfs_histogram_encode(pfs_histogram *h, unsigned char **out, size_t *length)
{
    pfs_histogram_fold(h);
    writer w = {NULL, HEADER};
    put_counts(h, &w);
    size_t body = w.length;
    unsigned char *bytes = pfs_alloc_array(h->alloc, body + CHECKSUM, 1);
    if (bytes == NULL) {
        return PFS_ENOMEM;
    }
    memcpy(bytes, "PFSH", 4);
    bytes[4] = VERSION;
    bytes[5] = (unsigned char)h->precision;
    const pfs_moments *m = &h->moments;
    put_fixed(bytes + 6, (uint64_t)m->scale, 2);
    bool some = m->count != 0;
    unsigned char *to = bytes + 8;
    to = put_double(to, some ? m->min : 0.0);
    to = put_double(to, some ? m->max : 0.0);
    to = put_double(to, m->sum);
    to = put_double(to, m->sum_low);
    to = put_double(to, m->mean);
    to = put_double(to, m->mean_low);
    put_double(to, m->squares);
    w = (writer){bytes, HEADER};
    put_counts(h, &w);
    put_fixed(bytes + body, pfs_histogram_crc32c(bytes, body), CHECKSUM);
    *out = bytes;
    *length = body + CHECKSUM;
    return PFS_OK;
}

typedef struct {
    const unsigned char *at, *end;
    bool bad;
} reader;

static uint64_t get_varint(reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && r->at != r->end; shift += 7) {
        unsigned char byte = *r->at++;
        uint64_t part = (uint64_t)(byte & 127) << shift;
        if (part >> shift != (byte & 127u)) {
            break; /* more than 64 bits */
        }
        value |= part;
        if (byte < 128) {
            return value;
        }
    }
    r->bad = true;
    return 0;
}

/* Walks the runs.  With `h` NULL it checks them, finding the lowest and highest key and the total;
 * else it puts the counts into h's window, which reaches from the one to the other. */
static bool walk(reader r, unsigned precision, pfs_histogram *h, int64_t *low, int64_t *high,
                 uint64_t *total)
{
    int64_t octave = INT64_C(1) << precision;
    uint64_t cells = (uint64_t)((LOW_OCTAVES + 2047) * octave), at = 0;
    bool any = false;
    for (;;) {
        uint64_t gap = get_varint(&r), run = get_varint(&r);
        if (r.bad) {
            return false;
        }
        if (gap == 0 && run == 0) {
            return r.at == r.end;
        }
        /* One cell below a full octave has no number: even the smallest is above 51 octaves. */
        if (run == 0 || gap > cells - at || run > cells - at - gap || (any && gap == 0) ||
            (!any && gap < (uint64_t)octave)) {
            return false;
        }
        at += gap;
        if (h == NULL) {
            *low = any ? *low : (int64_t)at - LOW_OCTAVES * octave;
            *high = (int64_t)(at + run) - 1 - LOW_OCTAVES * octave;
        }
        any = true;
        for (; run != 0; run--, at++) {
            uint64_t count = get_varint(&r);
            if (r.bad || count == 0 || (h == NULL && count > PFS_HISTOGRAM_MAX_COUNT - *total)) {
                return false;
            }
            if (h == NULL) {
                *total += count;
            } else {
                pfs_histogram_put(h, (int64_t)at - LOW_OCTAVES * octave, count);
            }
        }
    }
}

/* Whether the moments can be those of the counts. */
static bool plausible(const pfs_histogram *h, const pfs_moments *m, int64_t low, int64_t high)
{
    if (m->count == 0) {
        return m->min == 0.0 && m->max == 0.0 && m->sum == 0.0 && m->sum_low == 0.0 &&
               m->mean == 0.0 && m->mean_low == 0.0 && m->squares == 0.0 && m->scale == 0;
    }
    if (!(m->min >= 0.0 && m->max >= m->min && m->max <= DBL_MAX) || signbit(m->min) ||
        signbit(m->max)) {
        return false;
    }
    bool only_zeros = h->zeros == m->count;
    if ((m->min == 0.0) != (h->zeros != 0) || (m->max == 0.0) != only_zeros ||
        (m->min > 0.0 && pfs_histogram_key(h, m->min) != low) ||
        (m->max > 0.0 && pfs_histogram_key(h, m->max) != high)) {
        return false;
    }
    return pfs_moments_plausible(m);
}

pfs_status pfs_histogram_decode(pfs_histogram *out, const unsigned char *bytes, size_t length,
                                const pfs_alloc *alloc)
{
    if (length < HEADER + CHECKSUM || memcmp(bytes, "PFSH", 4) != 0) {
        return PFS_EFORMAT;
    }
    if (bytes[4] > VERSION) {
        return PFS_EVERSION;
    }
    size_t body = length - CHECKSUM;
    if (get_fixed(bytes + body, CHECKSUM) != pfs_histogram_crc32c(bytes, body)) {
        return PFS_ECHECKSUM;
    }
    pfs_histogram h;
    if (bytes[4] != VERSION || pfs_histogram_init(&h, bytes[5], alloc) != PFS_OK) {
        return PFS_EFORMAT;
    }
    reader r = {bytes + HEADER, bytes + body, false};
    h.zeros = get_varint(&r);
    h.rejected_nan = get_varint(&r);
    h.rejected_inf = get_varint(&r);
    h.rejected_negative = get_varint(&r);
    int64_t low = INT64_MAX, high = INT64_MIN;
    uint64_t total = h.zeros;
    if (r.bad || total > PFS_HISTOGRAM_MAX_COUNT || h.rejected_nan > PFS_HISTOGRAM_MAX_COUNT ||
        h.rejected_inf > PFS_HISTOGRAM_MAX_COUNT || h.rejected_negative > PFS_HISTOGRAM_MAX_COUNT ||
        !walk(r, h.precision, NULL, &low, &high, &total)) {
        return PFS_EFORMAT;
    }
    pfs_moments m = {.count = total};
    m.min = get_double(bytes + 8);
    m.max = get_double(bytes + 16);
    m.sum = get_double(bytes + 24);
    m.sum_low = get_double(bytes + 32);
    m.mean = get_double(bytes + 40);
    m.mean_low = get_double(bytes + 48);
    m.squares = get_double(bytes + 56);
    int64_t scale = (int64_t)get_fixed(bytes + 6, 2);
    m.scale = scale < 0x8000 ? scale : scale - 0x10000;
    if (!plausible(&h, &m, low, high)) {
        return PFS_EFORMAT;
    }
    if (total != 0) {
        h.moments = m;
    }
    if (low <= high) {
        if (pfs_histogram_reserve(&h, low, high) != PFS_OK) {
            return PFS_ENOMEM;
        }
        (void)walk(r, h.precision, &h, &low, &high, &total);
    }
    *out = h;
    return PFS_OK;
}

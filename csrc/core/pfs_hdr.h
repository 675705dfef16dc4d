/* HdrHistogram's V2 payload: what is inside its compressed form (deflate and base64 are the
 * binding's).  The form: https://github.com/HdrHistogram/HdrHistogram,
 * AbstractHistogram.encodeIntoByteBuffer and ZigZagEncoding.
 *
 * HdrHistogram holds integers: a value is written as round(value * scale).  Written with three
 * significant digits (0.05 %) up to a precision of 10, with four above.
 *
 * Thread rule: as pfs_histogram.h.
 */
#ifndef PFS_HDR_H
#define PFS_HDR_H

#include <stddef.h>

#include "pfs_histogram.h"

/* *out is the caller's, to be released with the histogram's allocator.  Rejected counts have no
 * place in the form and are left out.  PFS_EINVAL unless scale is finite and > 0; PFS_ERANGE when
 * a scaled value is 2^63 or more; PFS_ENOMEM. */
pfs_status pfs_hdr_encode(pfs_histogram *h, double scale, unsigned char **out, size_t *length);

/* Makes `out` (not initialised): each slot's count at the slot's middle / scale.  The bytes may be
 * hostile.  PFS_EINVAL for scale or precision; PFS_EFORMAT; PFS_ERANGE when value / scale is not
 * a finite double or the counts exceed PFS_HISTOGRAM_MAX_COUNT; PFS_ENOMEM; `out` is untouched
 * then. */
pfs_status pfs_hdr_decode(pfs_histogram *out, unsigned precision, double scale,
                          const unsigned char *bytes, size_t length, const pfs_alloc *alloc);

#endif

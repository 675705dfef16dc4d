/* The errors of the core.  One enum for all modules, so that the binding translates in one place.
 *
 * A function that returns pfs_status leaves its outputs untouched when it returns anything but
 * PFS_OK, unless its header says otherwise.
 */
#ifndef PFS_STATUS_H
#define PFS_STATUS_H

typedef enum {
    PFS_OK = 0,
    PFS_ENOMEM,    /* an allocation failed; the object is as it was before the call */
    PFS_EINVAL,    /* an argument is outside the function's domain */
    PFS_ERANGE,    /* a number does not fit (overflow, index past the end) */
    PFS_EFORMAT,   /* bytes that are not in the expected form, or are cut short */
    PFS_ECHECKSUM, /* bytes in the right form whose checksum does not match */
    PFS_EVERSION,  /* bytes written by a version that this one cannot read */
    PFS_EMISMATCH, /* two objects of different configuration cannot be combined */
    PFS_EFULL,     /* a bound was reached and nothing could make room */
    PFS_EEMPTY,    /* there is nothing to answer from */
    PFS_ECALLBACK  /* the caller's function reported failure; its error stands */
} pfs_status;

#endif

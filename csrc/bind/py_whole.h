/* Whole numbers in: any object with __index__, as 64 bits, or a word about what is wrong with it.
 */
#ifndef PFS_PY_WHOLE_H
#define PFS_PY_WHOLE_H

#include "pfs_py.h"

/* 0 with `number` in *out; -1 with TypeError when it is no whole number, ValueError, which names
 * `what`, when it is not from `least` to `most`. */
int pfs_whole_read(PyObject *number, const char *what, int64_t least, int64_t most, int64_t *out);

/* The same of any 64 bits; *out is `otherwise` when `number` is NULL or None. */
int pfs_whole_or(PyObject *number, const char *what, int64_t otherwise, int64_t *out);

/* The same of 0 to 2^64 - 1: seeds, digests' stamps. */
int pfs_whole_unsigned(PyObject *number, const char *what, uint64_t *out);

#endif

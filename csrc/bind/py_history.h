/* What a list of messages holds, as pfs_trim wants to know it. */
#ifndef PFS_PY_HISTORY_H
#define PFS_PY_HISTORY_H

#include "pfs_py.h"

#include <stdbool.h>

typedef struct {
    PyObject *list;   /* the caller's */
    PyObject **items; /* what it held at the call: to be compared, not to be followed */
    Py_ssize_t count;
    size_t *bytes; /* this and marks are in the block of items */
    uint8_t *marks;
    size_t bytes_in_all;
    uint32_t *answers; /* of pfs_trim_arrange; NULL as long as no reply needs it */
    PyObject *ids;     /* while reading; a dict: id -> index of the latest call that has it */
} pfs_history;

/* Takes what the list holds now and reads it: marks, bytes and answers; `h` is zeroed.  From the
 * first look at the list to the end of the reading no Python code runs, so the messages need not be
 * held (two passes over all of them would be a tenth of a trim).  pfs_history_close in any case.
 * 0, or -1 with an exception. */
int pfs_history_read(pfs_history *h, PyObject *list);
void pfs_history_close(pfs_history *h);

/* Whether the list still holds what it held.  False with RuntimeError. */
bool pfs_history_unchanged(const pfs_history *h);

/* A new reference to message i, or NULL with RuntimeError when the list no longer holds it there.
 */
PyObject *pfs_history_hold(const pfs_history *h, Py_ssize_t i);

#endif

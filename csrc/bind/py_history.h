/* What a list of messages holds, as pfs_trim wants to know it. */
#ifndef PFS_PY_HISTORY_H
#define PFS_PY_HISTORY_H

#include "pfs_py.h"

typedef struct {
    PyObject *messages; /* a tuple: what the list held at the call */
    Py_ssize_t count;
    uint8_t *marks;
    size_t *bytes;
    uint32_t *answers; /* of pfs_trim_arrange; NULL as long as no reply needs it */
} pfs_history;

/* Takes what the list holds now; `h` is zeroed.  pfs_history_close in any case.  0, or -1 with an
 * exception, as for pfs_history_read, which fills marks, bytes and answers and runs no Python. */
int pfs_history_open(pfs_history *h, PyObject *list);
int pfs_history_read(pfs_history *h);
void pfs_history_close(pfs_history *h);

#endif

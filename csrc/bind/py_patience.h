/* Long calls without the GIL that still hear Ctrl-C: every 50 ms they look for a signal.
 *
 *     pfs_patience waiting = pfs_patience_begin();                  GIL released
 *     status = pfs_long_call(..., pfs_patience_over, &waiting);     PFS_ECALLBACK: exception is set
 *     pfs_patience_end(&waiting);                                   GIL held again
 */
#ifndef PFS_PY_PATIENCE_H
#define PFS_PY_PATIENCE_H

#include "pfs_py.h" /* Python.h comes before every other header */

#include <stdbool.h>

#include "pfs_clock.h"

typedef struct {
    PyThreadState *thread;
    int64_t next;
} pfs_patience;

#define PFS_PATIENCE_NS INT64_C(50000000)

static inline pfs_patience pfs_patience_begin(void)
{
    return (pfs_patience){.next = pfs_clock_ns() + PFS_PATIENCE_NS, .thread = PyEval_SaveThread()};
}

/* True when a signal handler raised; then the exception is set and waits for the end. */
static inline bool pfs_patience_over(void *context)
{
    pfs_patience *waiting = (pfs_patience *)context;
    int64_t now = pfs_clock_ns();
    if (now < waiting->next) {
        return false;
    }
    PyEval_RestoreThread(waiting->thread);
    int raised = PyErr_CheckSignals();
    waiting->thread = PyEval_SaveThread();
    waiting->next = pfs_clock_ns() + PFS_PATIENCE_NS; /* from here: the GIL may have been slow */
    return raised != 0;
}

static inline void pfs_patience_end(pfs_patience *waiting)
{
    PyEval_RestoreThread(waiting->thread);
}

#endif

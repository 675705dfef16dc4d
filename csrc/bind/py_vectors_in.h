/* A vector on its way into a VectorStore: a buffer of floats as it lies, anything else as float32.
 */
#ifndef PFS_PY_VECTORS_IN_H
#define PFS_PY_VECTORS_IN_H

#include "pfs_py.h"

#include <stdbool.h>

typedef struct {
    const float *floats;
    Py_ssize_t count;
    float *owned; /* NULL when `floats` lie in the buffer */
    Py_buffer buffer;
    bool held;
} pfs_incoming;

/* 0, or -1 with an exception; pfs_incoming_close in both cases. */
int pfs_incoming_open(PyObject *object, pfs_incoming *in);
void pfs_incoming_close(pfs_incoming *in);

#endif

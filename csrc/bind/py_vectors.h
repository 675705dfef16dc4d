/* What the files that bind VectorStore share. */
#ifndef PFS_PY_VECTORS_H
#define PFS_PY_VECTORS_H

#include "pfs_py.h"

#include <stdbool.h>

#include "pfs_vectors.h"

typedef struct {
    PyObject ob_base;
    pfs_vectors vectors;
    uint64_t hits;
    uint64_t misses;
    uint64_t evictions;
} VectorStore;

/* Methods of py_vectors_file.c. */
PyObject *VectorStore_merge(PyObject *op, PyObject *data);
PyObject *VectorStore_to_bytes(PyObject *op, PyObject *number);
PyObject *VectorStore_inspect(PyObject *unused, PyObject *data);
PyObject *VectorStore_file_size(PyObject *unused, PyObject *data);

#endif

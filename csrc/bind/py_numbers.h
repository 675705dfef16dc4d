/* Numbers in: any one-dimensional numeric buffer, or any iterable of numbers, as finite doubles. */
#ifndef PFS_PY_NUMBERS_H
#define PFS_PY_NUMBERS_H

#include "pfs_py.h"

/* Copies `source` to *data (PyMem_RawFree it; never NULL on success, even when empty) and its
 * length to *n.  Returns 0, or -1 with an exception that names `what` and, where one value is at
 * fault, its index: ValueError for NaN, infinities, masked values and more than one dimension,
 * TypeError for what is no number, OverflowError for an integer beyond a double.  Calls back into
 * Python; the copy is private, so what that does to `source` does no harm. */
int pfs_numbers_read(PyObject *source, const char *what, double **data, size_t *n);

/* A new reference to `source`, or, if that is a masked numpy array, to an array of what is not
 * masked in it, flat.  NULL with an exception.  Never imports numpy. */
PyObject *pfs_numbers_unmasked(PyObject *source);

#endif

#include "pfs_py.h"

int pfs_exec_vectors(PyObject *module)
{
    (void)module;
    return 0;
}

#include "pfs_py.h"

int pfs_exec_histogram(PyObject *module)
{
    (void)module;
    return 0;
}

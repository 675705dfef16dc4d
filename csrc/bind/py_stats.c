#include "pfs_py.h"

int pfs_exec_stats(PyObject *module)
{
    (void)module;
    return 0;
}

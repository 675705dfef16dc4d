#include "pfs_py.h"

int pfs_exec_bucket(PyObject *module)
{
    (void)module;
    return 0;
}

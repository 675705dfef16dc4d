#include "pfs_py.h"

int pfs_exec_arrivals(PyObject *module)
{
    (void)module;
    return 0;
}

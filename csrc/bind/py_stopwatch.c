#include "pfs_py.h"

int pfs_exec_stopwatch(PyObject *module)
{
    (void)module;
    return 0;
}

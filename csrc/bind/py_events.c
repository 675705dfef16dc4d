#include "pfs_py.h"

int pfs_exec_events(PyObject *module)
{
    (void)module;
    return 0;
}

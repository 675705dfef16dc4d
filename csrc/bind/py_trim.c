#include "pfs_py.h"

int pfs_exec_trim(PyObject *module)
{
    (void)module;
    return 0;
}

#include "pfs_py.h"

int pfs_exec_compress(PyObject *module)
{
    (void)module;
    return 0;
}

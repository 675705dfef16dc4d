#include "pfs_py.h"

int pfs_exec_text(PyObject *module)
{
    (void)module;
    return 0;
}

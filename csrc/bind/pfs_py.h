/* What every binding file shares: Python.h, the module state, the allocator, errors, locks.
 *
 * All state lives in the module state, so that each interpreter has its own.  A type is one line
 * in pfs_type_id; it is made in its binding's pfs_exec_<name> from a PyType_Spec with
 * pfs_add_type, and found again from any of its methods with pfs_state_of_type.
 */
#ifndef PFS_PY_H
#define PFS_PY_H

#define PY_SSIZE_T_CLEAN
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#include <Python.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "pfs_alloc.h"
#include "pfs_status.h"

/* A method of any calling convention in a PyMethodDef, without a cast that -Wcast-function-type
 * objects to. */
#define PFS_METHOD(function) ((PyCFunction)(void (*)(void))(function))

/* A function in a PyType_Slot or PyModuleDef_Slot, whose field is an object pointer: ISO C has no
 * such conversion, POSIX does. */
#define PFS_SLOT(function) (__extension__(void *)(function))

/* Guards an object's C state against other threads: a critical section from 3.13, where it costs
 * nothing with a GIL; nothing before, where the GIL is the lock.  PFS_NO_LOCK (negative control of
 * the thread tests only) removes it. */
#if PY_VERSION_HEX >= 0x030D0000 && !defined(PFS_NO_LOCK)
#define PFS_LOCK(object) Py_BEGIN_CRITICAL_SECTION(object)
#define PFS_UNLOCK()     Py_END_CRITICAL_SECTION()
#define PFS_LOCK2(a, b)  Py_BEGIN_CRITICAL_SECTION2(a, b)
#define PFS_UNLOCK2()    Py_END_CRITICAL_SECTION2()
#else
#define PFS_LOCK(object) {
#define PFS_UNLOCK()     }
#define PFS_LOCK2(a, b)  {
#define PFS_UNLOCK2()    }
#endif

/* As PyObject_Hash, without a call for a str that knows its hash. */
static inline Py_hash_t pfs_hash_of(PyObject *key)
{
    if (PyUnicode_CheckExact(key)) {
        Py_hash_t hash = ((PyASCIIObject *)key)->hash;
        if (hash != -1) {
            return hash;
        }
    }
    return PyObject_Hash(key);
}

typedef enum {
    PFS_TYPE_HISTOGRAM,
    PFS_TYPE_STOPWATCH,
    PFS_TYPE_OPERATION,
    PFS_TYPE_OPERATION_TIMER,
    PFS_TYPE_LRU_CACHE,
    PFS_TYPE_LRU_ITERATOR,
    PFS_TYPE_LRU_KEYS,
    PFS_TYPE_LRU_VALUES,
    PFS_TYPE_LRU_ITEMS,
    PFS_TYPE_VECTOR_STORE,
    PFS_TYPE_VECTOR_ROW,
    PFS_TYPE_TOKEN_BUCKET,
    PFS_TYPE_RATE_LIMITER,
    PFS_TYPE_EVENTS,
    PFS_TYPE_ROW,
    PFS_TYPE_ARRIVALS,
    PFS_TYPE_STREAM_PARSER,
    PFS_TYPE_RESPONSE_PARSER,
    PFS_TYPE_JSON_SCAN,
    PFS_TYPE_WIRE,
    PFS_TYPE_WIRE_REPLY,
    PFS_TYPE_COUNT
} pfs_type_id;

typedef struct {
    PyTypeObject *types[PFS_TYPE_COUNT];
} pfs_state;

extern struct PyModuleDef pfs_module;

static inline pfs_state *pfs_state_of_module(PyObject *module)
{
    return (pfs_state *)PyModule_GetState(module);
}

/* The state of the interpreter whose module made `type` (or a base of it); NULL with TypeError. */
static inline pfs_state *pfs_state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &pfs_module);
    return module == NULL ? NULL : pfs_state_of_module(module);
}

/* PyMem_Raw*: counted by tracemalloc, made to fail by _testcapi, callable without the GIL. */
const pfs_alloc *pfs_py_alloc(void);

/* Sets the exception that `status` stands for (not PFS_OK): MemoryError, ValueError,
 * OverflowError...  `what` says which argument or object was wrong.  PFS_ECALLBACK: the exception
 * is set already.  Always returns NULL. */
PyObject *pfs_raise(pfs_status status, const char *what);

/* Makes the heap type of `spec`, keeps it in the module state under `id` and, unless its name
 * starts with an underscore, adds it to the module.  Returns 0, or -1 with an exception. */
int pfs_add_type(PyObject *module, pfs_type_id id, PyType_Spec *spec);

/* One per binding file, called from module.c in this order.  0, or -1 with an exception. */
int pfs_exec_histogram(PyObject *module);
int pfs_exec_stopwatch(PyObject *module);
int pfs_exec_operation(PyObject *module);
int pfs_exec_lru(PyObject *module);
int pfs_exec_vectors(PyObject *module);
int pfs_exec_bucket(PyObject *module);
int pfs_exec_limiter(PyObject *module);
int pfs_exec_trim(PyObject *module);
int pfs_exec_compress(PyObject *module);
int pfs_exec_text(PyObject *module);
int pfs_exec_stats(PyObject *module);
int pfs_exec_arrivals(PyObject *module);
int pfs_exec_events(PyObject *module);
int pfs_exec_stream(PyObject *module);
int pfs_exec_http(PyObject *module);
int pfs_exec_json_scan(PyObject *module);
int pfs_exec_wire(PyObject *module);

#endif

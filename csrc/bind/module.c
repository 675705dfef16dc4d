/* The module itself: multi-phase initialisation, state, and what all bindings share. */
#include "pfs_py.h"

static void *raw_alloc(void *context, size_t size)
{
    (void)context;
    return PyMem_RawMalloc(size);
}

static void *raw_resize(void *context, void *block, size_t size)
{
    (void)context;
    return PyMem_RawRealloc(block, size);
}

static void raw_release(void *context, void *block)
{
    (void)context;
    PyMem_RawFree(block);
}

static const pfs_alloc RAW = {raw_alloc, raw_resize, raw_release, NULL};

const pfs_alloc *pfs_py_alloc(void)
{
    return &RAW;
}

PyObject *pfs_raise(pfs_status status, const char *what)
{
    PyObject *kind = PyExc_ValueError;
    const char *why = NULL;
    switch (status) {
    case PFS_ENOMEM:
        return PyErr_NoMemory();
    case PFS_ECALLBACK:
        return NULL;
    case PFS_EINVAL:
        why = "is out of range";
        break;
    case PFS_ERANGE:
        kind = PyExc_OverflowError;
        why = "does not fit";
        break;
    case PFS_EFORMAT:
        why = "is not in the expected form, or is cut short";
        break;
    case PFS_ECHECKSUM:
        why = "is damaged: its checksum does not match";
        break;
    case PFS_EVERSION:
        why = "was written by a newer version of perfsuite than this one";
        break;
    case PFS_EMISMATCH:
        why = "is of another configuration";
        break;
    case PFS_EFULL:
        kind = PyExc_RuntimeError;
        why = "is full";
        break;
    case PFS_EEMPTY:
        why = "is empty";
        break;
    case PFS_OK:
        break;
    }
    if (why == NULL) {
        kind = PyExc_SystemError;
        why = "failed without saying why";
    }
    PyErr_Format(kind, "%s %s", what, why);
    return NULL;
}

int pfs_add_type(PyObject *module, pfs_type_id id, PyType_Spec *spec)
{
    pfs_state *state = pfs_state_of_module(module);
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL) {
        return -1;
    }
    state->types[id] = type; /* the state owns it from here */
    const char *dot = strrchr(spec->name, '.');
    const char *name = dot == NULL ? spec->name : dot + 1;
    return name[0] == '_' ? 0 : PyModule_AddObjectRef(module, name, (PyObject *)type);
}

static int module_exec(PyObject *module)
{
    static int (*const execs[])(PyObject *) = {
        pfs_exec_histogram, pfs_exec_stopwatch, pfs_exec_operation, pfs_exec_lru,
        pfs_exec_vectors,   pfs_exec_bucket,    pfs_exec_limiter,   pfs_exec_trim,
        pfs_exec_compress,  pfs_exec_text,      pfs_exec_stats,     pfs_exec_arrivals,
        pfs_exec_events,    pfs_exec_stream,    pfs_exec_http,      pfs_exec_json_scan,
        pfs_exec_wire,
    };
    for (size_t i = 0; i < sizeof execs / sizeof execs[0]; i++) {
        if (execs[i](module) < 0) {
            return -1;
        }
    }
    return PyModule_AddStringConstant(module, "build", PFS_BUILD);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    pfs_state *state = pfs_state_of_module(module);
    for (size_t i = 0; i < PFS_TYPE_COUNT; i++) {
        Py_VISIT(state->types[i]);
    }
    return 0;
}

static int module_clear(PyObject *module)
{
    pfs_state *state = pfs_state_of_module(module);
    for (size_t i = 0; i < PFS_TYPE_COUNT; i++) {
        Py_CLEAR(state->types[i]);
    }
    return 0;
}

static void module_free(void *module)
{
    (void)module_clear((PyObject *)module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, PFS_SLOT(module_exec)},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

struct PyModuleDef pfs_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "perfsuite._core",
    .m_doc =
        "The hot paths of perfsuite: histograms, caches, limiters, trimming, text, statistics.",
    .m_size = sizeof(pfs_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&pfs_module);
}

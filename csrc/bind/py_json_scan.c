/* JsonScan: what a streamed payload carries, without decoding it. */
#include "pfs_py.h"

#include "pfs_json_scan.h"

typedef struct {
    PyObject_HEAD pfs_json_rules rules; /* constant from __new__ on: no lock is needed */
} JsonScan;

/* Makes the rules of a tuple of str. */
static int read_rules(JsonScan *self, PyObject *texts)
{
    const char *paths[PFS_JSON_MAX_RULES];
    Py_ssize_t count = PyTuple_GET_SIZE(texts);
    size_t wrong = 0;
    if (count > PFS_JSON_MAX_RULES) {
        PyErr_Format(PyExc_ValueError, "%zd rules are too many: %d at most", count,
                     PFS_JSON_MAX_RULES);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        Py_ssize_t length;
        if (!PyUnicode_Check(text)) {
            PyErr_Format(PyExc_TypeError, "rule %zd is a %s; it must be a str", i,
                         Py_TYPE(text)->tp_name);
            return -1;
        }
        paths[i] = PyUnicode_AsUTF8AndSize(text, &length);
        if (paths[i] == NULL) {
            return -1;
        }
        if (strlen(paths[i]) != (size_t)length) {
            PyErr_Format(PyExc_ValueError, "rule %zd has a NUL in it", i);
            return -1;
        }
    }
    pfs_status status =
        pfs_json_rules_init(&self->rules, paths, (size_t)count, &wrong, pfs_py_alloc());
    if (status == PFS_EFORMAT) {
        PyErr_Format(PyExc_ValueError,
                     "rule %R is not a path: write choices[].delta.content or type=text, with at "
                     "most %d steps",
                     PyTuple_GET_ITEM(texts, (Py_ssize_t)wrong), PFS_JSON_MAX_DEPTH);
    } else if (status != PFS_OK) {
        (void)pfs_raise(status, "rules");
    }
    return status == PFS_OK ? 0 : -1;
}

static PyObject *JsonScan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"rules", NULL};
    PyObject *rules;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:JsonScan", keywords, &rules)) {
        return NULL;
    }
    if (PyUnicode_Check(rules)) {
        PyErr_SetString(PyExc_TypeError, "rules is a str; it must be a sequence of them");
        return NULL;
    }
    PyObject *texts = PySequence_Tuple(rules);
    if (texts == NULL) {
        return NULL;
    }
    JsonScan *self = (JsonScan *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->rules.alloc = pfs_py_alloc();
        if (read_rules(self, texts) < 0) {
            Py_CLEAR(self);
        }
    }
    Py_DECREF(texts);
    return (PyObject *)self;
}

static int JsonScan_traverse(JsonScan *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void JsonScan_dealloc(JsonScan *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pfs_json_rules_clear(&self->rules);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* Scans any buffer, which *bytes then owns.  0, or -1 with an exception. */
static int scan(JsonScan *self, PyObject *data, Py_buffer *bytes, uint64_t *matched,
                pfs_json_span *spans)
{
    if (PyObject_GetBuffer(data, bytes, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (pfs_json_scan(&self->rules, bytes->buf, (size_t)bytes->len, matched, spans) == PFS_OK) {
        return 0;
    }
    PyBuffer_Release(bytes);
    PyErr_SetString(PyExc_ValueError, "the payload is not JSON, or is cut short");
    return -1;
}

static PyObject *JsonScan_scan(JsonScan *self, PyObject *data)
{
    Py_buffer bytes;
    uint64_t matched;
    if (scan(self, data, &bytes, &matched, NULL) < 0) {
        return NULL;
    }
    PyBuffer_Release(&bytes);
    return PyLong_FromUnsignedLongLong(matched);
}

static PyObject *JsonScan_find(JsonScan *self, PyObject *data)
{
    Py_buffer bytes;
    uint64_t matched;
    pfs_json_span spans[PFS_JSON_MAX_RULES];
    if (scan(self, data, &bytes, &matched, spans) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New((Py_ssize_t)self->rules.count);
    for (size_t i = 0; list != NULL && i < self->rules.count; i++) {
        PyObject *item = Py_NewRef(Py_None);
        if (spans[i].length != 0) {
            Py_SETREF(item, PyBytes_FromStringAndSize((const char *)bytes.buf + spans[i].offset,
                                                      (Py_ssize_t)spans[i].length));
        }
        if (item == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        }
    }
    PyBuffer_Release(&bytes);
    return list;
}

PyDoc_STRVAR(scan_doc, "scan($self, data, /)\n--\n\n"
                       "Which rules match: bit i of the int is set when rule i does.\n\n"
                       "ValueError when data is not JSON as far as it had to be read.");
PyDoc_STRVAR(find_doc, "find($self, data, /)\n--\n\n"
                       "The raw JSON of each rule's first match, or None: a list in the rules' "
                       "order.\n\nValueError: as scan().");

static PyMethodDef JsonScan_methods[] = {
    {"scan", PFS_METHOD(JsonScan_scan), METH_O, scan_doc},
    {"find", PFS_METHOD(JsonScan_find), METH_O, find_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    JsonScan_doc,
    "JsonScan(rules)\n--\n\n"
    "Looks at JSON for what a list of at most 64 rules asks, without decoding it.\n\n"
    "choices[].delta.content: the value there says something (not null, false, 0, \"\", "
    "{} or []).\ntype=text: the value there is this string (or number, true, false, null).\n"
    "Keys are parted by dots, [] is every element of an array.  No validator: what no "
    "rule asks\nfor is only searched for its end.");

static PyType_Slot JsonScan_slots[] = {
    {Py_tp_doc, (void *)JsonScan_doc},           {Py_tp_new, PFS_SLOT(JsonScan_new)},
    {Py_tp_dealloc, PFS_SLOT(JsonScan_dealloc)}, {Py_tp_traverse, PFS_SLOT(JsonScan_traverse)},
    {Py_tp_methods, JsonScan_methods},           {0, NULL},
};

static PyType_Spec JsonScan_spec = {
    .name = "perfsuite._core.JsonScan",
    .basicsize = sizeof(JsonScan),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = JsonScan_slots,
};

int pfs_exec_json_scan(PyObject *module)
{
    return pfs_add_type(module, PFS_TYPE_JSON_SCAN, &JsonScan_spec);
}

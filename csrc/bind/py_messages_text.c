#include "py_messages.h"

#include "py_fields.h"

/* Appends text, or the str() of what is none; nothing for NULL. */
static int append(PyObject *pieces, PyObject *value)
{
    if (value == NULL) {
        return 0;
    }
    PyObject *text = PyObject_Str(value);
    int status = text == NULL ? -1 : PyList_Append(pieces, text);
    Py_XDECREF(text);
    return status;
}

/* The name and the arguments of one call.  The call is held: str() may run anything. */
static int append_call(PyObject *pieces, PyObject *call)
{
    PyObject *function = pfs_field(call, "function");
    PyObject *named = function != NULL && PyDict_Check(function) ? function : call;
    PyObject *name = Py_XNewRef(pfs_field(named, "name"));
    PyObject *arguments = Py_XNewRef(pfs_field(named, "arguments"));
    int status = append(pieces, name) < 0 || append(pieces, arguments) < 0 ? -1 : 0;
    Py_XDECREF(name);
    Py_XDECREF(arguments);
    return status;
}

static int append_part(PyObject *pieces, PyObject *part)
{
    if (PyUnicode_Check(part)) {
        return append(pieces, part);
    }
    if (!PyDict_Check(part)) {
        return 0;
    }
    static const char *const names[] = {"text", "name", "input", "content"};
    PyObject *type = pfs_field(part, "type");
    bool use = pfs_is_text(type) && PFS_SPELLS(type, "tool_use");
    bool result = pfs_is_text(type) && PFS_SPELLS(type, "tool_result");
    for (size_t i = 0; i < 4; i++) {
        PyObject *value =
            i == 0 || (use && i < 3) || (result && i == 3) ? pfs_field(part, names[i]) : NULL;
        if (i == 0 && !pfs_is_text(value)) {
            continue;
        }
        Py_XINCREF(value);
        int status = append(pieces, value);
        Py_XDECREF(value);
        if (status < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *pfs_message_text(PyObject *message)
{
    PyObject *content = pfs_field(message, "content");
    PyObject *call = pfs_field(message, "function_call");
    if (pfs_field(message, "tool_calls") == NULL && call == NULL) {
        if (content == NULL) {
            return PyUnicode_FromStringAndSize(NULL, 0);
        }
        if (PyUnicode_CheckExact(content)) {
            return Py_NewRef(content);
        }
    }
    PyObject *pieces = PyList_New(0);
    if (pieces == NULL) {
        return NULL;
    }
    int status = 0;
    Py_XINCREF(content);
    if (content != NULL && PyUnicode_Check(content)) {
        status = PyUnicode_GET_LENGTH(content) == 0 ? 0 : append(pieces, content);
    } else if (content != NULL && PyList_Check(content)) {
        for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(content); i++) {
            PyObject *part = Py_NewRef(PyList_GET_ITEM(content, i));
            status = append_part(pieces, part);
            Py_DECREF(part);
        }
    }
    Py_XDECREF(content);
    Py_ssize_t at = 0;
    while (status == 0 && (call = pfs_next_call(message, &at)) != NULL) {
        Py_INCREF(call);
        status = append_call(pieces, call);
        Py_DECREF(call);
    }
    call = pfs_field(message, "function_call");
    if (status == 0 && call != NULL && PyDict_Check(call)) {
        Py_INCREF(call);
        status = append_call(pieces, call);
        Py_DECREF(call);
    }
    PyObject *text = NULL;
    if (status == 0) {
        PyObject *feed = PyUnicode_FromOrdinal('\n');
        text = feed == NULL ? NULL : PyUnicode_Join(feed, pieces);
        Py_XDECREF(feed);
    }
    Py_DECREF(pieces);
    return text;
}

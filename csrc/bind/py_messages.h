/* Reading chat messages: dicts in OpenAI's form (Anthropic's tool_use and tool_result parts are
 * understood).  Reading a message runs no Python code: keys are compared by their characters. */
#ifndef PFS_PY_MESSAGES_H
#define PFS_PY_MESSAGES_H

#include "pfs_py.h"

#include <stdbool.h>

typedef struct {
    uint8_t mark;    /* of pfs_trim.h: role, PINNED, CALLS */
    size_t bytes;    /* UTF-8 length of the content's text */
    PyObject *reply; /* borrowed: the id of the call that a tool message answers, or NULL */
} pfs_message;

/* 0, or -1 with an exception that names the message by `index`. */
int pfs_message_read(PyObject *message, Py_ssize_t index, pfs_message *out);

/* Whether one of the calls of a message has this id. */
bool pfs_message_calls(PyObject *message, PyObject *id);

/* Puts each call's id into the dict `ids`, with the value `index`.  0, or -1 with an exception. */
int pfs_message_index_calls(PyObject *message, PyObject *index, PyObject *ids);

/* What a token counter is given: the content's text, its parts, and each call's name and arguments,
 * joined by line feeds.  New reference, or NULL with an exception.  May run Python code (arguments
 * that are no text). */
PyObject *pfs_message_text(PyObject *message);

#endif

/* Reading chat messages: dicts in OpenAI's form (Anthropic's tool_use and tool_result parts are
 * understood).  Reading a message runs no Python code: keys are compared by their characters. */
#ifndef PFS_PY_MESSAGES_H
#define PFS_PY_MESSAGES_H

#include "pfs_py.h"

#include <stdbool.h>

#include "pfs_trim.h"

typedef struct {
    uint8_t mark;    /* of pfs_trim.h: role, PINNED, CALLS */
    size_t bytes;    /* UTF-8 length of the content's text */
    PyObject *reply; /* borrowed: the id of the call that a tool message answers, or NULL */
} pfs_message;

/* The words that nearly every message is made of, as the objects that spelt them last: literals of
 * one program, and keys of one JSON document, are the same objects each time.  Borrowed, so good
 * only as long as no Python code runs; NULL at first. */
typedef struct {
    PyObject *role, *content;   /* keys */
    PyObject *user, *assistant; /* roles */
} pfs_words;

/* Reads a message; takes note of its words.  0, or -1 with an exception that names the message by
 * `index`. */
int pfs_message_read(PyObject *message, Py_ssize_t index, pfs_words *words, pfs_message *out);

/* The values of a plain message: one that is {role: content} in the words known and nothing else.
 * Borrowed; NULL when it is not one. */
typedef struct {
    PyObject *role, *content;
} pfs_plain;

static inline pfs_plain pfs_message_plain(PyObject *message, const pfs_words *words)
{
    PyObject *key, *role, *content;
    Py_ssize_t at = 0;
    if (PyDict_Check(message) && PyDict_GET_SIZE(message) == 2 &&
        PyDict_Next(message, &at, &key, &role) && key == words->role &&
        PyDict_Next(message, &at, &key, &content) && key == words->content) {
        return (pfs_plain){role, content};
    }
    return (pfs_plain){NULL, NULL};
}

/* What the values of a plain message say, where they are a known word and a text of ASCII: true,
 * as pfs_message_read would read it.  Else false: ask that. */
static inline bool pfs_message_read_plain(const pfs_plain *plain, const pfs_words *words,
                                          pfs_message *out)
{
    bool user = plain->role == words->user;
    if (plain->role == NULL || (!user && plain->role != words->assistant) ||
        !PyUnicode_CheckExact(plain->content) || !PyUnicode_IS_ASCII(plain->content)) {
        return false;
    }
    *out = (pfs_message){.mark = user ? PFS_TRIM_USER : PFS_TRIM_ASSISTANT,
                         .bytes = (size_t)PyUnicode_GET_LENGTH(plain->content)};
    return true;
}

/* Whether one of the calls of a message has this id. */
bool pfs_message_calls(PyObject *message, PyObject *id);

/* Puts each call's id into the dict `ids`, with the value `index`.  0, or -1 with an exception. */
int pfs_message_index_calls(PyObject *message, PyObject *index, PyObject *ids);

/* What a token counter is given: the content's text, its parts, and each call's name and arguments,
 * joined by line feeds.  New reference, or NULL with an exception.  May run Python code (arguments
 * that are no text). */
PyObject *pfs_message_text(PyObject *message);

#endif

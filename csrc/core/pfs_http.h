/* Reads HTTP/1.0 and HTTP/1.1 responses as they arrive: the head, the body by content-length, by
 * chunks or until the connection closes, trailers, and what all that says of the connection.
 *
 * The caller says which request the next response answers, gives bytes with the stamp of their
 * arrival, and takes parts until there are no more:
 *
 *     pfs_http_begin(&h, head_request);
 *     pfs_http_feed(&h, bytes, n, now);
 *     while ((status = pfs_http_next(&h, &part)) == PFS_OK) { HEAD, BODY..., END }
 *     if (status != PFS_EEMPTY) { pfs_http_wrong(&h) says what was wrong }
 *
 * Body parts are slices of the bytes given, never copied.  How the bytes are cut changes only how
 * the body is cut into parts, and stamps.  Memory is bounded by max_head twice (head, trailers).
 *
 * RFC 9112, strict where two readers of one stream could disagree on where a response ends:
 * content-lengths that differ or are no plain number, transfer codings other than one chunked,
 * white space before a header's colon, bare CR, NUL and other control characters, chunk lines that
 * do not end in CRLF, sizes that overflow are PFS_EFORMAT.  Chunked and a content-length together
 * are read as chunked and the connection is not used again.  A folded header becomes one line.
 * Lines of a head may end in a bare LF.  Interim (1xx) responses are skipped, 101 excepted: it ends
 * at its head, and what follows is in pfs_http_rest.
 *
 * Thread rule: one owner at a time.
 */
#ifndef PFS_HTTP_H
#define PFS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_bytes.h"
#include "pfs_status.h"

#define PFS_HTTP_MAX_HEAD       ((size_t)64 << 10) /* the usual bound */
#define PFS_HTTP_MAX_FIELDS     1000               /* headers of a head */
#define PFS_HTTP_MAX_INTERIM    16                 /* 1xx responses before the one that counts */
#define PFS_HTTP_MAX_CHUNK_LINE 4096               /* a chunk's size with its extensions */
#define PFS_HTTP_UNKNOWN        INT64_MIN          /* a header that is not there */
#define PFS_HTTP_KEEP           2048               /* bytes of a buffer that pfs_http_begin keeps */

typedef enum {
    PFS_HTTP_HEAD, /* status and headers can be asked for */
    PFS_HTTP_BODY, /* bytes of the body; never empty */
    PFS_HTTP_END   /* the response is complete */
} pfs_http_kind;

typedef struct {
    pfs_http_kind kind;
    const char *bytes; /* of a BODY: within the chunk that was fed */
    size_t length;
    int64_t at_ns; /* of the chunk that completed the part */
} pfs_http_part;

typedef enum {
    PFS_HTTP_IN_HEAD,
    PFS_HTTP_IN_LENGTH,    /* a body of `left` more bytes */
    PFS_HTTP_IN_CLOSE,     /* a body until the connection closes */
    PFS_HTTP_IN_SIZE,      /* a chunk's size */
    PFS_HTTP_IN_EXTENSION, /* what follows it in its line */
    PFS_HTTP_IN_SIZE_LF,   /* the LF of that line */
    PFS_HTTP_IN_CHUNK,     /* `left` more bytes of a chunk */
    PFS_HTTP_IN_CHUNK_CR,  /* behind a chunk */
    PFS_HTTP_IN_CHUNK_LF,
    PFS_HTTP_IN_TRAILERS,
    PFS_HTTP_AT_END, /* END is to be told */
    PFS_HTTP_DONE
} pfs_http_state;

/* A head or trailers: lines as they come, then "name\0value\0" for each field. */
typedef struct {
    pfs_bytes text;
    size_t line;   /* where the line under way starts */
    size_t fields; /* where the fields start, once they are read */
    bool read;
} pfs_http_fields;

typedef struct {
    const pfs_alloc *alloc;
    size_t max_head;
    const char *chunk; /* the caller's; NULL when it is used up */
    size_t length, at;
    int64_t at_ns;
    pfs_http_fields head, trailers;
    uint64_t left;
    size_t digits, chunk_line;
    const char *wrong;
    pfs_http_state state;
    pfs_status failed;
    int status, minor, interim;
    bool head_request, keep_alive, chunked, begun;
} pfs_http;

/* Ready for the response to a request other than HEAD.  Allocates nothing.  PFS_EINVAL unless
 * max_head is 64 ... 2^30. */
pfs_status pfs_http_init(pfs_http *h, size_t max_head, const pfs_alloc *alloc);

/* Releases what it holds; as after init. */
void pfs_http_clear(pfs_http *h);

/* Ready for the next response of a connection.  Bytes that came behind the last END are not lost:
 * whoever wants them (101) takes them from pfs_http_rest first. */
void pfs_http_begin(pfs_http *h, bool head_request);

/* Gives the next bytes, borrowed until pfs_http_next says anything but PFS_OK or PFS_ENOMEM.
 * PFS_EINVAL when those before are not used up; PFS_EFORMAT or PFS_ERANGE when it has failed. */
pfs_status pfs_http_feed(pfs_http *h, const char *chunk, size_t length, int64_t at_ns);

/* PFS_OK: *part is the next one.  PFS_EEMPTY: more bytes are needed, or the response is complete
 * (bytes behind its end are left in pfs_http_rest).  PFS_EFORMAT: not a response that can be read
 * with certainty; PFS_ERANGE: its head or trailers are larger than max_head; both for good, until
 * the next begin.  PFS_ENOMEM: the call may be made again. */
pfs_status pfs_http_next(pfs_http *h, pfs_http_part *part);

/* The peer has closed (every byte must be used up, else PFS_EINVAL).  PFS_OK: *part is END, which
 * the close has told.  PFS_EEMPTY: the response was complete already, or no byte of it had come
 * (pfs_http_begun tells them apart).  PFS_EFORMAT: the response was cut short; or what it failed
 * of. */
pfs_status pfs_http_close(pfs_http *h, pfs_http_part *part);

/* Why it failed, in words; NULL as long as it has not. */
const char *pfs_http_wrong(const pfs_http *h);

/* Whether any byte of the response has come.  Only when none has may a request that was sent on a
 * connection used before be taken for never seen, and be sent again. */
bool pfs_http_begun(const pfs_http *h);

bool pfs_http_done(const pfs_http *h);

/* 0 until the head is read. */
int pfs_http_status(const pfs_http *h);

/* Whether the connection may take another request: the response is complete, its end was certain,
 * nothing came behind it, and neither the version nor a connection header says close. */
bool pfs_http_keep_alive(const pfs_http *h);

/* Bytes behind the end of the response in the chunk last fed; valid as long as that chunk. */
const char *pfs_http_rest(const pfs_http *h, size_t *length);

/* How the body ends, once the head is read: with the connection; or by chunks, which tell apart
 * what was written at once. */
bool pfs_http_until_close(const pfs_http *h);
bool pfs_http_chunked(const pfs_http *h);

/* The first field of that (lower-case) name, NUL-terminated, at most until the next begin; NULL
 * when there is none or the head is not read yet. */
const char *pfs_http_header(const pfs_http *h, const char *name);

/* Walks the head's fields, or the trailers': *cursor is 0 at first.  False when there are no more.
 * Names are in lower case, values without white space around them, both NUL-terminated. */
bool pfs_http_each(const pfs_http *h, bool trailers, size_t *cursor, const char **name,
                   const char **value);

/* content-length as a number, PFS_HTTP_UNKNOWN without one. */
int64_t pfs_http_content_length(const pfs_http *h);

/* retry-after in whole seconds, PFS_HTTP_UNKNOWN when there is none or it is a date (the header
 * then gives it as it came). */
int64_t pfs_http_retry_after(const pfs_http *h);

#endif

/* Bytes as a payload, under rules that are in the bytes too (before the first LF, parted by NUL):
 * what matched is there, and says it by itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pfs_json_scan.h"

#include "fuzzing.h"

static const char *const USUAL[] = {"choices[].delta.content",
                                    "usage",
                                    "type=a",
                                    "[].a",
                                    "choices[1].a",
                                    "[0][2]",
                                    "a[-1].b",
                                    "[-1]",
                                    ""};

static void scan(const char *const *texts, size_t count, const char *json, size_t n)
{
    pfs_json_rules rules, itself;
    const char *root = "";
    uint64_t matched = 0, again = 0;
    pfs_json_span spans[PFS_JSON_MAX_RULES];
    if (pfs_json_rules_init(&rules, texts, count, NULL, pfs_alloc_libc()) != PFS_OK) {
        return;
    }
    REQUIRE(pfs_json_rules_init(&itself, &root, 1, NULL, pfs_alloc_libc()) == PFS_OK);
    if (pfs_json_scan(&rules, json, n, &matched, spans) == PFS_OK) {
        REQUIRE(pfs_json_scan(&rules, json, n, &again, NULL) == PFS_OK && again == matched);
        for (size_t i = 0; i < count; i++) {
            REQUIRE((spans[i].length != 0) == (matched >> i & 1));
            REQUIRE(spans[i].offset + spans[i].length <= n);
            if (spans[i].length != 0) {
                (void)pfs_json_is_text(json + spans[i].offset, spans[i].length, "a", 1);
                REQUIRE(pfs_json_scan(&itself, json + spans[i].offset, spans[i].length, &again,
                                      NULL) == PFS_OK);
                REQUIRE(again == 1 || strchr(texts[i], '=') != NULL);
            }
        }
    }
    pfs_json_rules_clear(&rules);
    pfs_json_rules_clear(&itself);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *lf = size == 0 ? NULL : memchr(data, '\n', size);
    size_t head = lf == NULL ? 0 : (size_t)(lf - data), n = size - (lf == NULL ? 0 : head + 1);
    char *rules = malloc(head + 1), *json = malloc(n + 1);
    const char *texts[PFS_JSON_MAX_RULES];
    size_t count = 0;
    REQUIRE(rules != NULL && json != NULL);
    if (head != 0) {
        memcpy(rules, data, head);
    }
    rules[head] = '\0';
    if (n != 0) {
        memcpy(json + 1, data + size - n, n); /* ends where the block ends */
    }
    for (size_t at = 0; at <= head && count < PFS_JSON_MAX_RULES; at += strlen(rules + at) + 1) {
        texts[count++] = rules + at;
    }
    scan(texts, count, json + 1, n);
    scan(USUAL, sizeof USUAL / sizeof USUAL[0], json + 1, n);
    free(rules);
    free(json);
    return 0;
}

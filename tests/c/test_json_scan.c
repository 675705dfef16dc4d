/* The scan of payloads: what the dialects' rules find, what is refused, prefixes, allocations. */
#include "harness.h"

#include "pfs_json_scan.h"

static const char *const OPENAI[] = {"choices[].delta.content",
                                     "choices[].delta.reasoning_content",
                                     "choices[].delta.tool_calls",
                                     "choices[].finish_reason",
                                     "usage",
                                     "error"};

/* The matches in a block of just these bytes. */
static pfs_status scan_of(const char *const *texts, size_t count, const char *json, size_t n,
                          uint64_t *matched, pfs_json_span *spans)
{
    pfs_json_rules rules;
    char *copy = malloc(n + 1);
    CHECK(copy != NULL);
    memmove(copy + 1, json, n); /* ends where the block ends */
    CHECK(pfs_json_rules_init(&rules, texts, count, NULL, pfs_alloc_libc()) == PFS_OK);
    pfs_status status = pfs_json_scan(&rules, copy + 1, n, matched, spans);
    pfs_json_rules_clear(&rules);
    free(copy);
    return status;
}

static uint64_t openai(const char *json)
{
    uint64_t matched = 0;
    CHECK(scan_of(OPENAI, 6, json, strlen(json), &matched, NULL) == PFS_OK);
    return matched;
}

static uint64_t one(const char *rule, const char *json)
{
    uint64_t matched = 99;
    CHECK(scan_of(&rule, 1, json, strlen(json), &matched, NULL) == PFS_OK);
    return matched;
}

TEST(openai_chunks)
{
    CHECK(openai("{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],"
                 "\"usage\":null}") == 0);
    CHECK(openai("{\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":null}]}") == 0);
    CHECK(openai("{\"id\":\"}]\\\"\",\"choices\":[{\"delta\":{\"content\":\" \"}}]}") == 1);
    CHECK(openai("{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\",\"content\":null}}]}") ==
          2);
    CHECK(openai("{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}") == 4);
    CHECK(openai("{\"choices\":[{\"delta\":{\"tool_calls\":[ ]},\"finish_reason\":\"stop\"}]}") ==
          8);
    CHECK(openai("{\"choices\":[],\"usage\":{\"completion_tokens\":0}}") == 16);
    CHECK(openai(" { \"error\" : { \"message\" : \"no\" } } ") == 32);
    CHECK(openai("{\"choices\":[{\"delta\":{}},{\"delta\":{\"content\":\"b\"}}],\"usage\":{ }}") ==
          1);
}

TEST(values_that_are_asked_for)
{
    CHECK(one("type=a.b", "{\"type\":\"a.b\"}") == 1);
    CHECK(one("type=a.b", "{\"type\":\"a.bc\"}") == 0);
    CHECK(one("type=a.b", "{\"x\":{\"type\":\"a.b\"}}") == 0);
    CHECK(one("done=true", "{\"done\":true}") == 1);
    CHECK(one("done=true", "{\"done\": \"true\"}") == 1);
    CHECK(one("done=true", "{\"done\":false}") == 0);
    CHECK(one("n=-1.5", "[1]") == 0 && one("n=-1.5", "{\"n\":-1.5}") == 1);
    CHECK(one("n=", "{\"n\":\"\"}") == 1 && one("n=", "{\"n\":\"x\"}") == 0);
    CHECK(one("[].a", "[{\"a\":0},{}]") == 0 && one("[].a", "[{\"a\":0},{\"a\":0.01}]") == 1);
    CHECK(one("a", "{\"a\":-0.0}") == 0 && one("a", "{\"a\":0e5}") == 0);
    CHECK(one("a", "{\"a\":-0.5e0}") == 1 && one("a=0", "{\"a\":0}") == 1);
    CHECK(one("[][]", "[[],[null]]") == 0 && one("[][]", "[[],[7]]") == 1);
    CHECK(one("", "3") == 1 && one("", "null") == 0 && one("=x", "\"x\"") == 1);
    CHECK(one("a.b", "{\"a\":[{\"b\":1}]}") == 0 && one("a[].b", "{\"a\":{\"b\":1}}") == 0);
}

TEST(places)
{
    CHECK(one("a[1].b", "{\"a\":[{\"b\":0},{\"b\":1}]}") == 1);
    CHECK(one("a[1].b", "{\"a\":[{\"b\":0},{\"c\":1},{\"b\":1}]}") == 0);
    CHECK(one("a[1]", "{\"a\":[0]}") == 0 && one("a[0]", "{\"a\":{\"0\":1}}") == 0);
    CHECK(one("[0][2]", "[[0,0,null],[0,0,1]]") == 0 && one("[1][02]", "[[], [0,0,1]]") == 1);
    CHECK(one("a[999999999]", "{\"a\":[1,2]}") == 0);
    CHECK(one("a[-1].b", "{\"a\":[{\"b\":0},{\"b\":1}]}") == 1);
    CHECK(one("a[-1].b=1", "{\"a\":[{\"b\":1},{\"b\":0}]}") == 0);
    CHECK(one("a[-1]", "{\"a\":[]}") == 0 && one("a[-1]", "{\"a\":[1,null]}") == 0);
    CHECK(one("[-1][-1]=5", "[[1,2],[3, [4] , 5 ] ]") == 1);
    /* One element for two rules, and one that breaks off behind the place that is asked for. */
    static const char *const rules[] = {"[].a", "[1].a", "[1].b", "[0][]"};
    static const char json[] = "[[3], {\"a\": 1, \"b\": [2]}, 4]";
    pfs_json_span spans[4];
    uint64_t matched;
    CHECK(scan_of(rules, 4, json, sizeof json - 1, &matched, spans) == PFS_OK && matched == 15);
    CHECK(spans[0].offset == spans[1].offset && json[spans[1].offset] == '1');
    CHECK(json[spans[3].offset] == '3');
    CHECK(scan_of(rules, 4, json, sizeof json - 2, &matched, spans) == PFS_EFORMAT);
}

TEST(texts)
{
    static const char quoted[] = "\"a\\u0062 \\n\"";
    CHECK(pfs_json_is_text(quoted, sizeof quoted - 1, "ab \n", 4));
    CHECK(!pfs_json_is_text(quoted, sizeof quoted - 1, "ab \n", 3));
    CHECK(!pfs_json_is_text(quoted, sizeof quoted - 1, "abc", 3));
    CHECK(pfs_json_is_text("\"\"", 2, "", 0) && !pfs_json_is_text("[]", 2, "", 0));
    CHECK(!pfs_json_is_text("7", 1, "7", 1));
}

TEST(escapes)
{
    CHECK(one("content", "{\"c\\u006fntent\":1}") == 1);
    CHECK(one("c\xc3\xa9=\xf0\x9f\x98\x80\n/", "{\"c\\u00E9\":\"\\uD83d\\ude00\\n\\/\"}") == 1);
    CHECK(one("a=\xe2\x82\xac", "{\"a\":\"\\u20ac\"}") == 1);
    CHECK(one("a=x", "{\"a\":\"x\\\"\"}") == 0);
    CHECK(one("a", "{\"b\":\"\\\\\",\"a\":\"\\\\\\\"\"}") == 1);
    CHECK(one("a=x", "{\"a\":\"\\u00\"}") == 0); /* no escape: equal to nothing */
}

TEST(spans)
{
    static const char json[] = "{\"a\": {\"b\" : 1} , \"a\":2}";
    static const char *const rules[] = {"a", "a.b", "a.c"};
    pfs_json_span spans[3];
    uint64_t matched;
    CHECK(scan_of(rules, 3, json, sizeof json - 1, &matched, spans) == PFS_OK && matched == 3);
    CHECK(spans[0].offset == 6 && spans[0].length == 9); /* the first of them */
    CHECK(spans[1].length == 1 && json[spans[1].offset] == '1');
    CHECK(spans[2].length == 0);
}

TEST(what_is_no_json)
{
    static const char *const wrong[] = {"",
                                        " ",
                                        "{",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1",
                                        "{a:1}",
                                        "{\"a\":1]",
                                        "{,}",
                                        "{\"a\":1,}",
                                        "nul",
                                        "truely",
                                        "{\"a\":x}",
                                        "\"a",
                                        "{\"a\\\"}",
                                        "{} {}",
                                        "{\"a\":{\"b\":",
                                        "[DONE",
                                        "{\"c\":[1}",
                                        "x",
                                        "{\"a\" 1}",
                                        "{\"a\":1 \"b\":2}"};
    static const char *const rules[] = {"a", "a.b", "a[].c"};
    static const char whole[] =
        "{\"a\":[{\"c\":\"\\\\\"},[1,{}]],\"b\":{\"x\":[\"}\"]},\"a\":true}";
    uint64_t matched = 7;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(scan_of(rules, 3, wrong[i], strlen(wrong[i]), &matched, NULL) == PFS_EFORMAT);
    }
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        CHECK(scan_of(rules, 3, whole, n, &matched, NULL) == PFS_EFORMAT);
    }
    CHECK(matched == 7); /* untouched */
    CHECK(scan_of(rules, 3, whole, sizeof whole - 1, &matched, NULL) == PFS_OK && matched == 5);
}

TEST(what_is_no_rule)
{
    static const char *const wrong[] = {
        ".a",    "a.", "a..b",          "a[",   "a[0", "a[-2]",  "a[0x]",   "a[0]b",
        "a[ 0]", "a]", "a[1234567890]", "a[]b", "[].", "a[].[]", "a[0].[1]"};
    pfs_json_rules rules;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *texts[] = {"fine", wrong[i]};
        size_t which = 9;
        CHECK(pfs_json_rules_init(&rules, texts, 2, &which, pfs_alloc_libc()) == PFS_EFORMAT);
        CHECK(which == 1);
    }
    const char *many[PFS_JSON_MAX_RULES + 1];
    for (size_t i = 0; i <= PFS_JSON_MAX_RULES; i++) {
        many[i] = "a.b";
    }
    CHECK(pfs_json_rules_init(&rules, many, PFS_JSON_MAX_RULES + 1, NULL, pfs_alloc_libc()) ==
          PFS_EINVAL);
    uint64_t matched;
    CHECK(scan_of(many, PFS_JSON_MAX_RULES, "{\"a\":{\"b\":1}}", 13, &matched, NULL) == PFS_OK);
    CHECK(matched == UINT64_MAX);
    char deep[2 * (PFS_JSON_MAX_DEPTH + 1) + 1] = "";
    const char *text = deep;
    for (int i = 0; i <= PFS_JSON_MAX_DEPTH; i++) {
        CHECK(pfs_json_rules_init(&rules, &text, 1, NULL, pfs_alloc_libc()) == PFS_OK);
        pfs_json_rules_clear(&rules);
        strcat(deep, "[]");
    }
    CHECK(pfs_json_rules_init(&rules, &text, 1, NULL, pfs_alloc_libc()) == PFS_EFORMAT);
}

/* A million brackets need no stack. */
TEST(deep_input)
{
    size_t n = 1000000;
    char *json = malloc(2 * n);
    const char *rule = "[][][].a";
    uint64_t matched = 1;
    CHECK(json != NULL);
    memset(json, '[', n);
    memset(json + n, ']', n);
    CHECK(scan_of(&rule, 1, json, 2 * n, &matched, NULL) == PFS_OK && matched == 0);
    CHECK(scan_of(&rule, 1, json, 2 * n - 1, &matched, NULL) == PFS_EFORMAT);
    free(json);
}

static bool scenario(const pfs_alloc *alloc)
{
    pfs_json_rules rules;
    uint64_t matched;
    if (pfs_json_rules_init(&rules, OPENAI, 6, NULL, alloc) != PFS_OK) {
        return false;
    }
    CHECK(pfs_json_scan(&rules, "{\"usage\":1}", 11, &matched, NULL) == PFS_OK && matched == 16);
    pfs_json_rules_clear(&rules);
    return true;
}

TEST(every_allocation_may_fail)
{
    CHECK(torture(scenario) == 2);
}

int main(void)
{
    RUN(openai_chunks);
    RUN(values_that_are_asked_for);
    RUN(places);
    RUN(texts);
    RUN(escapes);
    RUN(spans);
    RUN(what_is_no_json);
    RUN(what_is_no_rule);
    RUN(deep_input);
    RUN(every_allocation_may_fail);
    FINISH();
}

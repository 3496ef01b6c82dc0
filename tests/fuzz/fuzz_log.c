/*
 * Bytes as a log: the first byte chooses filters, the others are the file, read from a descriptor and never written to
 * a disk. Whatever they are, every way to read them agrees on how many lines there are; what is shown of them is in
 * lines, and steers no terminal; a summary for programs is JSON; each line that is shown as it stands is read again as
 * what it was.
 */
#include "command/log_check.h"
#include "command/log_show.h"
#include "command/log_summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good)
{
    if (!good)
        abort();
}

static int file = -1, sink = -1;
static char path[64];

static void put(const uint8_t *data, size_t size)
{
    if (file < 0) {
        file = memfd_create("log", 0);
        sink = memfd_create("out", 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    expect(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
}

static void open_it(struct log_files *files, struct buffer *errors)
{
    char *paths[] = {path, path};

    expect(log_files_open(files, paths, 1, errors) == 0);
}

/* What one way to read says. */
struct told {
    struct buffer text;
    uint64_t broken;
};

static struct told show(const struct log_query *query, enum log_form form, unsigned last)
{
    static const struct bytes fields[] = {{"seq", 3}, {"model", 5}, {"request", 7}};
    struct log_form_spec spec = {.form = form, .fields = fields, .field_count = ARRAY_SIZE(fields), .width = 200};
    struct buffer errors = {0};
    struct log_out out = {.descriptor = sink};
    struct log_files files;
    struct told told = {{0}, 0};
    off_t length;

    expect(ftruncate(sink, 0) == 0 && lseek(sink, 0, SEEK_SET) == 0);
    open_it(&files, &errors);
    if (last)
        log_tail(&files, query, &spec, last, false, &out);
    else
        log_show(&files, query, &spec, &out);
    told.broken = files.broken;
    log_files_close(&files);
    buffer_deinit(&errors);
    buffer_deinit(&out.text);
    length = lseek(sink, 0, SEEK_END);
    expect(length >= 0);
    buffer_reserve(&told.text, (size_t)length + 1);
    expect(pread(sink, told.text.data, (size_t)length, 0) == length);
    told.text.size = (size_t)length;
    return told;
}

static uint64_t count_lines(struct bytes text)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    return lines;
}

static void expect_harmless(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        expect(text.data[i] == '\n' || text.data[i] == '\t' || ((unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f));
}

/* Each of these lines is one that is meant. */
static void expect_taken(const struct log_query *query, struct bytes text)
{
    struct log_line line;

    log_line_init(&line);
    while (text.size) {
        size_t size = bytes_find(text, BYTES("\n"));

        log_line_read(&line, (struct bytes){text.data, size});
        expect(line.kind != LOG_BROKEN && log_query_takes(query, &line));
        text = bytes_skip(text, size + 1);
    }
    log_line_deinit(&line);
}

static void expect_summary(const struct log_query *query, enum log_by by, uint64_t broken, uint64_t lines)
{
    struct buffer errors = {0}, out = {0};
    struct log_files files;
    struct json_doc doc;
    int64_t requests, unreadable;

    open_it(&files, &errors);
    log_summary(&files, query, by, true, &out);
    log_files_close(&files);
    json_doc_init(&doc, (struct json_limits){.depth = 8, .nodes = 1000000});
    expect(json_doc_parse(&doc, buffer_bytes(&out)) == 0);
    expect(json_i64(&doc, json_at(&doc, json_root(&doc), "requests"), &requests) == 0 && (uint64_t)requests <= lines);
    expect(json_i64(&doc, json_at(&doc, json_root(&doc), "unreadable"), &unreadable) == 0);
    expect((uint64_t)unreadable == broken);
    json_doc_deinit(&doc);
    out.size = 0;
    open_it(&files, &errors);
    log_summary(&files, query, by, false, &out);
    log_files_close(&files);
    expect_harmless(buffer_bytes(&out));
    buffer_deinit(&out);
    buffer_deinit(&errors);
}

static void expect_check(uint64_t broken)
{
    struct buffer errors = {0}, out = {0};
    struct log_files files;

    open_it(&files, &errors);
    if (log_check(&files, &out))
        expect(broken == 0);
    log_files_close(&files);
    buffer_deinit(&out);
    buffer_deinit(&errors);
}

static void choose(struct log_query *query, uint8_t choice)
{
    static const char *const filters[][2] = {{"status", "2xx,503"}, {"model", "tiny"}, {"since", "2026-11-23T07:45:00Z"},
                                             {"min-ms", "5"},       {"cache", "hit"},  {"id", "req_1"}};
    struct buffer errors = {0};

    log_query_init(query);
    if (choice % 8 < ARRAY_SIZE(filters))
        expect(log_query_add(query, filters[choice % 8][0], filters[choice % 8][1], 0, &errors) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told json, rest;
    struct log_query query;
    uint64_t lines;

    if (size == 0)
        return 0;
    choose(&query, data[0]);
    put(data + 1, size - 1);
    json = show(&query, LOG_FORM_JSON, 0);
    lines = count_lines(buffer_bytes(&json.text));
    expect_taken(&query, buffer_bytes(&json.text));
    for (int i = 0; i < 3; i++) {
        rest = show(&query, i == 0 ? LOG_FORM_PEOPLE : i == 1 ? LOG_FORM_FIELDS : LOG_FORM_JSON, i == 2 ? 3 : 0);
        expect(rest.broken == json.broken);
        expect(count_lines(buffer_bytes(&rest.text)) == (i == 2 && lines > 3 ? 3 : lines));
        if (i == 0)
            expect_harmless(buffer_bytes(&rest.text));
        if (i == 2)
            expect(bytes_end_with(buffer_bytes(&json.text), buffer_bytes(&rest.text)));
        buffer_deinit(&rest.text);
    }
    expect_summary(&query, (enum log_by)(data[0] / 8 % LOG_BY_COUNT), json.broken, lines);
    expect_check(json.broken);
    buffer_deinit(&json.text);
    return 0;
}

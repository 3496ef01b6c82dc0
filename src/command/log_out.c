/*
 * Large writes; a reader that leaves (`| head`) is no error of ours, but the end.
 */
#include "command/log_out.h"

#include <errno.h>
#include <unistd.h>

#define WORTH (64u << 10)

bool log_out_flush(struct log_out *out)
{
    size_t done = 0;

    while (done < out->text.size && !out->broken) {
        ssize_t size = write(out->descriptor, out->text.data + done, out->text.size - done);

        if (size > 0)
            done += (size_t)size;
        else if (errno != EINTR)
            out->broken = true;
    }
    buffer_clear(&out->text, 4 * WORTH);
    return !out->broken;
}

bool log_out_some(struct log_out *out)
{
    return out->text.size < WORTH ? !out->broken : log_out_flush(out);
}

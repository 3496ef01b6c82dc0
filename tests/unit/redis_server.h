/*
 * A redis-server of the test's own, on a unix socket in a folder of its own, and a blocking word with it.
 */
#pragma once

#include "base/buffer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct redis_server {
    char folder[32], path[48];
    pid_t pid;
    int socket;             /* for the words, -1 for none */
    struct buffer reply;
};

static int redis_server_connect(const struct redis_server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void redis_server_exec(const struct redis_server *server)
{
    int nowhere = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(nowhere, 0);
    dup2(nowhere, 1);
    dup2(nowhere, 2);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->path, "--save", "", "--appendonly",
           "no", "--dir", server->folder, "--databases", "2", (char *)NULL);
    _exit(127);
}

/* False: there is no redis-server on this machine. */
static bool redis_server_start(struct redis_server *server)
{
    if (!server->folder[0]) {
        snprintf(server->folder, sizeof(server->folder), "/tmp/embergate_XXXXXX");
        if (!mkdtemp(server->folder))
            return false;
        snprintf(server->path, sizeof(server->path), "%s/redis.sock", server->folder);
    }
    server->pid = fork();
    if (server->pid == 0)
        redis_server_exec(server);
    for (int i = 0; i < 1000; i++) {
        server->socket = redis_server_connect(server);
        if (server->socket >= 0)
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) != 0)
            break;
        usleep(10000);
    }
    server->pid = 0;
    return false;
}

static void redis_server_kill(struct redis_server *server)
{
    if (!server->pid)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
    close(server->socket);
    unlink(server->path);
}

static void redis_server_deinit(struct redis_server *server)
{
    redis_server_kill(server);
    rmdir(server->folder);
    buffer_deinit(&server->reply);
}

/* A command, and what came for it, as it came. Replies are small. */
static struct bytes redis_server_say(struct redis_server *server, const struct bytes *arguments, uint32_t count)
{
    struct buffer out;
    ssize_t size;

    buffer_init(&out);
    buffer_printf(&out, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        buffer_printf(&out, "$%zu\r\n", arguments[i].size);
        buffer_append(&out, arguments[i]);
        buffer_append_text(&out, "\r\n");
    }
    for (size_t at = 0; at < out.size; at += (size_t)size)
        if ((size = write(server->socket, out.data + at, out.size - at)) < 0)
            abort();
    buffer_deinit(&out);
    buffer_clear(&server->reply, SIZE_MAX);
    size = read(server->socket, buffer_reserve(&server->reply, 4096), 4096);
    if (size < 0)
        abort();
    server->reply.size = (size_t)size;
    return buffer_bytes(&server->reply);
}

#define REDIS_SAY(server, ...)                                                                               \
    redis_server_say((server), (const struct bytes[]){__VA_ARGS__},                                          \
                     sizeof((const struct bytes[]){__VA_ARGS__}) / sizeof(struct bytes))

/*
 * A server for callers that block: it takes one connection, reads one head, says one thing and closes.
 */
#pragma once

#include "base/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct one_answer {
    struct bytes says;
    int listener;
    uint16_t port;
    char asked[2048];       /* what came, up to its blank line */
    pthread_t thread;
};

static void *one_answer_run(void *data)
{
    struct one_answer *server = data;
    size_t size = 0, sent = 0;
    ssize_t n = 1;
    int client = accept(server->listener, NULL, NULL);

    while (n > 0 && size + 1 < sizeof(server->asked) && !strstr(server->asked, "\r\n\r\n")) {
        n = read(client, server->asked + size, sizeof(server->asked) - 1 - size);
        size += n > 0 ? (size_t)n : 0;
        server->asked[size] = '\0';
    }
    while (n > 0 && sent < server->says.size) {
        n = send(client, server->says.data + sent, server->says.size - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
    }
    shutdown(client, SHUT_WR);
    while (read(client, server->asked + size, sizeof(server->asked) - 1 - size) > 0)
        ;
    close(client);
    return NULL;
}

/* PATH: a unix socket; NULL: 127.0.0.1 and any port. */
static inline void one_answer_start(struct one_answer *server, struct bytes says, const char *path)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(in);
    int r;

    *server = (struct one_answer){.says = says};
    server->listener = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    if (path)
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    r = path ? bind(server->listener, (struct sockaddr *)&un, sizeof(un))
             : bind(server->listener, (struct sockaddr *)&in, sizeof(in));
    assert(r == 0);
    r = listen(server->listener, 1);
    assert(r == 0);
    if (!path)
        getsockname(server->listener, (struct sockaddr *)&in, &size);
    server->port = ntohs(in.sin_port);
    r = pthread_create(&server->thread, NULL, one_answer_run, server);
    assert(r == 0);
    (void)r;
}

/* Once it was asked. */
static inline void one_answer_end(struct one_answer *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
}

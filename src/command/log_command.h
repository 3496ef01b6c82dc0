/*
 * `embergate log`: what a request log says.
 */
#pragma once

/* ARGV begins with the word "log". The process's exit code: 0; 1, something is wrong with the log or differs; 2, with
 * the arguments. */
int log_command(int argc, char **argv);
